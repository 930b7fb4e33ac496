//! Weights in 8 bits: `W[r][c] = q[r][c] · s[r][c / g]`.
//!
//! `q` is signed, `s` an f16, `g` (128 unless asked otherwise) a multiple of 32 that divides the columns. Stored as
//! `u = q + 128`, because `vpdpbusd` takes one unsigned operand; the sums of the activations take the 128 off again. The
//! tied table of embeddings and language-model head is kept like this: [`Int8Matrix::dequantise_row`] is the look-up.
//!
//! | form | values | scales |
//! | --- | --- | --- |
//! | [`RowMajorInt8`] | `[rows, columns]` i8 | `[rows, groups]` f16 |
//! | [`Int8Matrix`] | tiles of 16 rows, `[tile][columns / 4][64 bytes]`, see the table in `ops/tiles` | `[tile][group][16]` f16 |
//!
//! Packed size: `1 + 2/g` bytes a weight, see [`int8_bytes`].

mod pack;
mod quantise;
pub mod reference;
#[cfg(test)]
mod tests;

pub use pack::{PackedInt8Mut, RowMajorInt8, pack};
pub use quantise::quantise_rows;

pub use crate::ops::tiles::PackedBytes;

use super::half_type::HalfType;
use super::matrix_error::MatrixError;
use super::tiles::{TileShape, Tiles, Width};

/// Sizes of the parts of a packed matrix; what the memory plan and the engine directory use.
///
/// # Errors
/// If the group size does not fit, or a size overflows.
pub fn int8_bytes(rows: usize, columns: usize, group_size: usize) -> Result<PackedBytes, MatrixError> {
    Ok(TileShape::new(Width::Int8, rows, columns, group_size)?.packed_bytes(false))
}

/// A packed 8-bit matrix, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Int8Matrix<'a> {
    tiles: Tiles<'a>,
}

impl<'a> Int8Matrix<'a> {
    /// Takes the two parts that [`pack()`] wrote. Fastest if `values` starts at a multiple of 64 bytes.
    ///
    /// # Errors
    /// If the group size does not fit, or a part does not have the length of [`int8_bytes`].
    pub fn new(
        rows: usize,
        columns: usize,
        group_size: usize,
        values: &'a [u8],
        scales: &'a [u16],
    ) -> Result<Self, MatrixError> {
        let shape = TileShape::new(Width::Int8, rows, columns, group_size)?;
        Ok(Self { tiles: Tiles::new(shape, HalfType::F16, values, scales, None)? })
    }

    /// Outputs of the product.
    pub fn rows(&self) -> usize {
        self.tiles.shape().rows()
    }

    /// Inputs of the product.
    pub fn columns(&self) -> usize {
        self.tiles.shape().columns()
    }

    /// Columns that share a scale.
    pub fn group_size(&self) -> usize {
        self.tiles.shape().group_size()
    }

    pub(crate) fn tiles(&self) -> &Tiles<'a> {
        &self.tiles
    }

    /// Writes the weights of row `row` to `out [columns]`.
    ///
    /// # Errors
    /// If there is no such row, or `out` has another length.
    pub fn dequantise_row(&self, row: usize, out: &mut [f32]) -> Result<(), MatrixError> {
        self.tiles.dequantise_row(row, out)
    }
}
