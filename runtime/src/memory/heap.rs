//! The general heap, counted: everything that is no planned buffer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::Bytes;

/// The system's allocator with a counter. A program makes it its global allocator to have a line for the heap.
#[derive(Debug, Default)]
pub struct CountingHeap;

static HELD: AtomicU64 = AtomicU64::new(0);

impl CountingHeap {
    /// Bytes that are allocated now. Zero in a program that does not use this allocator.
    pub fn held() -> Bytes {
        Bytes(HELD.load(Ordering::Relaxed))
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counter does not touch memory.
unsafe impl GlobalAlloc for CountingHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is `System`'s contract.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            HELD.fetch_add(layout.size() as u64, Ordering::Relaxed);
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            HELD.fetch_add(layout.size() as u64, Ordering::Relaxed);
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(pointer, layout) };
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let moved = unsafe { System.realloc(pointer, layout, new_size) };
        if !moved.is_null() {
            HELD.fetch_add(new_size as u64, Ordering::Relaxed);
            HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        }
        moved
    }
}
