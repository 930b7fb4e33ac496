//! The total that nvmap has given out, and the pages that it keeps for the next one who asks.

use std::fs::File;

use ledger::Bytes;

use super::FOLDER;
use crate::probe::procfs::{TEXT_BYTES, decimal, read_text};
use crate::probe::root::{ReadError, SystemRoot};

/// `stats/total_memory`, held open: one atomic number in the kernel.
#[derive(Debug)]
pub struct NvmapPool {
    total: Result<File, ReadError>,
}

impl NvmapPool {
    /// Opens the counter of the machine at `root`.
    pub fn open(root: &SystemRoot) -> NvmapPool {
        NvmapPool { total: root.open(&format!("{FOLDER}/stats/total_memory")) }
    }

    /// Memory of all handles. Does not allocate. `None` where it cannot be read.
    pub fn total(&self, buffer: &mut [u8; TEXT_BYTES]) -> Option<Bytes> {
        decimal(read_text(self.total.as_ref().ok()?, buffer)?.trim_ascii()).map(Bytes)
    }

    /// Why it cannot be opened.
    pub fn refusal(&self) -> Option<&ReadError> {
        self.total.as_ref().err()
    }
}

/// Freed pages that the driver holds back, `pagepool/`. They come back under pressure: up to an eighth of memory may be
/// missing from `MemFree` after a process has ended, and that is no leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagePool {
    /// Pages that wait to be used again or to be cleared.
    pub held: Bytes,
}

impl PagePool {
    /// Reads it. Kernel pages are of `page` bytes.
    pub fn read(root: &SystemRoot, page: Bytes) -> Result<PagePool, ReadError> {
        let number = |file: &str| {
            let path = format!("{FOLDER}/pagepool/{file}");
            root.number(&path).map(|number| u64::try_from(number).unwrap_or(0))
        };
        let small = number("page_pool_available_pages")?.saturating_add(number("page_pool_pages_to_zero")?);
        // Kernels without big pages lack these two.
        let big = number("page_pool_available_big_pages").unwrap_or(0);
        let big_size = number("page_pool_big_page_size").unwrap_or(0);
        let held = small.saturating_mul(page.0).saturating_add(big.saturating_mul(big_size));
        Ok(PagePool { held: Bytes(held) })
    }
}
