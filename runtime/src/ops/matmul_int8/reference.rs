//! The formula, from the row-major form, in f64.

use super::RowMajorInt8;
use crate::ops::half_type::HalfType;

/// `W[row][column]`.
pub fn weight(matrix: &RowMajorInt8<'_>, row: usize, column: usize) -> f64 {
    let shape = &matrix.shape;
    let scale = matrix.scales[row * shape.groups() + column / shape.group_size()];
    f64::from(matrix.values[row * shape.columns() + column]) * f64::from(HalfType::F16.to_f32(scale))
}

/// `y = x Wᵀ`: `x [tokens, columns]`, `y [tokens, rows]`.
pub fn multiply(matrix: &RowMajorInt8<'_>, x: &[f64]) -> Vec<f64> {
    let (rows, columns) = (matrix.shape.rows(), matrix.shape.columns());
    let mut y = Vec::new();
    for x in x.chunks_exact(columns) {
        for row in 0..rows {
            y.push((0..columns).map(|column| weight(matrix, row, column) * x[column]).sum());
        }
    }
    y
}
