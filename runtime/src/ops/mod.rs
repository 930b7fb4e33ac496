//! Operators: what a model is wired from. Each folder holds one operator: the contract and the maths (`mod.rs`), the slow
//! truth (`reference.rs`), the fast paths, the tests.
//!
//! - [`linear`]: `y = x Wᵀ`, the entry that models call; one quantisation and one parallel section for several matrices.
//! - [`matmul_int4`], [`matmul_int8`], [`matmul_dense`]: the forms of `W`: layout, packing, look-up of a row; `tiles`: the
//!   kernels of the first two. [`mod@quantize_activations`]: `x` in 8 bits.
//! - [`rms_norm`], [`rope`], [`attention`], [`causal_conv1d`], [`gated_delta_rule`], [`swiglu`]: the rest of a layer.
//! - [`activation`]: exponentials and what is made of them. [`Heads`]: where the heads of a token lie.
//! - [`half_type`], [`matrix_error`]: what the forms of `W` share.
//!
//! Activations are f32, row-major, one row a token. Operators know slices and shapes, never a model. A slice whose length
//! contradicts its shape is a bug of the caller, and is caught at the operator's border, before anything is written.

pub mod activation;
pub mod attention;
pub mod causal_conv1d;
pub mod gated_delta_rule;
pub mod half_type;
mod heads;
pub mod linear;
pub mod matmul_dense;
pub mod matmul_int4;
pub mod matmul_int8;
pub mod matrix_error;
pub mod quantize_activations;
pub mod rms_norm;
pub mod rope;
mod row;
mod store;
pub mod swiglu;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tiles;

pub use half_type::{DenseType, HalfType};
pub use heads::Heads;
pub use matrix_error::MatrixError;
pub use row::{argmax, largest};
pub use store::Store;
pub(crate) use tiles::TILE_ROWS;
