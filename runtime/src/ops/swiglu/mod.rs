//! The gate of the MLP (arXiv 2002.05202, equation 6): `gate = silu(gate) * up`, element by element.
//!
//! | argument | shape | |
//! |---|---|---|
//! | `gate` | `[tokens, intermediate]` | in place |
//! | `up` | as `gate` | |
//!
//! Workspace: none. The error is that of [`silu`](crate::ops::activation::silu), 2.5 ulp, and one rounding.

mod cpu;
pub mod reference;
#[cfg(test)]
mod tests;

pub use cpu::forward;
