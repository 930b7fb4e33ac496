//! Devices that operators run on. A backend is a value found at run time, never a `cfg` in model code.
//!
//! - `choose`: which device a word means on this machine.
//! - `conformance`: one suite of tests over every device.
//! - [`cpu`], [`cuda`]: the devices.
//! - [`nvml`]: GPU memory as it is counted from without. `witness`: what a device says of its own.

mod choose;
#[cfg(test)]
mod conformance;
pub mod cpu;
pub mod cuda;
pub mod nvml;
mod witness;

pub use choose::{NoDevice, planned, resolve};
pub use witness::DeviceWitness;

use std::fmt::Debug;
use std::sync::Arc;

use ledger::MemoryPlan;

use crate::engine::EngineLoadError;
use crate::engine_dir::EngineDir;
use crate::memory::Allocator;
use crate::model::operators::Operators;
use crate::plan::{RuntimeOptions, Streaming};
use crate::weights::stream::StreamError;

/// A device that an engine can be loaded on.
pub trait Backend:
    Operators<Tensor: Debug + Send + Sync, Weight: Debug + Send + Sync> + Debug + Send + Sync + Sized + 'static
{
    /// Takes the weights of `directory` that `plan` lists into reach, and makes the device ready. Returns it with the weights by
    /// name. `streaming` says which rows stay, where some are streamed; `allocator` has the buffers of `plan`.
    ///
    /// # Errors
    /// When a file cannot be read, memory is short, or the device cannot be used.
    fn load(
        directory: &EngineDir,
        options: &RuntimeOptions,
        streaming: Option<&Streaming>,
        plan: &MemoryPlan,
        allocator: &Allocator,
    ) -> Result<(Self, NamedWeights<Self>), EngineLoadError>;

    /// The first `rows` of a matrix, in the same bytes.
    ///
    /// # Panics
    /// If the matrix has fewer.
    fn first_rows(weight: &Self::Weight, rows: usize) -> Self::Weight;

    /// Who can be asked for the device's memory; `None` on the processor, whose memory is the process's own.
    fn witness(&self) -> Option<Arc<dyn DeviceWitness>> {
        None
    }

    /// Why the last pass has no result, if it has none. The next pass begins anew.
    ///
    /// # Errors
    /// The first failure since it was last asked.
    fn check(&self) -> Result<(), DeviceError>;
}

/// The weights of an engine by their canonical names.
pub type NamedWeights<B> = Vec<(String, <B as Operators>::Weight)>;

/// Why a pass has no result. What its sequences hold is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Weights could not be read while they were wanted.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A GPU could not do what it was asked.
    #[error(transparent)]
    Cuda(#[from] cuda::CudaError),
}
