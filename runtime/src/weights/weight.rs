//! One tensor of a loaded engine, as its kernel wants to see it.

use std::sync::Arc;

use ledger::ElementType;

use super::Segment;
use crate::engine_dir::{PartKind, TensorFormat, TensorRecord};
use crate::memory::elements;
use crate::ops::linear::Matrix;
use crate::ops::matmul_dense::{DenseMatrix, DenseType};
use crate::ops::matmul_int4::Int4Matrix;
use crate::ops::matmul_int8::Int8Matrix;

/// A tensor in a loaded segment.
#[derive(Debug, Clone)]
pub struct Weight {
    segment: Arc<Segment>,
    record: TensorRecord,
}

/// What makes the conversions below infallible: an engine's manifest is held against its shapes when it is opened.
const CHECKED: &str = "a manifest's parts are checked against its shapes when an engine is opened";

impl Weight {
    pub(super) fn new(segment: Arc<Segment>, record: TensorRecord) -> Weight {
        Weight { segment, record }
    }

    /// The first `rows` of this matrix, in the same bytes.
    ///
    /// # Panics
    /// If the matrix has fewer.
    pub fn first_rows(&self, rows: usize) -> Weight {
        assert!(rows <= self.record.rows, "{rows} of {} rows", self.record.rows);
        let mut record = self.record.clone();
        record.rows = rows;
        let sizes = record.format.parts(rows, record.columns).expect(CHECKED);
        for (part, (_, bytes)) in record.parts.iter_mut().zip(sizes) {
            part.bytes = bytes;
        }
        Weight { segment: self.segment.clone(), record }
    }

    /// The numbers of a vector, or of the taps of a convolution.
    pub fn numbers(&self) -> &[f32] {
        debug_assert_eq!(self.record.format, TensorFormat::Dense { element: ElementType::F32 });
        elements(self.part(PartKind::Values))
    }

    /// The matrix that a projection multiplies with.
    pub fn matrix(&self) -> Matrix<'_> {
        let TensorRecord { rows, columns, .. } = self.record;
        let values = self.part(PartKind::Values);
        match self.record.format {
            TensorFormat::Int4 { group_size, scale_type, zero_points } => {
                let zero_points = zero_points.then(|| self.part(PartKind::ZeroPoints));
                let scales = elements(self.part(PartKind::Scales));
                let matrix =
                    Int4Matrix::new(rows, columns, group_size, scale_type, values, scales, zero_points);
                Matrix::Int4(matrix.expect(CHECKED))
            }
            TensorFormat::Int8 { group_size } => {
                let scales = elements(self.part(PartKind::Scales));
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
