//! The norms in f64, for one row.

use crate::ops::activation::reference::silu;

/// `w * x / sqrt(mean(x^2) + eps)`.
pub fn row(x: &[f32], weight: &[f32], eps: f32) -> Vec<f64> {
    let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / x.len() as f64;
    let rms = (mean + f64::from(eps)).sqrt();
    x.iter().zip(weight).map(|(&x, &w)| f64::from(w) * f64::from(x) / rms).collect()
}

/// `w * x / sqrt(mean(x^2) + eps) * silu(z)`.
pub fn gated_row(x: &[f32], gate: &[f32], weight: &[f32], eps: f32) -> Vec<f64> {
    row(x, weight, eps).iter().zip(gate).map(|(y, &z)| y * silu(f64::from(z))).collect()
}
