//! The formula, from the row-major form, in f64.

use super::RowMajorInt4;

/// `W[row][column]`.
pub fn weight(matrix: &RowMajorInt4<'_>, row: usize, column: usize) -> f64 {
    let shape = &matrix.shape;
    let group = row * shape.groups() + column / shape.group_size();
    let pair = matrix.values[(row * shape.columns() + column) / 2];
    let q = if column.is_multiple_of(2) { pair & 15 } else { pair >> 4 };
    let z = matrix.zero_points.map_or(8, |zero_points| zero_points[group]);
    let s = matrix.scale_type.to_f32(matrix.scales[group]);
    (f64::from(q) - f64::from(z)) * f64::from(s)
}

/// `y = x Wᵀ`: `x [tokens, columns]`, `y [tokens, rows]`.
pub fn multiply(matrix: &RowMajorInt4<'_>, x: &[f64]) -> Vec<f64> {
    let (rows, columns) = (matrix.shape.rows(), matrix.shape.columns());
    let mut y = Vec::new();
    for x in x.chunks_exact(columns) {
        for row in 0..rows {
            y.push((0..columns).map(|column| weight(matrix, row, column) * x[column]).sum());
        }
    }
    y
}
