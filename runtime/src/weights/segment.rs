//! Segments of an engine's weights, in memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use ledger::{Bytes, MemoryPlan};

use super::Weight;
use crate::engine_dir::{EngineDir, EngineError, SegmentRecord};
use crate::memory::{Account, Allocator, FileRegion, MemoryError, Region};
use crate::plan::WeightsMode;

/// Why weights could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The engine directory cannot be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The weights' file could not be read.
    #[error("read segment `{segment}` of {path}: {cause}")]
    Read {
        /// The weights' file.
        path: PathBuf,
        /// The segment.
        segment: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A thread that reads could not be started.
    #[error("start a thread that reads streamed weights: {cause}")]
    Reader {
        /// What the system said.
        cause: std::io::Error,
    },
}

/// One run of `weights.bin` in memory, entered in the ledger tensor by tensor.
#[derive(Debug)]
pub struct Segment {
    storage: Storage,
    _accounts: Vec<Account>,
}

#[derive(Debug)]
enum Storage {
    Mapped(FileRegion),
    Resident(Region),
    /// All of it is streamed.
    Nothing,
}

impl Segment {
    /// The resident part of a segment, where there is any.
    pub(crate) fn resident(region: Option<Region>, accounts: Vec<Account>) -> Segment {
        Segment { storage: region.map_or(Storage::Nothing, Storage::Resident), _accounts: accounts }
    }

    /// The segment's bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Mapped(region) => region.bytes(),
            Storage::Resident(region) => region.bytes(),
            Storage::Nothing => &[],
        }
    }
}

/// Loads every segment that the plan lists and names its tensors.
pub fn load(
    engine: &EngineDir,
    mode: WeightsMode,
    plan: &MemoryPlan,
    allocator: &Allocator,
) -> Result<Vec<(String, Weight)>, LoadError> {
    let file = engine.open_weights()?;
    let mut weights = Vec::new();
    let planned = |record: &&SegmentRecord| plan.buffers.iter().any(|buffer| belongs(record, &buffer.name));
    for record in engine.manifest().segments.iter().filter(planned) {
        let accounts = enter(record, plan, allocator)?;
        let storage = match mode {
            WeightsMode::Mapped => Storage::Mapped(map(engine, &file, record)?),
            WeightsMode::Resident => Storage::Resident(read(engine, &file, record)?),
        };
        let segment = Arc::new(Segment { storage, _accounts: accounts });
        for tensor in &record.tensors {
            weights.push((tensor.name.clone(), Weight::new(segment.clone(), tensor.clone())));
        }
    }
    Ok(weights)
}

/// Enters the planned buffers of `record` in the ledger.
pub(crate) fn enter(
    record: &SegmentRecord,
    plan: &MemoryPlan,
    allocator: &Allocator,
) -> Result<Vec<Account>, MemoryError> {
    let own = plan.buffers.iter().filter(|buffer| belongs(record, &buffer.name));
    own.map(|buffer| allocator.enter(&buffer.key())).collect()
}

/// Whether the planned buffer `name` stands for a tensor of `record`, or for what fills its last page.
fn belongs(record: &SegmentRecord, name: &str) -> bool {
    record.tensors.iter().any(|tensor| tensor.name == name)
        || name.strip_prefix(record.name.as_str()).is_some_and(|rest| rest == " alignment")
}

fn map(engine: &EngineDir, file: &File, record: &SegmentRecord) -> Result<FileRegion, MemoryError> {
    FileRegion::map(file, record.offset, record.bytes.0 as usize).map_err(|cause| MemoryError::Map {
        path: engine.weights_path(),
        offset: record.offset,
        bytes: record.bytes,
        cause,
    })
}

/// Reads a segment into memory of the process and drops the page cache behind it, so that its bytes exist once.
fn read(engine: &EngineDir, file: &File, record: &SegmentRecord) -> Result<Region, LoadError> {
    let mut region = committed(record, record.bytes)?;
    // In steps, so that the page cache never holds more of the file than one of them.
    const STEP: usize = 8 << 20;
    for (index, part) in region.bytes_mut().chunks_mut(STEP).enumerate() {
        let offset = record.offset + (index * STEP) as u64;
        file.read_exact_at(part, offset).map_err(|cause| LoadError::Read {
            path: engine.weights_path(),
            segment: record.name.clone(),
            cause,
        })?;
        let length = std::num::NonZeroU64::new(part.len() as u64);
        // Best effort: where the advice is not known, the cache is only larger than it need be.
        let _ = rustix::fs::fadvise(file, offset, length, rustix::fs::Advice::DontNeed);
    }
    Ok(region)
}

/// Memory for `bytes` of a segment, with pages behind it.
pub(super) fn committed(record: &SegmentRecord, bytes: Bytes) -> Result<Region, MemoryError> {
    let no_memory = |cause: rustix::io::Errno| MemoryError::OutOfMemory {
        action: "commit",
        bytes,
        key: record.name.clone(),
        cause: cause.into(),
    };
    let mut region = Region::reserve(bytes.0 as usize).map_err(no_memory)?;
    region.commit(0, bytes.0 as usize).map_err(no_memory)?;
    Ok(region)
}
