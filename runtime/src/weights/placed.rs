//! Loads weights under a streaming budget: what stays is read past the page cache, the rest is left to the stream.

use std::sync::Arc;

use ledger::{BufferClass, MemoryPlan};

use super::segment::{committed, enter};
use super::stream::{DirectFile, Stream};
use super::weight::{RowSource, WeightRows};
use super::{LoadError, Segment, Weight};
use crate::engine_dir::{EngineDir, SegmentRecord, TensorRecord};
use crate::memory::{Allocator, MemoryError, PAGE, Region, Slot};
use crate::plan::{Pieces, Place, Ring, SegmentPlacement, Streaming, TensorPlacement, keys};

/// Bytes of one request while a segment is read whole.
const STEP: usize = 8 << 20;

/// Weights under a budget.
#[derive(Debug)]
pub struct Placed {
    /// The tensors by name.
    pub weights: Vec<(String, Weight)>,
    /// What brings the rows that are not resident, where there are any.
    pub stream: Option<Stream>,
}

/// Loads every segment that `streaming` places and names its tensors. What is streamed will be read by `readers` threads.
pub fn load_placed(
    engine: &EngineDir,
    streaming: &Streaming,
    readers: usize,
    plan: &MemoryPlan,
    allocator: &Allocator,
) -> Result<Placed, LoadError> {
    let file = DirectFile::open(&engine.weights_path()).map_err(|cause| LoadError::Read {
        path: engine.weights_path(),
        segment: "all".to_owned(),
        cause,
    })?;
    let (mut slots, look_ups) = match streaming.ring() {
        Some(ring) => self::slots(ring, allocator)?,
        None => (Vec::new(), Vec::new()),
    };
    let (mut weights, mut stripes) = (Vec::new(), Vec::new());
    for (index, record) in engine.manifest().segments.iter().enumerate() {
        let Some(placement) = streaming.segment(index) else { continue };
        let accounts = enter(record, plan, allocator)?;
        let bounce = slots.first_mut().map_or(&mut [][..], Slot::bytes_mut);
        let read =
            |cause| LoadError::Read { path: engine.weights_path(), segment: record.name.clone(), cause };
        let region = match placement.pinned().0 {
            0 => None,
            _ => {
                let mut region = committed(record, placement.pinned())?;
                fill(&file, record, placement, &mut region, bounce).map_err(read)?;
                Some(region)
            }
        };
        let segment = Arc::new(Segment::resident(region, accounts));
        for (tensor, placed) in record.tensors.iter().zip(&placement.tensors) {
            let rows = rows_of(record.offset, tensor, placed, &mut stripes);
            let weight = Weight::placed(segment.clone(), tensor.clone(), record.offset, rows);
            weights.push((tensor.name.clone(), weight));
        }
    }
    if stripes.is_empty() {
        return Ok(Placed { weights, stream: None });
    }
    let stream = Stream::start(engine.weights_path(), file, stripes, slots, look_ups, readers);
    let stream = stream.map_err(|cause| LoadError::Reader { cause })?;
    Ok(Placed { weights, stream: Some(stream) })
}

/// Where the rows of `tensor` are, whose segment starts at `offset` in the file. What is streamed is added to `stripes`.
pub(crate) fn rows_of(
    offset: u64,
    tensor: &TensorRecord,
    placed: &TensorPlacement,
    stripes: &mut Vec<Pieces>,
) -> Vec<WeightRows> {
    let runs = placed.runs.iter().map(|run| {
        let source = match run.place {
            Place::Pinned { offset } => RowSource::Pinned { offset },
            Place::Streamed => {
                stripes.push(Pieces::of(offset, tensor, &run.rows));
                RowSource::Streamed { stripe: stripes.len() - 1 }
            }
        };
        WeightRows { rows: run.rows.clone(), counted: run.rows.len(), source }
    });
    runs.collect()
}

/// The slots of the planned ring: for stripes, and for look-ups.
fn slots(ring: &Ring, allocator: &Allocator) -> Result<(Vec<Slot>, Vec<Slot>), MemoryError> {
    let key = |name: &str| format!("target/{}/{name}", BufferClass::StreamRing);
    let stripes = Slot::divide(allocator.allocate(&key(keys::SLOTS))?, ring.slot.0 as usize);
    let look_ups = match ring.look_ups {
        0 => Vec::new(),
        _ => Slot::divide(allocator.allocate(&key(keys::LOOK_UPS))?, ring.look_up.0 as usize),
    };
    Ok((stripes, look_ups))
}

