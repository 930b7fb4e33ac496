//! Weights in the GPU's memory, in the bytes of the engine's file.

use std::sync::Arc;

use ledger::ElementType;

use super::memory::{Address, Space};
use super::op::{Format, MatrixAt};
use crate::engine_dir::{PartKind, TensorFormat, TensorRecord};
use crate::memory::Account;
use crate::ops::HalfType;

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
    matrix: MatrixAt,
}

impl CudaWeight {
    /// The tensor `record` of a segment that starts at `segment`.
    pub(super) fn new(memory: &Arc<WeightMemory>, segment: Address, record: &TensorRecord) -> CudaWeight {
        let part = |kind| {
            let part = record.parts.iter().find(|part| part.kind == kind);
            part.map_or(0, |part| segment + part.offset)
        };
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
            values: part(PartKind::Values),
            scales: part(PartKind::Scales),
            zeros: part(PartKind::ZeroPoints),
            rows: record.rows as u32,
            columns: record.columns as u32,
            format,
            group_size: group_size as u32,
            bf16_scales,
        };
        CudaWeight { memory: memory.clone(), matrix }
    }

    /// The first `rows`, in the same bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn first_rows(&self, rows: usize) -> CudaWeight {
        assert!(rows <= self.matrix.rows as usize, "{rows} of {} rows", self.matrix.rows);
        let matrix = MatrixAt { rows: rows as u32, ..self.matrix };
        CudaWeight { matrix, ..self.clone() }
    }

    /// The matrix that a projection multiplies with.
    pub(super) fn matrix(&self) -> MatrixAt {
        self.matrix
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
