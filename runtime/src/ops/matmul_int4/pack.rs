//! From row-major nibbles to tiles.

use super::super::half_type::HalfType;
use super::super::matrix_error::{MatrixError, check_length};
use super::super::tiles::{TILE_ROWS, TileShape, Width};

/// Some rows of a 4-bit matrix, as an importer makes them.
#[derive(Debug, Clone, Copy)]
pub struct RowMajorInt4<'a> {
    pub(super) shape: TileShape,
    pub(super) scale_type: HalfType,
    pub(super) values: &'a [u8],
    pub(super) scales: &'a [u16],
    pub(super) zero_points: Option<&'a [u8]>,
}

impl<'a> RowMajorInt4<'a> {
    /// `values [rows, columns / 2]`, low nibble = even column; `scales [rows, groups]`; `zero_points [rows, groups]`, one
    /// byte each of which the low four bits count.
    ///
    /// # Errors
    /// If the group size does not fit, or a part has the wrong length.
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
        check_length("row-major values", values.len(), rows * columns / 2)?;
        check_length("row-major scales", scales.len(), rows * shape.groups())?;
        if let Some(zero_points) = zero_points {
            check_length("row-major zero points", zero_points.len(), rows * shape.groups())?;
        }
        Ok(Self { shape, scale_type, values, scales, zero_points })
    }
}

/// The parts of a packed matrix, or of a run of its tiles, to be written.
#[derive(Debug)]
pub struct PackedInt4Mut<'a> {
    /// `[tile][columns / 8][64 bytes]`.
    pub values: &'a mut [u8],
    /// `[tile][group][16]`.
    pub scales: &'a mut [u16],
    /// `[tile][group][8 bytes]`; `None` for a symmetric matrix.
    pub zero_points: Option<&'a mut [u8]>,
}

/// Packs all rows of `source`, which start at a multiple of 16 in the whole matrix, into `out`, the tiles of these rows.
/// A last tile that is not full is padded with rows of scale 0.
///
/// # Errors
/// If a part of `out` does not have the length that the rows need, or the source has zero points and `out` has none.
pub fn pack(source: &RowMajorInt4<'_>, out: PackedInt4Mut<'_>) -> Result<(), MatrixError> {
    let shape = &source.shape;
    check_length("packed values", out.values.len(), shape.value_bytes())?;
    check_length("packed scales", out.scales.len(), shape.scale_count())?;
    if let Some(zero_points) = &out.zero_points {
        check_length("packed zero points", zero_points.len(), shape.zero_point_bytes())?;
    } else if source.zero_points.is_some() {
        return Err(MatrixError::ZeroPointsLost);
    }
    pack_values(shape, source.values, out.values);
    pack_scales(shape, source.scales, out.scales);
    if let Some(packed) = out.zero_points {
        pack_zero_points(shape, source.zero_points, packed);
    }
    Ok(())
}

fn pack_values(shape: &TileShape, values: &[u8], packed: &mut [u8]) {
    let row_bytes = shape.columns() / 2;
    let tiles = packed.chunks_exact_mut(shape.tile_bytes());
    for (tile, rows) in tiles.zip(values.chunks(TILE_ROWS * row_bytes)) {
        if rows.len() < TILE_ROWS * row_bytes {
            tile.fill(0);
        }
        for (row, values) in rows.chunks_exact(row_bytes).enumerate() {
            let (words, _) = values.as_chunks::<4>();
            let (blocks, _) = tile.as_chunks_mut::<64>();
            for (block, &word) in blocks.iter_mut().zip(words) {
                block[row * 4..row * 4 + 4].copy_from_slice(&interleaved(word));
            }
        }
    }
}

/// Eight columns, two a byte in order, as four bytes of which byte `i` holds column `i` low and column `4 + i` high.
fn interleaved(word: [u8; 4]) -> [u8; 4] {
    let word = u32::from_le_bytes(word);
    (spread(word & 0xffff) | spread(word >> 16) << 4).to_le_bytes()
}

/// Four nibbles, one into the low half of each byte.
fn spread(nibbles: u32) -> u32 {
    let pairs = (nibbles | nibbles << 8) & 0x00ff_00ff;
    (pairs | pairs << 4) & 0x0f0f_0f0f
}

/// Row-major `[rows, groups]` to `[tile][group][16]`; missing rows get 0. Also used for 8-bit matrices.
pub(in crate::ops) fn pack_scales(shape: &TileShape, scales: &[u16], packed: &mut [u16]) {
    let groups = shape.groups();
    for (tile, packed) in packed.chunks_exact_mut(groups * TILE_ROWS).enumerate() {
        for (group, packed) in packed.chunks_exact_mut(TILE_ROWS).enumerate() {
            for (lane, packed) in packed.iter_mut().enumerate() {
                let row = tile * TILE_ROWS + lane;
                *packed = if row < shape.rows() { scales[row * groups + group] } else { 0 };
            }
        }
    }
}

fn pack_zero_points(shape: &TileShape, zero_points: Option<&[u8]>, packed: &mut [u8]) {
    let groups = shape.groups();
    let zero_point = |row: usize, group: usize| match zero_points {
        Some(zero_points) if row < shape.rows() => zero_points[row * groups + group] & 15,
        _ => 8,
    };
    for (tile, packed) in packed.chunks_exact_mut(groups * TILE_ROWS / 2).enumerate() {
        for (group, packed) in packed.chunks_exact_mut(TILE_ROWS / 2).enumerate() {
            for (pair, packed) in packed.iter_mut().enumerate() {
                let row = tile * TILE_ROWS + 2 * pair;
                *packed = zero_point(row, group) | zero_point(row + 1, group) << 4;
            }
        }
    }
}
