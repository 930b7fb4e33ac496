//! Rotary position embedding (arXiv 2104.09864, equation 34) on the first `rotary_dims` values of each head.
//!
//! ```text
//! frequency_j = theta^(-2j/d)              j < d/2,  d = rotary_dims
//! angle_j     = position * frequency_j
//! y_j         = x_j cos(angle_j) - x_{j+d/2} sin(angle_j)
//! y_{j+d/2}   = x_{j+d/2} cos(angle_j) + x_j sin(angle_j)
//! ```
//!
//! Pairs are `(j, j + d/2)`, not neighbours; values from `rotary_dims` on are untouched. Frequencies and angles are f32
//! products, as in the published models, not f64 rounded once: at position 8000 the two differ by about 5e-4.
//! Qwen3.5's three-part positions (mrope) are equal for text, so this is all of it.
//!
//! | argument | shape | |
//! |---|---|---|
//! | `cos`, `sin` | `[tokens, rotary_dims / 2]` | filled once for a range of positions, shared by all layers |
//! | `x` | strided [`Heads`](crate::ops::Heads) | in place |
//!
//! Table: `4 * rotary_dims` bytes a position. Workspace: none.

mod cpu;
pub mod reference;
#[cfg(test)]
mod tests;

pub use cpu::{fill, forward};
