//! The shape and the borrowed view of a packed matrix.

use ledger::Bytes;

use super::TILE_ROWS;
use crate::ops::half_type::HalfType;
use crate::ops::matrix_error::{MatrixError, check_length};

/// Largest group size: sums of 16384 products of 8 bits stay below 2^30.
const LARGEST_GROUP: usize = 16_384;

/// Every group is a multiple of as many columns.
pub(crate) const RUN: usize = 32;

/// Bits of a stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Int4,
    Int8,
}

impl Width {
    /// Columns in a block of 64 bytes.
    pub(crate) const fn block_columns(self) -> usize {
        match self {
            Self::Int4 => 8,
            Self::Int8 => 4,
        }
    }
}

/// A shape whose sizes have been checked: no product of them overflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TileShape {
    width: Width,
    rows: usize,
    columns: usize,
    group_size: usize,
}

impl TileShape {
    pub(crate) fn new(
        width: Width,
        rows: usize,
        columns: usize,
        group_size: usize,
    ) -> Result<Self, MatrixError> {
        check_group_size(columns, group_size)?;
        let padded = rows.checked_next_multiple_of(TILE_ROWS).and_then(|rows| rows.checked_mul(columns));
        match padded {
            Some(weights) if weights <= isize::MAX as usize / 4 => {
                Ok(Self { width, rows, columns, group_size })
            }
            _ => Err(MatrixError::TooLarge { rows, columns }),
        }
    }

    pub(crate) fn width(&self) -> Width {
        self.width
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn group_size(&self) -> usize {
        self.group_size
    }

    pub(crate) fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE_ROWS)
    }

    pub(crate) fn groups(&self) -> usize {
        self.columns / self.group_size
    }

    /// Blocks of 64 bytes in one group of one tile.
    pub(crate) fn group_blocks(&self) -> usize {
        self.group_size / self.width.block_columns()
    }

    /// Bytes of values in one tile.
    pub(crate) fn tile_bytes(&self) -> usize {
        self.columns / self.width.block_columns() * 64
    }

    /// Bytes of values.
    pub(crate) fn value_bytes(&self) -> usize {
        self.tiles() * self.tile_bytes()
    }

    /// Number of scales.
    pub(crate) fn scale_count(&self) -> usize {
        self.tiles() * self.groups() * TILE_ROWS
    }

    /// Bytes of zero points, if there are any.
    pub(crate) fn zero_point_bytes(&self) -> usize {
        self.tiles() * self.groups() * TILE_ROWS / 2
    }

    pub(crate) fn packed_bytes(&self, zero_points: bool) -> PackedBytes {
        PackedBytes {
            values: Bytes(self.value_bytes() as u64),
            scales: Bytes(2 * self.scale_count() as u64),
            zero_points: if zero_points { Bytes(self.zero_point_bytes() as u64) } else { Bytes::ZERO },
        }
    }
}

/// `Ok` if rows of `columns` can be divided into groups of `group_size`.
pub(crate) fn check_group_size(columns: usize, group_size: usize) -> Result<(), MatrixError> {
    let fits = group_size > 0
        && group_size <= LARGEST_GROUP
        && group_size.is_multiple_of(RUN)
        && columns > 0
        && columns.is_multiple_of(group_size);
    if fits { Ok(()) } else { Err(MatrixError::GroupSize { columns, group_size }) }
}

/// Sizes of the parts of a packed matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBytes {
    /// The quantised weights.
    pub values: Bytes,
    /// The 16-bit scales.
    pub scales: Bytes,
    /// The 4-bit zero points; 0 where there are none.
    pub zero_points: Bytes,
}

impl PackedBytes {
    /// All parts together.
    pub fn total(&self) -> Bytes {
        Bytes(self.values.0 + self.scales.0 + self.zero_points.0)
    }
}

/// A packed matrix, borrowed. Its parts have the lengths that its shape asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiles<'a> {
    shape: TileShape,
    scale_type: HalfType,
    values: &'a [u8],
    scales: &'a [u16],
    zero_points: Option<&'a [u8]>,
}

/// One tile, for kernels that walk its groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// Its blocks, group after group.
    pub(crate) values: &'a [u8],
    /// The 16 scales of each group, as bits.
    pub(crate) scales: &'a [[u16; TILE_ROWS]],
    /// The 16 zero points of each group, two a byte; `None` where they are the width's middle value.
    pub(crate) zero_points: Option<&'a [[u8; TILE_ROWS / 2]]>,
}

impl<'a> Tiles<'a> {
    pub(crate) fn new(
        shape: TileShape,
        scale_type: HalfType,
        values: &'a [u8],
        scales: &'a [u16],
        zero_points: Option<&'a [u8]>,
    ) -> Result<Self, MatrixError> {
        check_length("values", values.len(), shape.value_bytes())?;
        check_length("scales", scales.len(), shape.scale_count())?;
        if let Some(zero_points) = zero_points {
            check_length("zero points", zero_points.len(), shape.zero_point_bytes())?;
        }
        Ok(Self { shape, scale_type, values, scales, zero_points })
    }

