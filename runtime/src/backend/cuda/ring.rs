//! The slots on the GPU that streamed weights pass through on their way from main memory.

use std::sync::Arc;

use cudarc::driver::sys::{self, CUstream};

use super::context::Context;
use super::error::{CudaError, check};
use super::event::Event;
use super::memory::{Address, DeviceBuffer};

/// Slots that are filled in turn. `M` marks the end of what reads a slot: it is filled again behind that.
#[derive(Debug)]
pub(super) struct Turns<M> {
    last_use: Vec<Option<M>>,
    next: usize,
}

impl<M> Turns<M> {
    pub(super) fn new(slots: usize) -> Turns<M> {
        Turns { last_use: (0..slots.max(1)).map(|_| None).collect(), next: 0 }
    }

    /// The slot that is filled next, and the mark that has to be passed before, if there is one.
    pub(super) fn take(&mut self) -> (usize, Option<M>) {
        let slot = self.next;
        self.next = (slot + 1) % self.last_use.len();
        (slot, self.last_use[slot].take())
    }

    /// Notes that what reads `slot` ends at `mark`.
    pub(super) fn leave(&mut self, slot: usize, mark: M) {
        self.last_use[slot] = Some(mark);
    }
}

/// A stream of copies, beside that of the kernels.
#[derive(Debug)]
struct Copies(CUstream);

// SAFETY: a handle of the driver, which any thread may use once the context is current there, as `Context` has it.
unsafe impl Send for Copies {}

/// A filled slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filled {
    pub(super) slot: usize,
    /// Where it starts.
    pub(super) start: Address,
}

/// The ring of a device.
#[derive(Debug)]
pub(super) struct Ring {
    context: Arc<Context>,
    memory: DeviceBuffer,
    /// Bytes of a slot.
    slot: u64,
    copies: Copies,
    /// When what reads each slot has ended.
    events: Vec<Event>,
    turns: Turns<()>,
}

impl Ring {
    /// `slots` slots of `slot` bytes in `memory`, which is committed.
    pub(super) fn new(
        context: &Arc<Context>,
        memory: DeviceBuffer,
        slots: usize,
        slot: u64,
    ) -> Result<Ring, CudaError> {
        // New memory is cleared in the stream of the kernels, which copies do not wait for.
        context.wait()?;
        let mut stream = std::ptr::null_mut();
        // SAFETY: a place to write to; 1 is a stream that does not wait for the default one.
        check("make a stream", unsafe { sys::cuStreamCreate(&raw mut stream, 1) })?;
        let (context, copies) = (context.clone(), Copies(stream));
        let mut ring = Ring { context, memory, slot, copies, events: Vec::new(), turns: Turns::new(slots) };
        for _ in 0..slots {
            ring.events.push(Event::new(&ring.context)?);
        }
        Ok(ring)
    }

    /// Copies `bytes` into the next slot and waits for the end of the copy, so that whoever has them may go on. Kernels that were
    /// started before run beside it.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> Result<Filled, CudaError> {
        debug_assert!(bytes.len() as u64 <= self.slot);
        self.context.enter()?;
        let (slot, last_use) = self.turns.take();
        let start = self.memory.start() + slot as u64 * self.slot;
        let Copies(stream) = self.copies;
        if last_use.is_some() {
            self.events[slot].hold(stream)?;
        }
        // SAFETY: the slot is committed and holds every stripe, and the source is borrowed until the copy has ended.
        unsafe {
            check(
                "copy to the GPU",
                sys::cuMemcpyHtoDAsync_v2(start, bytes.as_ptr().cast(), bytes.len(), stream),
            )
            .and(check("wait for a copy", sys::cuStreamSynchronize(stream)))?;
        }
        Ok(Filled { slot, start })
    }

    /// Gives a slot back behind the kernels that were started last.
    pub(super) fn leave(&mut self, filled: Filled) -> Result<(), CudaError> {
        self.events[filled.slot].set()?;
        self.turns.leave(filled.slot, ());
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            let Copies(stream) = self.copies;
            // SAFETY: made by `new`; nobody uses them any more.
            unsafe {
                sys::cuStreamSynchronize(stream);
                sys::cuStreamDestroy_v2(stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_round_waits_for_nothing_and_each_one_after_it_for_the_round_before() {
        let mut turns = Turns::new(3);
        for (use_, slot) in [0, 1, 2, 0, 1, 2, 0].into_iter().enumerate() {
            assert_eq!(turns.take(), (slot, use_.checked_sub(3)));
            turns.leave(slot, use_);
        }
    }

    #[test]
    fn a_slot_whose_use_failed_is_free() {
        let mut turns = Turns::new(2);
        let (slot, _) = turns.take();
        turns.leave(slot, 'a');
        assert_eq!(turns.take(), (1, None));
        assert_eq!(turns.take(), (0, Some('a')));
        // Neither was left: nothing that reads them was started.
        assert_eq!(turns.take(), (1, None));
        assert_eq!(turns.take(), (0, None));
    }

    proptest! {
        /// Copies and kernels each in their own order, as far apart as the marks allow: no slot is filled while it is read.
        #[test]
        fn no_slot_is_filled_before_its_readers_have_ended(
            slots in 1usize..6,
            lags in prop::collection::vec(0u64..9, 1..80),
        ) {
            let mut turns: Turns<u64> = Turns::new(slots);
            let mut read_until = vec![0; slots];
            let (mut copied, mut computed) = (0u64, 0u64);
            for lag in lags {
                let (slot, mark) = turns.take();
                // The copy begins as early as it may.
                let begins = copied.max(mark.unwrap_or(0));
                prop_assert!(begins >= read_until[slot]);
                copied = begins + 1;
                computed = computed.max(copied) + lag;
                read_until[slot] = computed;
                turns.leave(slot, computed);
            }
        }
    }
}
