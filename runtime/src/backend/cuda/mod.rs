//! NVIDIA GPUs, through the driver alone: no CUDA toolkit is needed to build or to run.

pub mod kernels;
mod probe;
mod scratch;

pub use probe::probe;
pub use scratch::scratch;
