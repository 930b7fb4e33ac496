//! Samples on their way from the sampler to the file: preallocated, without locks.

use std::sync::atomic::{AtomicU64, Ordering};

/// Values of a sample: time, anonymous, file, shared, swap, available, unaccounted, nvmap, co-residents.
pub const COLUMNS: usize = 9;

/// Stands for a value that could not be read.
pub const UNAVAILABLE: u64 = u64::MAX;

/// A ring with one writer and one reader.
#[derive(Debug)]
pub struct Ring {
    slots: Box<[[AtomicU64; COLUMNS]]>,
    written: AtomicU64,
    read: AtomicU64,
}

impl Ring {
    /// A ring for `capacity` samples.
    pub fn with_capacity(capacity: usize) -> Ring {
        let slots = (0..capacity.max(1)).map(|_| [const { AtomicU64::new(0) }; COLUMNS]).collect();
        Ring { slots, written: AtomicU64::new(0), read: AtomicU64::new(0) }
    }

    /// Adds a sample. False where the reader is so late that there is no room; the sample is lost, and known to be.
    pub fn push(&self, sample: [u64; COLUMNS]) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        if written - self.read.load(Ordering::Acquire) >= self.slots.len() as u64 {
            return false;
        }
        let slot = &self.slots[(written % self.slots.len() as u64) as usize];
        for (column, value) in slot.iter().zip(sample) {
            column.store(value, Ordering::Relaxed);
        }
        self.written.store(written + 1, Ordering::Release);
        true
    }

    /// Takes the oldest sample.
    pub fn pop(&self) -> Option<[u64; COLUMNS]> {
        let read = self.read.load(Ordering::Relaxed);
        if read == self.written.load(Ordering::Acquire) {
            return None;
        }
        let slot = &self.slots[(read % self.slots.len() as u64) as usize];
        let mut sample = [0; COLUMNS];
        for (value, column) in sample.iter_mut().zip(slot) {
            *value = column.load(Ordering::Relaxed);
        }
        self.read.store(read + 1, Ordering::Release);
        Some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_and_a_full_ring_refuses() {
        let ring = Ring::with_capacity(3);
        for round in 0..5 {
            for at in 0..3 {
                assert!(ring.push([round * 3 + at; COLUMNS]));
            }
            assert!(!ring.push([0; COLUMNS]));
            for at in 0..3 {
                assert_eq!(ring.pop(), Some([round * 3 + at; COLUMNS]));
            }
            assert_eq!(ring.pop(), None);
        }
    }

    #[test]
    fn two_threads_lose_and_tear_nothing() {
        let ring = Ring::with_capacity(64);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..50_000_u64 {
                    while !ring.push([number; COLUMNS]) {
                        std::thread::yield_now();
                    }
                }
            });
            for number in 0..50_000_u64 {
                let sample = loop {
                    match ring.pop() {
                        Some(sample) => break sample,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(sample, [number; COLUMNS]);
            }
        });
    }
}
