//! NVIDIA GPUs, through the driver alone: no CUDA toolkit is needed to build or to run.
//!
//! - [`kernels`]: kernels compiled in a child process and kept as cubins.
//! - `probe`: whether a GPU can be used. `context`, `event`, `error`: the driver. `memory`: address space and pages of the GPU.
//! - `op`: operators as they are recorded; `lower`: from those to kernels; `launch`, `kernel_set`: kernels with their arguments;
//!   `queue`: running them, as graphs where that pays; `parameters`: numbers that change from pass to pass;
//!   `step_store`: passes of one token, which are one launch of a kernel that stays.
//! - `streaming`: operators on weights that are partly in storage; `ring`: the slots that those pass through.
//! - `device`: the operators of a model. `weight`, `load`, `fill`: from an engine directory into the GPU. `scratch`: what operators need.
//!   `witness`: what a GPU says of its memory. `held`: memory in the stead of another program.

mod context;
mod device;
mod error;
mod event;
mod fill;
mod held;
mod kernel_set;
pub mod kernels;
mod launch;
mod load;
mod lower;
mod memory;
mod op;
mod parameters;
mod probe;
mod queue;
mod ring;
mod scratch;
mod step_store;
mod streaming;
#[cfg(test)]
mod subject;
mod weight;
mod witness;

pub use context::Context;
pub use device::CudaDevice;
pub use error::CudaError;
pub use held::HeldMemory;
pub use memory::DeviceBuffer;
pub use probe::probe;
pub use scratch::{parameters, scratch, steps};
pub use weight::CudaWeight;
