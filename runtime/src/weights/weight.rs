//! One tensor of a loaded engine, as its kernel wants to see it.

use std::ops::Range;
use std::sync::Arc;

use ledger::ElementType;

use super::Segment;
use crate::engine_dir::{PartKind, TensorFormat, TensorRecord};
use crate::memory::elements;
use crate::ops::linear::Matrix;
use crate::ops::matmul_dense::{DenseMatrix, DenseType};
use crate::ops::matmul_int4::Int4Matrix;
use crate::ops::matmul_int8::Int8Matrix;
use crate::plan::Pieces;

/// A tensor in a loaded segment, or partly on its way from storage.
#[derive(Debug, Clone)]
pub struct Weight {
    segment: Arc<Segment>,
    /// With its parts as they stand in the segment's memory, or in the file where some of it is streamed.
    record: TensorRecord,
    /// How many of its rows count, from the first.
    rows: usize,
    streamed: Option<Streamed>,
}

/// What a weight that is not resident whole knows.
#[derive(Debug, Clone)]
struct Streamed {
    /// Start of the segment in the file.
    offset: u64,
    rows: Arc<[WeightRows]>,
}

/// Some rows of a weight that lie side by side, and where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightRows {
    /// The rows.
    pub rows: Range<usize>,
    /// How many of them count, from the first.
    pub counted: usize,
    /// Where they are.
    pub source: RowSource,
}

/// Where some rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowSource {
    /// In the segment's memory, from `offset` on.
    Pinned {
        /// Start in the segment's memory.
        offset: u64,
    },
    /// In storage.
    Streamed {
        /// Number of the stripe.
        stripe: usize,
    },
}

/// What makes the conversions below infallible: an engine's manifest is held against its shapes when it is opened.
const CHECKED: &str = "a manifest's parts are checked against its shapes when an engine is opened";

impl Weight {
    pub(super) fn new(segment: Arc<Segment>, record: TensorRecord) -> Weight {
        Weight { segment, rows: record.rows, record, streamed: None }
    }

    /// A tensor of the segment that starts at `offset` in the file, and where its rows are.
    pub(crate) fn placed(
        segment: Arc<Segment>,
        mut record: TensorRecord,
        offset: u64,
        rows: Vec<WeightRows>,
    ) -> Weight {
        if let [WeightRows { rows, source: RowSource::Pinned { offset: at }, .. }] = &rows[..] {
            let pieces = Pieces::of(offset, &record, rows);
            for (part, at) in record.parts.iter_mut().zip(pieces.offsets(*at)) {
                part.offset = at;
            }
            return Weight::new(segment, record);
        }
        Weight { segment, rows: record.rows, record, streamed: Some(Streamed { offset, rows: rows.into() }) }
    }

    /// The first `rows` of this matrix, in the same bytes.
    ///
    /// # Panics
    /// If the matrix has fewer.
    pub fn first_rows(&self, rows: usize) -> Weight {
        assert!(rows <= self.rows, "{rows} of {} rows", self.rows);
        let streamed =
            self.streamed.as_ref().map(|streamed| {
                let counted = streamed.rows.iter().filter(|part| part.rows.start < rows).map(|part| {
                    WeightRows { counted: part.counted.min(rows - part.rows.start), ..part.clone() }
                });
                Streamed { offset: streamed.offset, rows: counted.collect() }
            });
        Weight { segment: self.segment.clone(), record: self.record.clone(), rows, streamed }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.record.columns
    }

    /// Columns that share a scale; `None` for plain numbers.
    pub fn group_size(&self) -> Option<usize> {
        self.record.format.group_size()
    }

    /// Where the rows are, in order; `None` where all are in memory and [`Weight::matrix`] has them.
    pub fn streamed(&self) -> Option<&[WeightRows]> {
        self.streamed.as_ref().map(|streamed| &*streamed.rows)
    }

    /// The numbers of a vector, or of the taps of a convolution.
    pub fn numbers(&self) -> &[f32] {
        debug_assert_eq!(self.record.format, TensorFormat::Dense { element: ElementType::F32 });
        elements(self.part(PartKind::Values))
    }

