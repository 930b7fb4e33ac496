//! Operators: each folder states its mathematics, shapes and memory in `mod.rs`, its slow truth in `reference.rs`, and has
//! one file for each instruction set.
//!
//! - [`linear`]: `y = x Wᵀ`, the entry that models call; one quantisation and one parallel section for several matrices.
//! - [`matmul_int4`], [`matmul_int8`], [`matmul_dense`]: the forms of `W`: layout, packing, look-up of a row.
//! - [`mod@quantize_activations`]: `x` in 8 bits.
//! - [`matrix_error`], [`half_type`]: what the forms of `W` share.

pub mod half_type;
pub mod linear;
pub mod matmul_dense;
pub mod matmul_int4;
pub mod matmul_int8;
pub mod matrix_error;
pub mod quantize_activations;
pub(crate) mod tiles;

pub use half_type::HalfType;
pub use matrix_error::MatrixError;
