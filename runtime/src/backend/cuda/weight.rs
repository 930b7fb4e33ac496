//! Weights in the GPU's memory, in the bytes of the engine's file.

use std::sync::Arc;

use ledger::ElementType;

use super::memory::{Address, Space};
use super::op::{Format, MatrixAt};
use crate::engine_dir::{PartKind, PartRecord, TensorFormat, TensorRecord};
use crate::memory::Account;
use crate::ops::HalfType;
use crate::plan::Pieces;
use crate::weights::{RowSource, Segment, Weight, WeightRows};

/// The weights of an engine in one run of memory, entered in the ledger tensor by tensor.
#[derive(Debug)]
pub(super) struct WeightMemory {
    pub(super) space: Space,
    pub(super) _accounts: Vec<Account>,
}

/// A tensor of the engine.
#[derive(Debug, Clone)]
pub struct CudaWeight {
    memory: Arc<WeightMemory>,
    /// Without addresses where some of it is streamed.
    matrix: MatrixAt,
    streamed: Option<Streamed>,
}

/// What a weight that is not resident whole knows.
#[derive(Debug, Clone)]
struct Streamed {
    /// Where the rows of its segment that stay are.
    segment: Address,
    /// Which rows are where, and how those in storage are read.
    rows: Weight,
}

impl CudaWeight {
    /// The tensor `record` of a segment that starts at `segment`, whole as in the file.
    pub(super) fn new(memory: &Arc<WeightMemory>, segment: Address, record: &TensorRecord) -> CudaWeight {
        let part = |part: &PartRecord| (part.kind, segment + part.offset);
        CudaWeight::at(memory, record, record.parts.iter().map(part))
    }

    /// The tensor `record`, which `rows` has under a budget. What stays of its segment, which starts at `offset` in the file, is at
    /// `segment`.
    pub(super) fn placed(
        memory: &Arc<WeightMemory>,
        segment: Address,
        record: &TensorRecord,
        offset: u64,
        rows: Vec<WeightRows>,
    ) -> CudaWeight {
        if let [WeightRows { rows, source: RowSource::Pinned { offset: at }, .. }] = &rows[..] {
            let pieces = Pieces::of(offset, record, rows);
            let parts = pieces.parts().map(|piece| piece.kind).zip(pieces.offsets(segment + at));
            return CudaWeight::at(memory, record, parts);
        }
        let nothing = Arc::new(Segment::resident(None, Vec::new()));
        let rows = Weight::placed(nothing, record.clone(), offset, rows);
        let whole = CudaWeight::at(memory, record, std::iter::empty());
        CudaWeight { streamed: Some(Streamed { segment, rows }), ..whole }
    }

    /// The tensor `record` with its `parts`.
    fn at(
        memory: &Arc<WeightMemory>,
        record: &TensorRecord,
        parts: impl Iterator<Item = (PartKind, Address)>,
    ) -> CudaWeight {
        let (format, group_size, bf16_scales) = match record.format {
            TensorFormat::Int4 { group_size, scale_type, .. } => {
                (Format::Int4, group_size, scale_type == HalfType::Bf16)
            }
            TensorFormat::Int8 { group_size } => (Format::Int8, group_size, false),
            TensorFormat::Dense { element: ElementType::F16 } => (Format::F16, record.columns, false),
            TensorFormat::Dense { element: ElementType::Bf16 } => (Format::Bf16, record.columns, false),
            TensorFormat::Dense { .. } => (Format::F32, record.columns, false),
        };
        let matrix = MatrixAt {
            values: 0,
            scales: 0,
            zeros: 0,
            rows: record.rows as u32,
            columns: record.columns as u32,
            format,
            group_size: group_size as u32,
            bf16_scales,
        };
        CudaWeight { memory: memory.clone(), matrix: with_parts(matrix, parts), streamed: None }
    }

    /// The first `rows`, in the same bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn first_rows(&self, rows: usize) -> CudaWeight {
        assert!(rows <= self.matrix.rows as usize, "{rows} of {} rows", self.matrix.rows);
        let matrix = MatrixAt { rows: rows as u32, ..self.matrix };
        let streamed = self
            .streamed
            .as_ref()
            .map(|streamed| Streamed { segment: streamed.segment, rows: streamed.rows.first_rows(rows) });
        CudaWeight { memory: self.memory.clone(), matrix, streamed }
    }

    /// Outputs.
    pub(super) fn rows(&self) -> u32 {
        self.matrix.rows
    }

    /// Where its rows are; `None` where all are resident and [`CudaWeight::matrix`] has them.
    pub(super) fn streamed(&self) -> Option<&Weight> {
        self.streamed.as_ref().map(|streamed| &streamed.rows)
    }

    /// The matrix that a projection multiplies with.
    ///
    /// # Panics
    /// If some of it is streamed.
    pub(super) fn matrix(&self) -> MatrixAt {
        assert!(self.streamed.is_none(), "a streamed weight has no matrix, only rows");
        self.matrix
    }

    /// Rows that stay, as a matrix of their own. `offset` is where they are pinned in what stays of the segment.
    pub(super) fn pinned_rows(&self, part: &WeightRows, offset: u64) -> MatrixAt {
        let Some(Streamed { segment, rows }) = &self.streamed else { return self.matrix };
        let pieces = rows.pieces(&part.rows);
        let parts = pieces.parts().map(|piece| piece.kind).zip(pieces.offsets(segment + offset));
        with_parts(self.counted(part), parts)
    }

    /// Rows that were brought, as a matrix of their own. `pieces` are those of `part`, in the slot that starts at `slot`.
    pub(super) fn read_rows(&self, part: &WeightRows, pieces: &Pieces, slot: Address) -> MatrixAt {
        with_parts(self.counted(part), pieces.parts().map(|piece| (piece.kind, slot + piece.at)))
    }

    fn counted(&self, part: &WeightRows) -> MatrixAt {
        MatrixAt { rows: part.counted as u32, ..self.matrix }
    }

    /// Where the weights of the engine start, and how many bytes they take.
    pub(super) fn memory(&self) -> (Address, u64) {
        (self.memory.space.start(), self.memory.space.mapped())
    }

    /// Where the numbers of a vector are, and how many.
    pub(super) fn numbers(&self) -> (Address, u32) {
        debug_assert_eq!(self.matrix.format, Format::F32);
        (self.matrix.values, self.matrix.rows * self.matrix.columns)
    }
}

/// `matrix` with its `parts`; it has no others.
fn with_parts(mut matrix: MatrixAt, parts: impl Iterator<Item = (PartKind, Address)>) -> MatrixAt {
    (matrix.values, matrix.scales, matrix.zeros) = (0, 0, 0);
    for (kind, at) in parts {
        match kind {
            PartKind::Values => matrix.values = at,
            PartKind::Scales => matrix.scales = at,
            PartKind::ZeroPoints => matrix.zeros = at,
        }
    }
    matrix
}
