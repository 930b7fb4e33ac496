//! Weights in 4 bits: `W[r][c] = (q[r][c] − z[r][c / g]) · s[r][c / g]`.
//!
//! `q` and `z` are unsigned, 0..15, and `q − z` is never clamped: with `z = 7` a group reaches +8. `s` is a 16-bit float,
//! kept in the checkpoint's own format. `g` is a multiple of 32 that divides the columns. Without zero points `z = 8`.
//!
//! Two forms:
//!
//! | form | values | scales | zero points |
//! | --- | --- | --- | --- |
//! | [`RowMajorInt4`], what importers make | `[rows, columns / 2]` bytes, low nibble = even column | `[rows, groups]` | `[rows, groups]` bytes |
//! | [`Int4Matrix`], what kernels read | tiles of 16 rows, see the table in `ops/tiles` | `[tile][group][16]` | `[tile][group][8 bytes]` |
//!
//! Tiles are independent: [`pack()`] turns any rows that start at a multiple of 16 into their part of the packed form, so a
//! build packs a tensor piece by piece. Packed size: `1/2 + 2/g + 1/(2g)` bytes a weight, see [`int4_bytes`].

mod pack;
mod quantise;
pub mod reference;
#[cfg(test)]
mod tests;

pub(in crate::ops) use pack::pack_scales;
pub use pack::{PackedInt4Mut, RowMajorInt4, pack};
pub use quantise::quantise_rows;

pub use crate::ops::tiles::PackedBytes;

use super::half_type::HalfType;
use super::matrix_error::MatrixError;
use super::tiles::{TileShape, Tiles, Width};

/// Sizes of the parts of a packed matrix; what the memory plan and the engine directory use.
///
/// # Errors
/// If the group size does not fit, or a size overflows.
pub fn int4_bytes(
    rows: usize,
    columns: usize,
    group_size: usize,
    zero_points: bool,
) -> Result<PackedBytes, MatrixError> {
    Ok(TileShape::new(Width::Int4, rows, columns, group_size)?.packed_bytes(zero_points))
}

/// A packed 4-bit matrix, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Int4Matrix<'a> {
    tiles: Tiles<'a>,
}

impl<'a> Int4Matrix<'a> {
    /// Takes the three parts that [`pack()`] wrote. Fastest if `values` starts at a multiple of 64 bytes.
    ///
    /// # Errors
    /// If the group size does not fit, or a part does not have the length of [`int4_bytes`].
    pub fn new(
        rows: usize,
        columns: usize,
        group_size: usize,
        scale_type: HalfType,
        values: &'a [u8],
        scales: &'a [u16],
        zero_points: Option<&'a [u8]>,
    ) -> Result<Self, MatrixError> {
        let shape = TileShape::new(Width::Int4, rows, columns, group_size)?;
        Ok(Self { tiles: Tiles::new(shape, scale_type, values, scales, zero_points)? })
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
