//! Operators on weights that are partly in storage.
//!
//! A pass with such weights is driven from here: what is recorded is started piece by piece, and for each stripe that a projection
//! wants, in order, readers have it in main memory or bring it there, a copy beside the running kernels takes it to a slot of the
//! GPU, and a product over its rows is started. So storage, copies and kernels overlap.
//!
//! The first failure is kept, what remains of the pass does nothing with streamed weights, and the engine asks afterwards.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CudaDevice;
use super::memory::{Address, DeviceBuffer};
use super::op::{MatrixAt, Op, PROJECTIONS, ProjectionAt};
use super::parameters::Registration;
use super::ring::Ring;
use super::weight::CudaWeight;
use crate::backend::DeviceError;
use crate::model::operators::Projection;
use crate::ops::Store;
use crate::weights::stream::Stream;
use crate::weights::{RowSource, Weight, look_up};

/// What brings the weights that are not resident.
#[derive(Debug)]
pub(super) struct Streamed {
    /// Of the slots that `stream` fills; it goes before they do.
    _pinned: Registration,
    stream: Stream,
    ring: Mutex<Ring>,
    /// The first failure since it was last asked for.
    failed: Mutex<Option<DeviceError>>,
}

impl Streamed {
    /// `stream` reads into memory that `pinned` lets the driver read; `ring` is where stripes go from there.
    pub(super) fn new(pinned: Registration, stream: Stream, ring: Ring) -> Streamed {
        Streamed { _pinned: pinned, stream, ring: Mutex::new(ring), failed: Mutex::default() }
    }

    pub(super) fn announce(&self, stripes: impl Iterator<Item = usize>) {
        self.stream.announce(stripes);
    }

    /// What has failed since this was last asked.
    pub(super) fn failure(&self) -> Option<DeviceError> {
        self.failed().take()
    }

    fn failed(&self) -> MutexGuard<'_, Option<DeviceError>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A product over some rows of a matrix.
struct Part {
    x: Address,
    tokens: u32,
    /// Where the outputs of the whole matrix begin.
    out: Address,
    /// Outputs of the whole matrix.
    outputs: u32,
    add: bool,
    scratch: Address,
    room: u64,
}

impl Part {
    /// The operator for the rows from `first`, which are `matrix`.
    fn of_rows(&self, matrix: MatrixAt, first: usize) -> Op {
        let out = self.out + (first * size_of::<f32>()) as u64;
        let mut projections = [None; PROJECTIONS];
        projections[0] = Some(ProjectionAt { matrix, out, stride: self.outputs, add: self.add });
        let Part { x, tokens, scratch, room, .. } = *self;
        Op::Linear { x, tokens, columns: matrix.columns, projections, scratch, room }
    }
}

impl CudaDevice {
    /// Runs `body` unless something has failed, and keeps what it says.
    fn streaming(&self, body: impl FnOnce(&Streamed) -> Result<(), DeviceError>) {
        let Some(streamed) = &self.streamed else {
            unreachable!("weights are streamed only where there is a stream")
        };
        let has_failed = streamed.failed().is_some() || self.queue.has_failed();
        if !has_failed && let Err(error) = body(streamed) {
            streamed.failed().get_or_insert(error);
        }
    }

    /// `x` times each projection's matrix: resident ones together, the others stripe after stripe.
    pub(super) fn linear_streamed(
        &self,
        x: &DeviceBuffer,
        tokens: usize,
        projections: &mut [Projection<'_, CudaWeight, DeviceBuffer>],
        scratch: &mut DeviceBuffer,
    ) {
        // A norm or a gate in front would be joined with one part and leave nothing to the others.
        self.queue.start_piece();
        let resident = projections.iter().filter(|it| it.weight.streamed().is_none());
        self.linear_resident(x, tokens, resident.map(projection_at), scratch);
        let (scratch, room) = (scratch.start(), scratch.committed());
        for projection in projections.iter() {
            let Some(rows) = projection.weight.streamed() else { continue };
            let part = Part {
                x: x.start(),
                tokens: tokens as u32,
                out: projection.out.start(),
                outputs: projection.weight.rows(),
                add: projection.store == Store::Add,
                scratch,
                room,
            };
            self.linear_in_parts(projection.weight, rows, &part);
        }
    }

    fn linear_in_parts(&self, weight: &CudaWeight, rows: &Weight, part: &Part) {
        for of_rows in rows.streamed().unwrap_or_default() {
            let first = of_rows.rows.start;
            let stripe = match of_rows.source {
                RowSource::Pinned { offset } => {
                    self.queue.record(part.of_rows(weight.pinned_rows(of_rows, offset), first));
                    continue;
                }
                RowSource::Streamed { stripe } => stripe,
            };
            // The GPU works on what it has while the stripe is on its way.
            self.queue.start_piece();
            self.streaming(|streamed| {
                let (matrix, filled) = streamed.stream.with(stripe, |pieces, slot| {
                    let filled = streamed.ring().fill(&slot[..pieces.slot().0 as usize])?;
                    let matrix = weight.read_rows(of_rows, pieces, filled.start);
                    Ok::<_, DeviceError>((matrix, filled))
                })??;
                self.queue.record(part.of_rows(matrix, first));
                self.queue.start_piece();
                Ok(streamed.ring().leave(filled)?)
            });
        }
    }

    /// Rows `ids` of a table into `out`: from the GPU where they are there, else by way of the host.
    pub(super) fn embed_streamed(
        &self,
        table: &CudaWeight,
        rows: &Weight,
        ids: &[u32],
        out: &mut DeviceBuffer,
    ) {
        const CHECKED: &str = "ids are checked against the table before a pass";
        let parts = rows.streamed().unwrap_or_default();
        let part_of = |id: u32| parts.partition_point(|part| part.rows.end <= id as usize);
        let hidden = rows.columns();
        let at = |place: usize| out.start() + (place * hidden * size_of::<f32>()) as u64;
        let (mut in_storage, mut place) = (Vec::new(), 0);
        for ids in ids.chunk_by(|a, b| part_of(*a) == part_of(*b)) {
            let part = &parts[part_of(ids[0])];
            match part.source {
                RowSource::Pinned { offset } => {
                    let relative: Vec<u32> = ids.iter().map(|id| id - part.rows.start as u32).collect();
                    let (table, tokens, out) = (table.pinned_rows(part, offset), ids.len() as u32, at(place));
                    self.queue.record_with(&relative, |ids| Op::Embed { table, ids, tokens, out });
                }
                RowSource::Streamed { .. } => in_storage.extend(place..place + ids.len()),
            }
            place += ids.len();
        }
        if in_storage.is_empty() {
            return;
        }
        let mut numbers = vec![0.0; hidden];
        self.streaming(|streamed| {
            look_up(&streamed.stream, rows, ids, in_storage, |place, matrix, row| {
                matrix.dequantise_row(row, &mut numbers).expect(CHECKED);
                self.queue.write_row(at(place), &numbers);
            })?;
            Ok(())
        });
    }
}

/// A projection with a resident matrix, as it is recorded.
pub(super) fn projection_at(projection: &Projection<'_, CudaWeight, DeviceBuffer>) -> ProjectionAt {
    let matrix = projection.weight.matrix();
    let add = projection.store == Store::Add;
    ProjectionAt { matrix, out: projection.out.start(), stride: matrix.rows, add }
}
