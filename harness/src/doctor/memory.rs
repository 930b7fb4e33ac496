//! Main memory and swap, as they are now.

use ledger::{Bytes, Reading};
use serde::Serialize;

use crate::probe::{MemInfo, Swap, SystemMemory, SystemRoot, reading};

/// Main memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryState {
    /// `MemTotal`.
    pub total_bytes: Reading<Bytes>,
    /// `MemFree`: what `cudaMemGetInfo` follows where the GPU shares main memory.
    pub free_bytes: Reading<Bytes>,
    /// `MemAvailable`: what a new process can have.
    pub available_bytes: Reading<Bytes>,
    /// `Buffers` and `Cached`: most of it comes back under pressure.
    pub page_cache_bytes: Reading<Bytes>,
    /// What no line of the kernel owns, see [`MemInfo::unaccounted`].
    pub unaccounted_bytes: Reading<i64>,
    /// The largest block that is free in one piece: how far memory is fragmented.
    pub largest_free_block_bytes: Reading<Bytes>,
    /// Processes that were killed for memory since boot.
    pub oom_kills: Reading<u64>,
}

/// Swap.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SwapState {
    /// Places for swapped pages; 0 where there is no swap.
    pub areas: Reading<u64>,
    /// What they hold together.
    pub size_bytes: Reading<Bytes>,
    /// What is in them.
    pub used_bytes: Reading<Bytes>,
    /// Main memory that compressed swap takes; missing where there is none.
    pub zram_taken_bytes: Reading<Bytes>,
}

impl MemoryState {
    pub(super) fn read(root: &SystemRoot) -> MemoryState {
        let system = SystemMemory::open(root);
        let info = system.read_now();
        let line = |name: &str, of: fn(&MemInfo) -> Option<Bytes>| match &info {
            Reading::Measured(info) => of(info).map_or_else(
                || Reading::Unavailable(format!("/proc/meminfo has no {name}")),
                Reading::Measured,
            ),
            Reading::Unavailable(why) => Reading::Unavailable(why.clone()),
        };
        MemoryState {
            total_bytes: line("MemTotal", |info| info.total),
            free_bytes: line("MemFree", |info| info.free),
            available_bytes: line("MemAvailable", |info| info.available),
            page_cache_bytes: line("Buffers or no Cached", |info| {
                info.buffers?.0.checked_add(info.cached?.0).map(Bytes)
            }),
            unaccounted_bytes: system.unaccounted_now(),
            largest_free_block_bytes: largest_free_block(root),
            oom_kills: system.oom_kills().map_or_else(
                || Reading::Unavailable("/proc/vmstat has no oom_kill".to_owned()),
                Reading::Measured,
            ),
        }
    }
}

/// `/proc/buddyinfo`: one line a zone, the number of free blocks of 1, 2, 4 … pages.
fn largest_free_block(root: &SystemRoot) -> Reading<Bytes> {
    let path = "/proc/buddyinfo";
    let text = match root.text(path) {
        Ok(text) => text,
        Err(error) => return Reading::Unavailable(error.to_string()),
    };
    let order = |line: &str| {
        let counts = line.split("zone").nth(1)?.split_ascii_whitespace().skip(1);
        let counts = counts.enumerate().filter(|(_, count)| count.parse().is_ok_and(|count: u64| count > 0));
        counts.map(|(order, _)| order).last()
    };
    // Every board has pages of 4 KiB; a recorded tree does not say.
    let page = if root.is_recorded() { 4096 } else { rustix::param::page_size() as u64 };
    let largest = text.lines().filter_map(order).max().filter(|order| *order < 32);
    largest.map_or_else(
        || Reading::Unavailable(format!("{path} lists no free block")),
        |order| Reading::Measured(Bytes(page << order)),
    )
}

impl SwapState {
    pub(super) fn read(root: &SystemRoot) -> SwapState {
        let swap = Swap::new(root);
        let areas = reading(swap.areas());
        let sum = |of: fn(&crate::probe::SwapArea) -> Bytes| {
            let sum =
                |areas: &Vec<_>| Bytes(areas.iter().map(|area| of(area).0).fold(0, u64::saturating_add));
            areas.clone().map(|areas| sum(&areas))
        };
        SwapState {
            size_bytes: sum(|area| area.size),
            used_bytes: sum(|area| area.used),
            areas: areas.map(|areas| areas.len() as u64),
            zram_taken_bytes: swap.zram().map_or_else(
                || Reading::Unavailable("there is no zram".to_owned()),
                |zram| Reading::Measured(zram.taken),
            ),
        }
    }
}
