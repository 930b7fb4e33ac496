//! Depthwise causal convolution over time, then SiLU: the short convolution in front of the gated delta rule
//! (arXiv 2412.06464, figure 1).
//!
//! ```text
//! c_t = sum_{j < K} taps[j] * u_{t-K+1+j}        taps[K-1] multiplies the current input
//! x_t = silu(c_t)
//! ```
//!
//! | argument | shape | |
//! |---|---|---|
//! | `taps` | `[K, channels]` | the checkpoint's `[channels, 1, K]`, transposed when an engine is built |
//! | `x` | `[T, channels]` | `u` in, `silu(c)` out, in place; any `T` |
//! | `state` | `[K - 1, channels]` | the last `K - 1` inputs `u`, oldest first, in and out; zeros before the first token |
//!
//! [`verify`] keeps the inputs of tokens that may yet be rejected one by one behind the last ones, and [`commit`] moves on by those
//! that were accepted.
//!
//! State: `4 * (K - 1) * channels` bytes a layer and sequence. Workspace: none. The products of a channel are added in the
//! order of `j`, so any split of a sequence gives the same bits.

mod cpu;
pub mod reference;
#[cfg(test)]
mod tests;

pub use cpu::{commit, forward, verify};
