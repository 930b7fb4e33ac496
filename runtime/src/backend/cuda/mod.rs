//! NVIDIA GPUs, through the driver alone: no CUDA toolkit is needed to build or to run.

mod scratch;

pub use scratch::scratch;
