//! The gate in f64.

use crate::ops::activation::reference::silu;

/// `silu(gate) * up`.
pub fn forward(gate: &[f32], up: &[f32]) -> Vec<f64> {
    gate.iter().zip(up).map(|(&gate, &up)| silu(f64::from(gate)) * f64::from(up)).collect()
}