/// Reads what stays of a segment. A segment that stays whole looks as in the file and is read in place; the runs of another pass
/// through `bounce`, because reads begin and end with whole blocks.
fn fill(
    file: &DirectFile,
    record: &SegmentRecord,
    placement: &SegmentPlacement,
    region: &mut Region,
    bounce: &mut [u8],
) -> Result<(), std::io::Error> {
    if placement.pinned() == record.bytes {
        for (index, part) in region.bytes_mut().chunks_mut(STEP).enumerate() {
            file.read(record.offset + (index * STEP) as u64, part)?;
        }
        return Ok(());
    }
    for (tensor, placed) in record.tensors.iter().zip(&placement.tensors) {
        for run in &placed.runs {
            let Place::Pinned { offset } = run.place else { continue };
            let pieces = Pieces::of(record.offset, tensor, &run.rows);
            for (piece, at) in pieces.parts().zip(pieces.offsets(offset)) {
                let into = &mut region.bytes_mut()[at as usize..][..piece.bytes as usize];
                read_through(file, piece.offset, into, bounce)?;
            }
        }
    }
    Ok(())
}

/// Reads any range through whole blocks in `bounce`, which holds at least two of them.
fn read_through(
    file: &DirectFile,
    mut offset: u64,
    mut into: &mut [u8],
    bounce: &mut [u8],
) -> Result<(), std::io::Error> {
    while !into.is_empty() {
        let skipped = (offset % PAGE) as usize;
        let blocks = (skipped + into.len()).next_multiple_of(PAGE as usize).min(bounce.len());
        file.read(offset - skipped as u64, &mut bounce[..blocks])?;
        let taken = into.len().min(blocks - skipped);
        let (now, rest) = into.split_at_mut(taken);
        now.copy_from_slice(&bounce[skipped..skipped + taken]);
        offset += taken as u64;
        into = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{SyntheticCheckpoint, SyntheticOptions, SyntheticQuantization};
    use crate::config::ModelConfig;
    use crate::engine::plan_of;
    use crate::engine_dir::{BuildFlow, BuildOptions, build};
    use crate::plan::{RingShape, RuntimeOptions, WeightStreaming};
    use ledger::{Bytes, Tokens};

    /// The first rows of a table end amid a stripe, and amid a tile, wherever the stripe is.
    #[test]
    fn the_first_rows_of_a_streamed_table_are_those_of_the_whole() {
        let mut config = ModelConfig::published("Qwen3.5-0.8B").unwrap();
        config.layers.truncate(1);
        (config.hidden_size, config.intermediate_size, config.vocab_size) = (64, 96, 300);
        let quantization = SyntheticQuantization::Int4 { group_size: 32, zero_points: true };
        let source = SyntheticOptions { seed: 3, quantization, mtp: false };
        let source = SyntheticCheckpoint::new("small", config.clone(), source).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine");
        build(&source, &BuildOptions::default(), &path, 2, &mut |_| BuildFlow::Continue).unwrap();
        let engine = EngineDir::open(&path).unwrap();

        let table = |budget| {
            let mut options = RuntimeOptions::new(Tokens(64), 1);
            options.weight_streaming_budget = budget;
            options.ring =
                RingShape { stripe: Bytes(2 << 10), slots: 2, readers: 1, smallest_dense: Bytes(1) };
            let segments = &engine.manifest().segments;
            let streaming = Streaming::choose(segments, &options).unwrap();
            let plan = plan_of(&engine, &options);
            let placed = load_placed(&engine, &streaming, 1, &plan, &Allocator::new(&plan)).unwrap();
            let table = placed.weights.into_iter().find(|(name, _)| name == "embed_tokens").unwrap().1;
            (table, placed.stream)
        };
        let row = |matrix: &crate::ops::linear::Matrix<'_>, row: usize| {
            let mut numbers = vec![f32::NAN; 64];
            matrix.dequantise_row(row, &mut numbers).map(|()| numbers)
        };
        let (whole, _) = table(WeightStreaming::Off);
        let middle = Bytes(engine.manifest().weights_bytes.0 / 2);
        for budget in [WeightStreaming::Min, WeightStreaming::Budget(middle)] {
            let (table, stream) = table(budget);
            let stream = stream.unwrap();
            assert!(table.streamed().unwrap().len() > 4);
            for count in [300, 299, 100, 64, 5] {
                let first = table.first_rows(count);
                let mut next = 0;
                for part in first.streamed().unwrap() {
                    let mut hold = |matrix: crate::ops::linear::Matrix<'_>| {
                        assert_eq!(matrix.rows(), part.counted);
                        for index in 0..part.counted {
                            let expected = row(&whole.matrix(), part.rows.start + index).unwrap();
                            assert_eq!(row(&matrix, index).unwrap(), expected);
                        }
                        next += part.counted;
                    };
                    match part.source {
                        RowSource::Pinned { offset } => hold(first.pinned_rows(part, offset)),
                        RowSource::Streamed { stripe } => {
                            stream
                                .with(stripe, |pieces, slot| hold(first.read_rows(part, pieces, slot)))
                                .unwrap();
                        }
                    }
                }
                assert_eq!((next, first.rows()), (count, count));
                assert_eq!(whole.first_rows(count).matrix().rows(), count);
            }
        }
    }
}
