//! From row-major bytes to tiles.

use super::super::matmul_int4::pack_scales;
use super::super::matrix_error::{MatrixError, check_length};
use super::super::tiles::{TILE_ROWS, TileShape, Width};

/// Some rows of an 8-bit matrix, as [`super::quantise_rows`] makes them.
#[derive(Debug, Clone, Copy)]
pub struct RowMajorInt8<'a> {
    pub(super) shape: TileShape,
    pub(super) values: &'a [i8],
    pub(super) scales: &'a [u16],
}

impl<'a> RowMajorInt8<'a> {
    /// `values [rows, columns]`, `scales [rows, groups]` as f16.
    ///
    /// # Errors
    /// If the group size does not fit, or a part has the wrong length.
    pub fn new(
        rows: usize,
        columns: usize,
        group_size: usize,
        values: &'a [i8],
        scales: &'a [u16],
    ) -> Result<Self, MatrixError> {
        let shape = TileShape::new(Width::Int8, rows, columns, group_size)?;
        check_length("row-major values", values.len(), rows * columns)?;
        check_length("row-major scales", scales.len(), rows * shape.groups())?;
        Ok(Self { shape, values, scales })
    }
}

/// The parts of a packed matrix, or of a run of its tiles, to be written.
#[derive(Debug)]
pub struct PackedInt8Mut<'a> {
    /// `[tile][columns / 4][64 bytes]`.
    pub values: &'a mut [u8],
    /// `[tile][group][16]`.
    pub scales: &'a mut [u16],
}

/// Packs all rows of `source`, which start at a multiple of 16 in the whole matrix, into `out`, the tiles of these rows.
/// A last tile that is not full is padded with rows of scale 0.
///
/// # Errors
/// If a part of `out` does not have the length that the rows need.
pub fn pack(source: &RowMajorInt8<'_>, out: PackedInt8Mut<'_>) -> Result<(), MatrixError> {
    let shape = &source.shape;
    check_length("packed values", out.values.len(), shape.value_bytes())?;
    check_length("packed scales", out.scales.len(), shape.scale_count())?;
    let columns = shape.columns();
    let tiles = out.values.chunks_exact_mut(shape.tile_bytes());
    for (tile, rows) in tiles.zip(source.values.chunks(TILE_ROWS * columns)) {
        if rows.len() < TILE_ROWS * columns {
            tile.fill(128);
        }
        for (row, values) in rows.chunks_exact(columns).enumerate() {
            let (blocks, _) = tile.as_chunks_mut::<64>();
            let (words, _) = values.as_chunks::<4>();
            for (block, word) in blocks.iter_mut().zip(words) {
                // Adding 128 to an i8 is flipping its top bit.
                block[row * 4..row * 4 + 4].copy_from_slice(&word.map(|q| q as u8 ^ 0x80));
            }
        }
    }
    pack_scales(shape, source.scales, out.scales);
    Ok(())
}
