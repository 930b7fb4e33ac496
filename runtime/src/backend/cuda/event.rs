//! Marks in the order of a stream's work.

use std::sync::Arc;

use cudarc::driver::sys::{self, CUevent, CUstream};

use super::context::Context;
use super::error::{CudaError, check};

/// A mark that is passed when what was in front of it has ended. One that was never set is passed.
#[derive(Debug)]
pub(super) struct Event {
    context: Arc<Context>,
    event: CUevent,
}

// SAFETY: a handle of the driver, which any thread may use once the context is current there, as `Context` has it.
unsafe impl Send for Event {}

impl Event {
    pub(super) fn new(context: &Arc<Context>) -> Result<Event, CudaError> {
        context.enter()?;
        let mut event = std::ptr::null_mut();
        // SAFETY: a place to write to; 2 is an event without a clock.
        check("make an event", unsafe { sys::cuEventCreate(&raw mut event, 2) })?;
        Ok(Event { context: context.clone(), event })
    }

    /// Sets the mark behind all that has been asked of the kernels' stream so far.
    pub(super) fn set(&self) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: an event and a stream of one context.
        check("mark its work", unsafe { sys::cuEventRecord(self.event, self.context.stream()) })
    }

    /// Waits until the mark is passed.
    pub(super) fn wait(&self) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: an event of the context.
        check("wait for a mark", unsafe { sys::cuEventSynchronize(self.event) })
    }

    /// Has what will be asked of `stream` wait until the mark is passed.
    pub(super) fn hold(&self, stream: CUstream) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: an event and a stream of one context.
        check("wait for a mark", unsafe { sys::cuStreamWaitEvent(stream, self.event, 0) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: made by `new`; the driver keeps it until nobody waits for it.
            unsafe { sys::cuEventDestroy_v2(self.event) };
        }
    }
}
