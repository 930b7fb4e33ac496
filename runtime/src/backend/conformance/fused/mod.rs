//! Sequences of operators that a backend may join: each joined result against the references of its parts, and every tensor that
//! somebody could read afterwards.
//!
//! - `projections`: a norm before a projection, and an MLP. `mixer`: what follows the projections of a Gated DeltaNet layer.
//! - `apart`: sequences that only look as if they could be joined.

mod apart;
mod mixer;
mod projections;

pub(super) use apart::{heads_apart, mlp_apart, projections_apart};
pub(super) use mixer::{convolution_then_delta_rule, linear_then_gates_and_convolution};
pub(super) use projections::{gated_norm_then_linear, mlp, norm_then_linear};

use crate::ops::rms_norm;

const EPS: f32 = 1e-6;

/// Around the borders between the kernels of projections.
const TOKENS: [usize; 9] = [1, 2, 8, 16, 32, 33, 65, 128, 200];

/// Every row of `x` normed, in f64.
fn normed_rows(x: &[f32], weight: &[f32]) -> Vec<f64> {
    x.chunks_exact(weight.len()).flat_map(|row| rms_norm::reference::row(row, weight, EPS)).collect()
}
