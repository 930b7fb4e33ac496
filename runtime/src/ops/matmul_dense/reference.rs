//! The formula in f64.

use super::{DenseMatrix, convert};

/// `y = x Wᵀ`: `x [tokens, columns]`, `y [tokens, rows]`.
pub fn multiply(matrix: &DenseMatrix<'_>, x: &[f32]) -> Vec<f64> {
    let mut y = Vec::new();
    let mut weights = vec![0.0; matrix.columns];
    for x in x.chunks_exact(matrix.columns.max(1)) {
        for row in 0..matrix.rows {
            convert(matrix.element, matrix.row(row), &mut weights);
            y.push(weights.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum());
        }
    }
    y
}
