//! A planned buffer divided into equal slots, each owned by whoever holds it.

use std::sync::Arc;

use super::{Buffer, PAGE};

/// One slot: exclusive access to its bytes, which may be handed from thread to thread.
#[derive(Debug)]
pub struct Slot {
    buffer: Arc<Buffer>,
    start: usize,
    length: usize,
}

impl Slot {
    /// Divides the committed part of `buffer` into slots of `length` bytes, a multiple of the page size; what is left at the
    /// end is no slot. The buffer goes with the last of them.
    pub fn divide(buffer: Buffer, length: usize) -> Vec<Slot> {
        debug_assert!(length > 0 && length.is_multiple_of(PAGE as usize));
        let committed = buffer.committed();
        let buffer = Arc::new(buffer);
        let starts = (0..committed / length.max(1)).map(|index| index * length);
        starts.map(|start| Slot { buffer: buffer.clone(), start, length }).collect()
    }

    /// The slot's bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the slot lies inside the committed part of the buffer, which lives as long as `self`. No other slot has
        // these bytes and the buffer itself is out of reach, so only `bytes_mut` writes them, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.buffer.pointer().add(self.start), self.length) }
    }

    /// The slot's bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.pointer().add(self.start), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::allocator::test_plan;
    use super::super::{Allocator, Slot};
    use ledger::Bytes;

    #[test]
    fn slots_are_disjoint_and_keep_their_buffer() {
        let allocator = Allocator::new(&test_plan(64 << 10));
        let buffer = allocator.allocate("target/kv_cache/3/keys").unwrap();
        let mut slots = Slot::divide(buffer, 20 << 10);
        assert_eq!(slots.len(), 3);
        std::thread::scope(|scope| {
            for (index, slot) in slots.iter_mut().enumerate() {
                scope.spawn(move || slot.bytes_mut().fill(index as u8 + 1));
            }
        });
        let last = slots.pop().unwrap();
        assert!(slots[0].bytes().iter().all(|&byte| byte == 1));
        drop(slots);
        assert!(last.bytes().iter().all(|&byte| byte == 3) && last.bytes().len() == 20 << 10);
        assert_eq!(allocator.ledger().snapshot().total_now(), Bytes(64 << 10));
        drop(last);
        assert_eq!(allocator.ledger().snapshot().total_now(), Bytes::ZERO);
    }
}
