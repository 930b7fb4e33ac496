//! The product in plain Rust, in 16 lanes that the compiler may put into vectors.

use super::{DenseMatrix, convert};
use crate::backend::cpu::ColumnsMut;
use crate::ops::store::Store;

/// Partial sums of a product.
pub(in crate::ops) const LANES: usize = 16;

/// Columns that are converted at a time.
const PANEL: usize = 256;

/// See [`super::multiply`].
pub(super) fn multiply(matrix: &DenseMatrix<'_>, x: &[f32], out: &mut ColumnsMut<'_>, store: Store) {
    let columns = matrix.columns();
    let first_row = out.columns().start;
    for token in 0..out.rows() {
        let x = &x[token * columns..(token + 1) * columns];
        for (index, out) in out.row(token).iter_mut().enumerate() {
            store.put(std::slice::from_mut(out), &[dot(matrix, first_row + index, x)]);
        }
    }
}

fn dot(matrix: &DenseMatrix<'_>, row: usize, x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let panels = matrix.row(row).chunks(PANEL * matrix.element().size());
    for (bytes, x) in panels.zip(x.chunks(PANEL)) {
        let mut weights = [0.0f32; PANEL];
        convert(matrix.element(), bytes, &mut weights[..x.len()]);
        let (weights, weight_rest) = weights[..x.len()].as_chunks::<LANES>();
        let (x, x_rest) = x.as_chunks::<LANES>();
        for (weights, x) in weights.iter().zip(x) {
            for lane in 0..LANES {
                lanes[lane] += weights[lane] * x[lane];
            }
        }
        for (lane, (weight, x)) in lanes.iter_mut().zip(weight_rest.iter().zip(x_rest)) {
            *lane += weight * x;
        }
    }
    sum(lanes)
}

/// The lanes in a tree: halves added until one is left.
#[inline(always)]
pub(in crate::ops) fn sum(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
