//! Steps of passes that are kept on the device, so that a pass that has been seen is one launch.

use cudarc::driver::sys;

use super::context::Context;
use super::error::{CudaError, check};
use super::launch::Step;
use super::memory::{Address, DeviceBuffer};

/// Bytes in front of the steps: the counter that blocks of the persistent kernel wait by, zero between passes.
const FRONT: u64 = 256;

/// Memory of the device for the steps of some passes.
#[derive(Debug)]
pub(super) struct StepStore {
    device: DeviceBuffer,
    /// The longest pass that is kept.
    of_a_pass: usize,
}

impl StepStore {
    /// Passes that are kept.
    pub(super) const PASSES: usize = 8;

    /// Bytes for passes of up to `steps` steps.
    pub(super) const fn bytes(steps: usize) -> u64 {
        FRONT + (Self::PASSES * steps * size_of::<Step>()) as u64
    }

    /// In `device`, which is zero.
    pub(super) fn new(device: DeviceBuffer) -> StepStore {
        let each = (device.committed().saturating_sub(FRONT)) as usize / Self::PASSES;
        StepStore { device, of_a_pass: each / size_of::<Step>() }
    }

    /// Where blocks count each other.
    pub(super) fn counter(&self) -> Address {
        self.device.start()
    }

    /// Puts the steps of a pass at `place` of [`StepStore::PASSES`]. Returns where they stand, or nothing if they are too many.
    pub(super) fn put(
        &self,
        context: &Context,
        place: usize,
        steps: &[Step],
    ) -> Result<Option<Address>, CudaError> {
        if steps.len() > self.of_a_pass {
            return Ok(None);
        }
        let start = self.device.start() + FRONT + (place * self.of_a_pass * size_of::<Step>()) as u64;
        // A pass that still runs may read what stood there.
        context.wait()?;
        // SAFETY: the buffer has room for as many at `start`, and nothing that runs reads them; the copy has ended when the call
        // returns.
        check("send the steps of a pass", unsafe {
            sys::cuMemcpyHtoD_v2(start, steps.as_ptr().cast(), size_of_val(steps))
        })?;
        Ok(Some(start))
    }
}
