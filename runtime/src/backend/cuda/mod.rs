//! NVIDIA GPUs, through the driver alone: no CUDA toolkit is needed to build or to run.

pub mod kernels;
mod probe;
mod scratch;

pub use probe::probe;
pub use scratch::scratch;

use super::NoDevice;
use crate::engine::EngineLoadError;

/// Why no engine is loaded on the GPU `ordinal`, until this build has its operators.
pub fn without_operators(ordinal: u32) -> EngineLoadError {
    let reason = "this build has no operators for CUDA yet".to_owned();
    NoDevice { ordinal, reason }.into()
}
