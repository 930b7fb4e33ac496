//! Weights on their way into the GPU's memory when an engine is loaded: read past the page cache, through pinned slots.

use std::sync::Arc;

use cudarc::driver::sys;
use ledger::{Bytes, MemoryPlan};

use super::CudaDevice;
use super::context::Context;
use super::error::{CudaError, check};
use super::event::Event;
use super::memory::{Address, Space};
use super::parameters::Pinned;
use super::weight::{CudaWeight, WeightMemory};
use crate::backend::NamedWeights;
use crate::engine::EngineLoadError;
use crate::engine_dir::{EngineDir, SegmentRecord};
use crate::memory::{Allocator, DEVICE_PAGE, MemoryError, PAGE};
use crate::plan::{Pieces, Place, RuntimeOptions, SegmentPlacement, Streaming, is_loaded};
use crate::weights::stream::DirectFile;
use crate::weights::{LoadError, enter, rows_of};

/// Memory is taken in parts of so much: a board may have no single run of two gigabytes, and many of these.
const PART: u64 = 64 << 20;

/// The weights of an engine, and what of them is to be read for each use.
pub(super) struct Loaded {
    pub(super) weights: NamedWeights<CudaDevice>,
    pub(super) stripes: Vec<Pieces>,
}

/// Reads what stays of every segment that the plan lists.
pub(super) fn load_weights(
    directory: &EngineDir,
    options: &RuntimeOptions,
    streaming: Option<&Streaming>,
    plan: &MemoryPlan,
    allocator: &Allocator,
    context: &Arc<Context>,
    staging: &mut Pinned,
) -> Result<Loaded, EngineLoadError> {
    let path = directory.weights_path();
    let failed = |segment: &str| {
        let (path, segment) = (path.clone(), segment.to_owned());
        move |cause| LoadError::Read { path, segment, cause }
    };
    let file = DirectFile::open(&path).map_err(failed("all"))?;
    let segments = directory.manifest().segments.iter().enumerate();
    let loaded: Vec<(&SegmentRecord, Option<&SegmentPlacement>)> = segments
        .filter(|(_, record)| is_loaded(record, options))
        .map(|(index, record)| (record, streaming.and_then(|streaming| streaming.segment(index))))
        .collect();
    let resident = |record: &SegmentRecord, placement: Option<&SegmentPlacement>| {
        placement.map_or(record.bytes, SegmentPlacement::pinned).0
    };
    let total = loaded.iter().map(|(record, placement)| resident(record, *placement)).sum();
    let space = space(context, total)?;
    let (mut accounts, mut starts) = (Vec::new(), Vec::new());
    let mut at = space.start();
    let mut slots = Slots::new(context, staging)?;
    for (record, placement) in &loaded {
        accounts.extend(enter(record, plan, allocator).map_err(LoadError::from)?);
        for Range { from, bytes, to } in ranges(record, *placement) {
            slots.copy(&file, from, bytes, at + to).map_err(|error| match error {
                CopyError::Read(cause) => failed(&record.name)(cause).into(),
                CopyError::Device(cause) => EngineLoadError::from(cause),
            })?;
        }
        starts.push(at);
        at += resident(record, *placement);
    }
    context.wait()?;
    drop(slots);
    let memory = Arc::new(WeightMemory { space, _accounts: accounts });
    let (mut weights, mut stripes) = (Vec::new(), Vec::new());
    for ((record, placement), start) in loaded.into_iter().zip(starts) {
        for (index, tensor) in record.tensors.iter().enumerate() {
            let weight = match placement {
                Some(placement) => {
                    let rows = rows_of(record.offset, tensor, &placement.tensors[index], &mut stripes);
                    CudaWeight::placed(&memory, start, tensor, record.offset, rows)
                }
                None => CudaWeight::new(&memory, start, tensor),
            };
            weights.push((tensor.name.clone(), weight));
        }
    }
    Ok(Loaded { weights, stripes })
}

/// Memory for `total` bytes of weights.
fn space(context: &Arc<Context>, total: u64) -> Result<Space, MemoryError> {
    let no_memory = |cause: CudaError| MemoryError::OutOfMemory {
        action: "take",
        bytes: Bytes(total),
        key: "weights".to_owned(),
        cause: Box::new(cause),
    };
    let mut space = Space::reserve(context, total.max(1)).map_err(no_memory)?;
    let mut mapped = 0;
    while mapped < total {
        mapped += PART;
        space.map(mapped.min(total)).map_err(no_memory)?;
    }
    Ok(space)
}

/// Bytes of the file that stay.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    /// Start in the file.
    from: u64,
    bytes: u64,
    /// Start in what stays of the segment.
    to: u64,
}

/// What stays of a segment. One that stays whole looks as in the file.
fn ranges(record: &SegmentRecord, placement: Option<&SegmentPlacement>) -> Vec<Range> {
    let whole = Range { from: record.offset, bytes: record.bytes.0, to: 0 };
    let Some(placement) = placement.filter(|placement| placement.pinned() != record.bytes) else {
        return vec![whole];
    };
    let mut ranges = Vec::new();
    for (tensor, placed) in record.tensors.iter().zip(&placement.tensors) {
        for run in &placed.runs {
            let Place::Pinned { offset } = run.place else { continue };
            let pieces = Pieces::of(record.offset, tensor, &run.rows);
            let parts = pieces.parts().zip(pieces.offsets(offset));
            ranges.extend(parts.map(|(piece, to)| Range { from: piece.offset, bytes: piece.bytes, to }));
        }
    }
    ranges
}

