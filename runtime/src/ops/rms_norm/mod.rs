//! Root-mean-square normalisation (arXiv 1910.07467, equation 4) and its two relatives in Qwen3 and Qwen3.5.
//!
//! ```text
//! rms(x)^2 = mean(x^2) + eps
//! forward, heads:  y = w * x / rms(x)
//! gated:           y = w * x / rms(x) * silu(z)
//! ```
//!
//! `w` is the multiplying factor. Qwen3.5 stores most of its norms as `w - 1`; whoever builds an engine adds the 1, and
//! nothing here knows about it. (The gated norm of the delta rule layers is stored as the factor itself.)
//!
//! | argument | shape | |
//! |---|---|---|
//! | `x` | rows of `weight.len()` values | in place for `heads` and `gated` |
//! | `weight` | `[width]` | |
//! | `gate` | as `x` | `z`, raw |
//! | `out` | as `x` | |
//!
//! Workspace: none. A row is summed in one order whatever the number of rows or threads, so results do not depend on them.

mod cpu;
pub mod reference;
#[cfg(test)]
mod tests;

pub use cpu::{forward, gated, heads};