    pub(crate) fn shape(&self) -> &TileShape {
        &self.shape
    }

    pub(crate) fn scale_type(&self) -> HalfType {
        self.scale_type
    }

    /// The blocks of group `group` of tile `tile`.
    #[inline(always)]
    pub(crate) fn group_values(&self, tile: usize, group: usize) -> &'a [u8] {
        let bytes = self.shape.group_blocks() * 64;
        let start = tile * self.shape.tile_bytes() + group * bytes;
        &self.values[start..start + bytes]
    }

    /// All of tile `tile`.
    pub(crate) fn tile(&self, tile: usize) -> Tile<'a> {
        let (bytes, groups) = (self.shape.tile_bytes(), self.shape.groups());
        let zero_points = self.zero_points.map(|all| all.as_chunks().0);
        Tile {
            values: &self.values[tile * bytes..(tile + 1) * bytes],
            scales: &self.scales.as_chunks().0[tile * groups..(tile + 1) * groups],
            zero_points: zero_points.map(|all| &all[tile * groups..(tile + 1) * groups]),
        }
    }

    /// The 16 scales of group `group` of tile `tile`, as bits.
    #[inline(always)]
    pub(crate) fn group_scales(&self, tile: usize, group: usize) -> &'a [u16; TILE_ROWS] {
        let start = (tile * self.shape.groups() + group) * TILE_ROWS;
        self.scales[start..].first_chunk().expect("the scales cover every group of every tile")
    }

    /// The 16 zero points of group `group` of tile `tile`, two a byte; `None` where they are the width's middle value.
    #[inline(always)]
    pub(crate) fn group_zero_points(&self, tile: usize, group: usize) -> Option<&'a [u8; TILE_ROWS / 2]> {
        let start = (tile * self.shape.groups() + group) * (TILE_ROWS / 2);
        let bytes = &self.zero_points?[start..];
        Some(bytes.first_chunk().expect("the zero points cover every group of every tile"))
    }

    /// The zero point of one row, which is the middle of the range where none is stored.
    pub(crate) fn zero_point(&self, tile: usize, group: usize, row: usize) -> i32 {
        match (self.shape.width, self.group_zero_points(tile, group)) {
            (Width::Int8, _) => 128,
            (Width::Int4, None) => 8,
            (Width::Int4, Some(bytes)) => i32::from(bytes[row / 2] >> (row % 2 * 4) & 15),
        }
    }

    /// Bytes of values and scales that one row takes.
    pub(crate) fn row_bytes(&self) -> usize {
        self.shape.tile_bytes() / TILE_ROWS + 2 * self.shape.groups()
    }

    /// Writes the weights of row `row` as floats to `out [columns]`.
    pub(crate) fn dequantise_row(&self, row: usize, out: &mut [f32]) -> Result<(), MatrixError> {
        let shape = &self.shape;
        if row >= shape.rows {
            return Err(MatrixError::RowOutside { row, rows: shape.rows });
        }
        check_length("row", out.len(), shape.columns)?;
        for (run, out) in out.as_chunks_mut::<RUN>().0.iter_mut().enumerate() {
            self.dequantise_run(row / TILE_ROWS, row % TILE_ROWS, run, out);
        }
        Ok(())
    }

    /// The weights of row `row` of tile `tile` in columns `32 run` to `32 run + 31`. A run lies inside one group.
    #[inline(always)]
    pub(crate) fn dequantise_run(&self, tile: usize, row: usize, run: usize, out: &mut [f32; RUN]) {
        let shape = &self.shape;
        let group = run * RUN / shape.group_size;
        let scale = self.scale_type.to_f32(self.group_scales(tile, group)[row]);
        let zero_point = self.zero_point(tile, group, row);
        let value = |stored: u8| (i32::from(stored) - zero_point) as f32 * scale;
        let run_bytes = RUN / shape.width.block_columns() * 64;
        let start = tile * shape.tile_bytes() + run * run_bytes;
        let blocks = self.values[start..start + run_bytes].as_chunks::<64>().0;
        match shape.width {
            Width::Int8 => {
                for (out, block) in out.as_chunks_mut::<4>().0.iter_mut().zip(blocks) {
                    out.iter_mut().zip(&block[row * 4..]).for_each(|(out, &byte)| *out = value(byte));
                }
            }
            Width::Int4 => {
                for (out, block) in out.as_chunks_mut::<8>().0.iter_mut().zip(blocks) {
                    let (low, high) = out.split_at_mut(4);
                    let bytes = &block[row * 4..row * 4 + 4];
                    low.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = value(byte & 15));
                    high.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = value(byte >> 4));
                }
            }
        }
    }
}
