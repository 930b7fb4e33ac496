//! Linear layers: `y = x Wᵀ` for one `x` and several `W` (query, key and value; gate and up), the entry that models call.
//!
//! | argument | shape | owner |
//! | --- | --- | --- |
//! | `x` | `[tokens, columns]` f32 | caller |
//! | each `matrix` | `[rows, columns]`, int4, int8 or dense | engine's weights |
//! | each `out` | `[tokens, rows]` f32, overwritten or added to | caller |
//! | `workspace` | [`workspace_bytes`] | memory plan |
//!
//! `Precision::Fast` quantises `x` to 8 bits, once for each group size among the matrices, and multiplies in integers.
//! `Precision::Exact` multiplies `x` in f32 with the dequantised weights. Dense matrices are always multiplied in f32.
//!
//! All matrices of one group size are one parallel section, handed out in runs of rows of about equal bytes. A result
//! depends on the weights, on its own token and on the instruction set, and bit for bit on nothing else: not on the
//! number of tokens, nor on the place of a token among them, nor on the number of threads.

mod forward;
#[cfg(test)]
mod tests;

pub use forward::{Inputs, LinearError, ROWS_TOGETHER, Rows, forward, multiply_rows, smallest_group};

use ledger::Bytes;
use serde::{Deserialize, Serialize};

use super::matmul_dense::DenseMatrix;
use super::matmul_int4::Int4Matrix;
use super::matmul_int8::Int8Matrix;
use super::matrix_error::MatrixError;
use super::quantize_activations;
pub use super::store::Store;

/// A weight matrix `[rows, columns]` in any form.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// 4 bits.
    Int4(Int4Matrix<'a>),
    /// 8 bits.
    Int8(Int8Matrix<'a>),
    /// Floats.
    Dense(DenseMatrix<'a>),
}

impl Matrix<'_> {
    /// Outputs.
    pub fn rows(&self) -> usize {
        match self {
            Self::Int4(matrix) => matrix.rows(),
            Self::Int8(matrix) => matrix.rows(),
            Self::Dense(matrix) => matrix.rows(),
        }
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        match self {
            Self::Int4(matrix) => matrix.columns(),
            Self::Int8(matrix) => matrix.columns(),
            Self::Dense(matrix) => matrix.columns(),
        }
    }

    /// Columns that share a scale; `None` for floats.
    pub fn group_size(&self) -> Option<usize> {
        match self {
            Self::Int4(matrix) => Some(matrix.group_size()),
            Self::Int8(matrix) => Some(matrix.group_size()),
            Self::Dense(_) => None,
        }
    }

    /// Writes the weights of row `row` to `out [columns]`: a look-up in a table of embeddings.
    ///
    /// # Errors
    /// If there is no such row, or `out` has another length.
    pub fn dequantise_row(&self, row: usize, out: &mut [f32]) -> Result<(), MatrixError> {
        match self {
            Self::Int4(matrix) => matrix.dequantise_row(row, out),
            Self::Int8(matrix) => matrix.dequantise_row(row, out),
            Self::Dense(matrix) => matrix.dequantise_row(row, out),
        }
    }
}

/// Whether activations may be rounded to 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32 activations and dequantised weights.
    Exact,
    /// 8-bit activations and integer products.
    #[default]
    Fast,
}

/// One product of a [`forward()`] call.
#[derive(Debug)]
pub struct Projection<'a> {
    /// `W [rows, columns]`.
    pub matrix: Matrix<'a>,
    /// `y [tokens, rows]`.
    pub out: &'a mut [f32],
    /// What happens to the old values of `out`.
    pub store: Store,
}

/// Workspace that is enough for [`forward()`] with at most `max_tokens` tokens, `max_columns` columns, and matrices whose group
/// size is at least `min_group_size`: the 8-bit activations, see [`quantize_activations::workspace_bytes`].
pub const fn workspace_bytes(max_tokens: usize, max_columns: usize, min_group_size: usize) -> Bytes {
    quantize_activations::workspace_bytes(max_tokens, max_columns, min_group_size)
}