/// Pinned slots that are filled and copied in turn: reading goes on while the device takes what was read.
struct Slots<'a> {
    context: &'a Arc<Context>,
    staging: &'a mut Pinned,
    /// When the last copy out of each slot has ended.
    copied: Vec<Event>,
    next: usize,
}

enum CopyError {
    Read(std::io::Error),
    Device(CudaError),
}

impl<'a> Slots<'a> {
    fn new(context: &'a Arc<Context>, staging: &'a mut Pinned) -> Result<Slots<'a>, CudaError> {
        let mut slots = Slots { context, copied: Vec::new(), next: 0, staging };
        for _ in 0..slots.staging.bytes() as u64 / DEVICE_PAGE {
            slots.copied.push(Event::new(context)?);
        }
        Ok(slots)
    }

    /// Has `bytes` bytes of `file` from `from` on copied to `to`. They are read with the whole pages that they stand on.
    fn copy(
        &mut self,
        file: &DirectFile,
        mut from: u64,
        mut bytes: u64,
        mut to: Address,
    ) -> Result<(), CopyError> {
        while bytes > 0 {
            let skipped = from % PAGE;
            let pages = (skipped + bytes).next_multiple_of(PAGE).min(DEVICE_PAGE);
            let taken = bytes.min(pages - skipped);
            let read = |into: &mut [u8]| file.read(from - skipped, into);
            self.copy_slot(pages as usize, skipped as usize..(skipped + taken) as usize, to, read)?;
            (from, bytes, to) = (from + taken, bytes - taken, to + taken);
        }
        Ok(())
    }

    /// Fills the next slot with `filled` bytes and has those in `range` copied to `to`.
    fn copy_slot(
        &mut self,
        filled: usize,
        range: std::ops::Range<usize>,
        to: Address,
        read: impl FnOnce(&mut [u8]) -> std::io::Result<()>,
    ) -> Result<(), CopyError> {
        let slot = self.next;
        self.next = (slot + 1) % self.copied.len();
        let event = &self.copied[slot];
        event.wait().map_err(CopyError::Device)?;
        let start = slot * DEVICE_PAGE as usize;
        let slot = &mut self.staging.bytes_mut()[start..start + filled];
        read(slot).map_err(CopyError::Read)?;
        let (from, stream) = (&slot[range], self.context.stream());
        // SAFETY: as many bytes are pinned at the source and mapped at the destination; the slot is written again after the event.
        let copied = unsafe {
            check("copy to the GPU", sys::cuMemcpyHtoDAsync_v2(to, from.as_ptr().cast(), from.len(), stream))
        };
        copied.and_then(|()| event.set()).map_err(CopyError::Device)
    }
}

impl Drop for Slots<'_> {
    fn drop(&mut self) {
        // Slots are written by others next.
        let _ = self.context.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{SyntheticCheckpoint, SyntheticOptions};
    use crate::config::ModelConfig;
    use crate::engine_dir::{BuildOptions, layout};
    use crate::plan::{Device, WeightStreaming};
    use crate::weights::RowSource;
    use ledger::Tokens;

    /// Every row that stays comes to stand where its placement says, and nothing else is read.
    #[test]
    fn what_stays_is_read_to_its_place() {
        let config = ModelConfig::published("Qwen3.5-0.8B").unwrap();
        let source = SyntheticCheckpoint::new("small", config, SyntheticOptions::default()).unwrap();
        let segments = layout(&source, &BuildOptions::default()).unwrap();
        let sizes = [100, 300].map(|mib| WeightStreaming::Budget(Bytes::mib(mib)));
        for budget in [WeightStreaming::Off, WeightStreaming::Min].into_iter().chain(sizes) {
            let mut options = RuntimeOptions::new(Tokens(64), 1);
            (options.device, options.weight_streaming_budget) = (Device::Cuda { ordinal: 0 }, budget);
            let streaming = Streaming::choose(&segments, &options).unwrap();
            for (index, record) in segments.iter().enumerate() {
                if let Some(placement) = streaming.segment(index) {
                    check_segment(record, placement);
                }
            }
        }
    }

    fn check_segment(record: &SegmentRecord, placement: &SegmentPlacement) {
        let ranges = ranges(record, Some(placement));
        let mut end = 0;
        for range in &ranges {
            assert!(range.to >= end && range.bytes > 0, "{} {range:?}", record.name);
            end = range.to + range.bytes;
        }
        assert!(end <= placement.pinned().0);
        let (mut stripes, mut streamed) = (Vec::new(), 0);
        for (tensor, placed) in record.tensors.iter().zip(&placement.tensors) {
            for run in rows_of(record.offset, tensor, placed, &mut stripes) {
                let pieces = Pieces::of(record.offset, tensor, &run.rows);
                let RowSource::Pinned { offset } = run.source else {
                    let is_read =
                        |from| ranges.iter().any(|it| (it.from..it.from + it.bytes).contains(&from));
                    assert!(!pieces.parts().any(|piece| is_read(piece.offset)), "{}", tensor.name);
                    streamed += 1;
                    continue;
                };
                for (piece, at) in pieces.parts().zip(pieces.offsets(offset)) {
                    let holds = |it: &Range| {
                        it.from <= piece.offset
                            && piece.offset + piece.bytes <= it.from + it.bytes
                            && at.checked_sub(it.to) == Some(piece.offset - it.from)
                    };
                    assert!(ranges.iter().any(holds), "{} {:?}", tensor.name, piece.kind);
                }
            }
        }
        assert_eq!(stripes.len(), streamed);
    }
}
