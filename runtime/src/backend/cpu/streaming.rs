//! Operators on weights that are partly in storage.
//!
//! Operators have no way to fail in the middle of a pass. The first read that fails is kept, what remains of the pass does
//! nothing with streamed weights, and the engine asks afterwards.

use std::sync::PoisonError;

use super::CpuDevice;
use super::device::{floats, floats_mut};
use crate::memory::Buffer;
use crate::model::operators::Projection;
use crate::ops::linear::{self, Inputs, Matrix, Rows};
use crate::weights::stream::{Stream, StreamError};
use crate::weights::{RowSource, Weight, WeightRows, look_up};

/// What the shapes and the workspace of a pass follow from.
const PLANNED: &str = "shapes and workspace follow from one configuration";

impl CpuDevice {
    /// Runs `body` unless a read has failed, and keeps what it says.
    pub(super) fn streaming(&self, body: impl FnOnce(&Stream) -> Result<(), StreamError>) {
        let Some(stream) = &self.stream else {
            unreachable!("weights are streamed only where there is a stream")
        };
        let failed = || self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed().is_none()
            && let Err(error) = body(stream)
        {
            failed().get_or_insert(error);
        }
    }

    /// `x` times each projection's matrix, stripe after stripe; a resident matrix is one stripe.
    pub(super) fn linear_streamed(
        &self,
        stream: &Stream,
        x: &Buffer,
        tokens: usize,
        projections: &mut [Projection<'_, Weight, Buffer>],
        scratch: &mut Buffer,
    ) -> Result<(), StreamError> {
        let (pool, isa) = (&self.cpu.pool, self.cpu.isa);
        let Some(columns) = projections.first().map(|projection| projection.weight.columns()) else {
            return Ok(());
        };
        let smallest = linear::smallest_group(projections.iter().map(|it| it.weight.group_size()));
        let mut sizes: Vec<Option<usize>> =
            projections.iter().map(|it| it.weight.group_size().or(smallest)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        for size in sizes {
            let x = floats(x, tokens * columns);
            let inputs = Inputs::new(pool, isa, self.precision, x, tokens, size, scratch.slice_mut());
            let inputs = inputs.expect(PLANNED);
            let chosen = projections.iter_mut().filter(|it| it.weight.group_size().or(smallest) == size);
            for Projection { weight, out, store } in chosen {
                let outputs = weight.rows();
                let out = floats_mut(out, tokens * outputs);
                let mut multiply = |matrix: Matrix<'_>, first: usize| {
                    let mut rows = Rows { matrix, out: &mut *out, outputs, first, store: *store };
                    linear::multiply_rows(pool, isa, &inputs, &mut rows).expect(PLANNED);
                };
                let Some(parts) = weight.streamed() else {
                    multiply(weight.matrix(), 0);
                    continue;
                };
                for part in parts {
                    let first = part.rows.start;
                    match part.source {
                        RowSource::Pinned { offset } => multiply(weight.pinned_rows(part, offset), first),
                        RowSource::Streamed { stripe } => stream.with(stripe, |pieces, slot| {
                            multiply(weight.read_rows(part, pieces, slot), first);
                        })?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Rows `ids` of a table into `out`.
    pub(super) fn embed_streamed(
        &self,
        stream: &Stream,
        table: &Weight,
        parts: &[WeightRows],
        ids: &[u32],
        out: &mut Buffer,
    ) -> Result<(), StreamError> {
        const CHECKED: &str = "ids are checked against the table before a pass";
        let hidden = table.columns();
        let out = floats_mut(out, ids.len() * hidden);
        let mut in_storage: Vec<usize> = Vec::new();
        for (place, (&id, out)) in ids.iter().zip(out.chunks_exact_mut(hidden)).enumerate() {
            let row = id as usize;
            let part = &parts[parts.partition_point(|part| part.rows.end <= row)];
            match part.source {
                RowSource::Pinned { offset } => {
                    let matrix = table.pinned_rows(part, offset);
                    matrix.dequantise_row(row - part.rows.start, out).expect(CHECKED);
                }
                RowSource::Streamed { .. } => in_storage.push(place),
            }
        }
        look_up(stream, table, ids, in_storage, |place, matrix, row| {
            let out = &mut out[place * hidden..(place + 1) * hidden];
            matrix.dequantise_row(row, out).expect(CHECKED);
        })
    }
}
