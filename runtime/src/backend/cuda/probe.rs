//! Whether a GPU can be used, asked without a context on it.

use cudarc::driver::result::{self, DriverError, device};
use cudarc::driver::sys::{CUdevice_attribute, is_culib_present};

/// The oldest compute capability that the kernels are written for: 8.0, Ampere.
const OLDEST: (i32, i32) = (8, 0);

/// Whether the GPU `ordinal` can be used. Takes none of its memory.
///
/// # Errors
/// Why it cannot, in words: no driver, no such GPU, or one that is too old.
pub fn probe(ordinal: u32) -> Result<(), String> {
    // SAFETY: opens the driver's library, whose initialisers are its vendor's.
    if !unsafe { is_culib_present() } {
        return Err("this machine has no CUDA driver (libcuda is not found)".to_owned());
    }
    result::init().map_err(|error| refused("start", error))?;
    let count = device::get_count().map_err(|error| refused("count its GPUs", error))?;
    let found = i32::try_from(ordinal).ok().filter(|ordinal| *ordinal < count);
    let Some(found) = found else {
        return Err(match count {
            0 => "the CUDA driver finds no GPU".to_owned(),
            1 => "the CUDA driver finds one GPU, which is cuda:0".to_owned(),
            _ => format!("the CUDA driver finds {count} GPUs, cuda:0 to cuda:{}", count - 1),
        });
    };
    let gpu = device::get(found).map_err(|error| refused("open the GPU", error))?;
    let attribute = |attribute| {
        // SAFETY: `gpu` is a handle that the driver has just given.
        unsafe { device::get_attribute(gpu, attribute) }
            .map_err(|error| refused("tell the GPU's compute capability", error))
    };
    let capability = (
        attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    match capability {
        (major, minor) if capability < OLDEST => Err(format!(
            "its compute capability is {major}.{minor}, and the kernels need {}.{} or more",
            OLDEST.0, OLDEST.1
        )),
        _ => Ok(()),
    }
}

/// What the driver could not do, in its words where it has any.
fn refused(what: &str, error: DriverError) -> String {
    let words = error.error_string().ok().map(|words| words.to_string_lossy().into_owned());
    format!("the CUDA driver cannot {what}: {}", words.unwrap_or_else(|| format!("{:?}", error.0)))
}
