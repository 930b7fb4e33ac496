//! What the driver says when it cannot.

use cudarc::driver::sys::{CUresult, cuGetErrorString};

/// A refusal of the CUDA driver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// The driver could not do what was asked.
    #[error("the CUDA driver cannot {what}: {said}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The driver's words.
        said: String,
    },
    /// The device does not answer any more, or a kernel went wrong on it.
    #[error(
        "the GPU is lost: {said} (while it was asked to {what}); start the program again, and look at the system's log"
    )]
    Lost {
        /// What was asked.
        what: &'static str,
        /// The driver's words.
        said: String,
    },
    /// A kernel image that the GPU cannot run.
    #[error(
        "the kernels of {operator} do not fit this GPU ({architecture}): {said}; `sweep kernels build --arch {architecture}` makes some that do"
    )]
    Image {
        /// Whose kernels.
        operator: &'static str,
        /// The GPU's architecture.
        architecture: String,
        /// The driver's words.
        said: String,
    },
    /// Something that the kernels were not written for.
    #[error("{what} cannot be run on a GPU; use --device cpu")]
    Unsupported {
        /// What.
        what: String,
    },
}

/// The driver's answer as a result. `what` completes "cannot".
pub(super) fn check(what: &'static str, answer: CUresult) -> Result<(), CudaError> {
    use CUresult::*;
    let said = || {
        let mut text = std::ptr::null();
        // SAFETY: the driver writes the address of a text that lives as long as the program, or leaves null.
        let found = unsafe { cuGetErrorString(answer, &raw mut text) };
        match found == CUDA_SUCCESS && !text.is_null() {
            // SAFETY: as above: a text that ends with a zero.
            true => unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned(),
            false => format!("{answer:?}"),
        }
    };
    match answer {
        CUDA_SUCCESS => Ok(()),
        CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_LAUNCH_FAILED
        | CUDA_ERROR_LAUNCH_TIMEOUT
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_MISALIGNED_ADDRESS
        | CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUDA_ERROR_INVALID_PC
        | CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUDA_ERROR_ASSERT
        | CUDA_ERROR_ECC_UNCORRECTABLE
        | CUDA_ERROR_NVLINK_UNCORRECTABLE
        | CUDA_ERROR_DEVICE_UNAVAILABLE
        | CUDA_ERROR_SYSTEM_NOT_READY => Err(CudaError::Lost { what, said: said() }),
        _ => Err(CudaError::Refused { what, said: said() }),
    }
}