    /// The matrix that a projection multiplies with.
    ///
    /// # Panics
    /// If some of it is streamed.
    pub fn matrix(&self) -> Matrix<'_> {
        assert!(self.streamed.is_none(), "a streamed weight has no matrix, only rows");
        self.matrix_of(self.rows, self.record.rows, |kind| self.part(kind))
    }

    /// Rows that stay, as a matrix of their own. `offset` is where they are pinned.
    pub fn pinned_rows(&self, part: &WeightRows, offset: u64) -> Matrix<'_> {
        let pieces = self.pieces(&part.rows);
        let memory = self.segment.bytes();
        self.matrix_of(part.counted, part.rows.len(), |kind| {
            let mut parts = pieces.parts().zip(pieces.offsets(offset));
            let (piece, at) = parts.find(|(piece, _)| piece.kind == kind).expect(CHECKED);
            &memory[at as usize..][..piece.bytes as usize]
        })
    }

    /// Rows that have been read, as a matrix of their own. `pieces` are those of `part`, and `slot` is what they were read into.
    pub fn read_rows<'a>(&self, part: &WeightRows, pieces: &Pieces, slot: &'a [u8]) -> Matrix<'a> {
        self.matrix_of(part.counted, part.rows.len(), |kind| read_part(pieces, slot, kind))
    }

    /// Rows that were read to be looked up, as [`Weight::rows_around`] gives them.
    pub fn looked_up<'a>(&self, rows: &Range<usize>, pieces: &Pieces, slot: &'a [u8]) -> Matrix<'a> {
        self.matrix_of(rows.len(), rows.len(), |kind| read_part(pieces, slot, kind))
    }

    /// The rows that are read together with `row` when a row is looked up.
    pub fn rows_around(&self, row: usize) -> Range<usize> {
        let together = self.record.rows_together();
        let first = row / together * together;
        first..(first + together).min(self.record.rows)
    }

    /// Where `rows` of a streamed weight stand in the file.
    pub fn pieces(&self, rows: &Range<usize>) -> Pieces {
        Pieces::of(self.streamed.as_ref().map_or(0, |streamed| streamed.offset), &self.record, rows)
    }

    /// The first `rows` of a matrix whose parts hold `held` rows.
    fn matrix_of<'a>(&self, rows: usize, held: usize, part: impl Fn(PartKind) -> &'a [u8]) -> Matrix<'a> {
        let columns = self.record.columns;
        let together = self.record.rows_together();
        let (units, held_units) = (rows.div_ceil(together), held.div_ceil(together));
        let part = |kind| {
            let bytes = part(kind);
            &bytes[..bytes.len() / held_units * units]
        };
        let values = part(PartKind::Values);
        match self.record.format {
            TensorFormat::Int4 { group_size, scale_type, zero_points } => {
                let zero_points = zero_points.then(|| part(PartKind::ZeroPoints));
                let scales = elements(part(PartKind::Scales));
                let matrix =
                    Int4Matrix::new(rows, columns, group_size, scale_type, values, scales, zero_points);
                Matrix::Int4(matrix.expect(CHECKED))
            }
            TensorFormat::Int8 { group_size } => {
                let scales = elements(part(PartKind::Scales));
                Matrix::Int8(Int8Matrix::new(rows, columns, group_size, values, scales).expect(CHECKED))
            }
            TensorFormat::Dense { element } => {
                let element = match element {
                    ElementType::F16 => DenseType::F16,
                    ElementType::Bf16 => DenseType::Bf16,
                    _ => DenseType::F32,
                };
                Matrix::Dense(DenseMatrix::new(rows, columns, element, values).expect(CHECKED))
            }
        }
    }

    fn part(&self, kind: PartKind) -> &[u8] {
        let part = self.record.parts.iter().find(|part| part.kind == kind).expect(CHECKED);
        &self.segment.bytes()[part.offset as usize..][..part.bytes as usize]
    }
}

/// The stripes of `weights`, in the order in which they are multiplied with.
pub(crate) fn stripes_of<'a>(weights: impl Iterator<Item = &'a Weight>) -> impl Iterator<Item = usize> {
    let parts = weights.filter_map(Weight::streamed).flatten();
    parts.filter_map(|part| match part.source {
        RowSource::Pinned { .. } => None,
        RowSource::Streamed { stripe } => Some(stripe),
    })
}

/// One part of some rows in what they were read into.
fn read_part<'a>(pieces: &Pieces, slot: &'a [u8], kind: PartKind) -> &'a [u8] {
    let piece = pieces.parts().find(|piece| piece.kind == kind).expect(CHECKED);
    &slot[piece.at as usize..][..piece.bytes as usize]
}
