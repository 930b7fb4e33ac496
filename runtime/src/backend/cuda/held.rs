//! Memory of a GPU that nothing uses.

use ledger::Bytes;

use super::context::Context;
use super::error::CudaError;
use super::memory::Space;

/// Memory that is held in the stead of another program, in whole pages of the device, beside what the driver takes for a context.
#[derive(Debug)]
pub struct HeldMemory {
    space: Space,
}

impl HeldMemory {
    /// At least `bytes` of the GPU `ordinal`, which has been probed.
    ///
    /// # Errors
    /// What the driver refuses, for example that there is no room.
    pub fn take(ordinal: u32, bytes: Bytes) -> Result<HeldMemory, CudaError> {
        let mut space = Space::reserve(&Context::new(ordinal)?, bytes.0)?;
        space.map(bytes.0)?;
        Ok(HeldMemory { space })
    }

    /// What is held.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.space.mapped())
    }
}
