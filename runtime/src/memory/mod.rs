//! Where buffers come from: address space, the pages behind it, and the ledger that knows both.
//!
//! - [`Region`]: anonymous address space whose pages are committed and returned explicitly.
//! - [`FileRegion`]: a read-only mapping of a part of a file.
//! - [`CountingHeap`]: the general heap, counted.
//! - [`Allocator`]: hands out [`Buffer`]s for the entries of a plan, and for nothing else; an [`Account`] where the memory is a
//!   device's own.
//! - [`Slot`]: a part of a buffer that threads hand to each other.
//!
//! This module is the only one that maps main memory. Its promise: a committed byte is resident, and the ledger counts it.

mod account;
mod allocator;
mod buffer;
mod heap;
mod region;
mod slots;

pub use account::{Account, Ledger};
pub use allocator::Allocator;
pub use buffer::{Buffer, Element};
pub use heap::CountingHeap;
pub use region::{FileRegion, Region};
pub use slots::Slot;

use ledger::Bytes;

pub use ledger::plan::PAGE;

/// Device memory is mapped in pages of this size.
pub const DEVICE_PAGE: u64 = 2 << 20;

/// A device buffer that is planned with less shares a page of the device with others.
pub const SMALLEST_PAGED: u64 = 1 << 20;

/// Resident memory of this process: the second number of `/proc/self/statm`, in pages. `None` where the system does not tell.
pub fn resident() -> Option<Bytes> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(Bytes(pages * rustix::param::page_size() as u64))
}

/// What a buffer of `payload` bytes takes: whole pages.
pub const fn whole_pages(payload: u64) -> Bytes {
    Bytes(payload).round_up(PAGE)
}

/// Why memory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The system refused.
    #[error(
        "out of memory: cannot {action} {bytes} for `{key}` ({cause}); lower gdnPrefillMaxSeq, maxKVCacheCapacity, maxBatchSize or weightStreamingBudget, or free memory on the machine"
    )]
    OutOfMemory {
        /// What was asked of the system.
        action: &'static str,
        /// How much.
        bytes: Bytes,
        /// The buffer it was for.
        key: String,
        /// What the system said, or a device's driver.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file could not be mapped.
    #[error("map {bytes} at offset {offset} of {path}: {cause}")]
    Map {
        /// The file.
        path: std::path::PathBuf,
        /// Start of the range.
        offset: u64,
        /// Length of the range.
        bytes: Bytes,
        /// What the system said.
        cause: rustix::io::Errno,
    },
    /// A buffer was asked for that the plan does not list.
    #[error("the memory plan lists no buffer `{key}`: the engine asked for memory that was not planned")]
    NotPlanned {
        /// The key that was asked for.
        key: String,
    },
    /// A buffer was asked to hold more than the plan gives it.
    #[error("buffer `{key}` is planned with {planned}, but {wanted} were asked for")]
    OverPlan {
        /// The key.
        key: String,
        /// What the plan gives it.
        planned: Bytes,
        /// What was asked for.
        wanted: Bytes,
    },
}

/// `bytes` as elements of `T`, as many as fit.
///
/// # Panics
/// If `bytes` does not start at a multiple of the size of `T`; every part of a segment starts on 64 bytes.
pub fn elements<T: Element>(bytes: &[u8]) -> &[T] {
    // SAFETY: every bit pattern is a value of an `Element`, which has no padding.
    let (before, elements, _) = unsafe { bytes.align_to::<T>() };
    assert!(before.is_empty(), "parts of a segment start on 64 bytes");
    elements
}
