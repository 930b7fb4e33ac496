//! NVIDIA GPUs, through the driver alone: no CUDA toolkit is needed to build or to run.

pub mod kernels;
mod scratch;

pub use scratch::scratch;
