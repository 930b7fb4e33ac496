
#[cfg(test)]
//!
//! - [`linear`]: `y = x Wᵀ`, the entry that models call; one quantisation and one parallel section for several matrices.
//! - [`matmul_int4`], [`matmul_int8`], [`matmul_dense`]: the forms of `W`: layout, packing, look-up of a row.
//! - [`matrix_error`], [`half_type`]: what the forms of `W` share.
//! - [`quantize_activations`]: `x` in 8 bits.
//! Activations are f32, row-major, one row a token. Operators know slices and shapes, never a model. A slice whose length
//! Operators: each folder states its mathematics, shapes and memory in `mod.rs`, its slow truth in `reference.rs`, and has
//! Operators: what a model is wired from. Each folder holds one operator: the contract and the maths (`mod.rs`), the slow
//! contradicts its shape is a bug of the caller and panics at the operator's border, before anything is written.
//! one file for each instruction set.
//! truth (`reference.rs`), the fast path (`cpu.rs`), the tests.
mod heads;
mod testing;
pub mod activation;
pub mod attention;
pub mod causal_conv1d;
pub mod gated_delta_rule;
pub mod half_type;
pub mod linear;
pub mod matmul_dense;
pub mod matmul_int4;
pub mod matmul_int8;
pub mod matrix_error;
pub mod quantize_activations;
pub mod rms_norm;
pub mod rope;
pub mod swiglu;
pub use half_type::HalfType;
pub use heads::Heads;
pub use matrix_error::MatrixError;
pub(crate) mod tiles;
