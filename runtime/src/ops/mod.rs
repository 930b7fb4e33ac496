//! Operators: what a model is wired from. Each folder holds one operator: the contract and the maths (`mod.rs`), the slow
//! truth (`reference.rs`), the fast path (`cpu.rs`), the tests.
//!
//! Activations are f32, row-major, one row a token. Operators know slices and shapes, never a model. A slice whose length
//! contradicts its shape is a bug of the caller and panics at the operator's border, before anything is written.

pub mod activation;
pub mod attention;
pub mod causal_conv1d;
pub mod gated_delta_rule;
mod heads;
pub mod rms_norm;
pub mod rope;
pub mod swiglu;
#[cfg(test)]
mod testing;

pub use heads::Heads;
