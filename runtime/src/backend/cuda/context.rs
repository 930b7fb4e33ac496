//! A context on one GPU, with the one stream that everything runs in.

use std::sync::Arc;

use cudarc::driver::sys::{self, CUcontext, CUdevice, CUdevice_attribute, CUfunction, CUmodule, CUstream};
use ledger::Bytes;

use super::error::{CudaError, check};
use super::kernels::Architecture;

/// The GPU that this process works on. Dropping the last share gives everything back to the driver.
#[derive(Debug)]
pub struct Context {
    device: CUdevice,
    context: CUcontext,
    stream: CUstream,
    /// What kernels are compiled for.
    pub architecture: Architecture,
    /// Multiprocessors.
    pub processors: u32,
    /// Bytes of shared memory that one block may have.
    pub shared: u32,
    /// Whether the GPU has no memory of its own.
    pub unified: bool,
    /// Its name.
    pub name: String,
    /// The newest CUDA that the driver knows, as 1000 times the version and 10 times the revision.
    pub driver: i32,
    /// All of its memory.
    pub total: Bytes,
    /// What was free before this context was made, and right after: the difference is what the driver took.
    pub free_at_start: Bytes,
}

// SAFETY: handles of the driver may be used from any thread once the context is current there; every use goes through
// `Context::enter`.
unsafe impl Send for Context {}
// SAFETY: as above; the driver locks what it shares.
unsafe impl Sync for Context {}

impl Context {
    /// A context on the GPU `ordinal`, which has been probed.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn new(ordinal: u32) -> Result<Arc<Context>, CudaError> {
        let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
        let (mut device, mut context, mut stream) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: plain calls with places to write to; the driver has been initialised by the probe.
        unsafe {
            check("start", sys::cuInit(0))?;
            check("open the GPU", sys::cuDeviceGet(&raw mut device, ordinal))?;
            check("make a context", sys::cuDevicePrimaryCtxRetain(&raw mut context, device))?;
            let made = check("use its context", sys::cuCtxSetCurrent(context)).and_then(|()| {
                // Not the default stream, which waits for others.
                check("make a stream", sys::cuStreamCreate(&raw mut stream, 1))
            });
            if let Err(error) = made {
                sys::cuDevicePrimaryCtxRelease_v2(device);
                return Err(error);
            }
        }
        let attribute = |attribute| {
            let mut value = 0;
            // SAFETY: `device` is a handle that the driver has just given.
            let answer = unsafe { sys::cuDeviceGetAttribute(&raw mut value, attribute, device) };
            check("tell the GPU's properties", answer).map(|()| value)
        };
        use CUdevice_attribute::*;
        let mut found = Context {
            device,
            context,
            stream,
            architecture: Architecture::of_capability(0, 0),
            processors: 0,
            shared: 0,
            unified: false,
            name: String::new(),
            driver: 0,
            total: Bytes::ZERO,
            free_at_start: Bytes::ZERO,
        };
        let major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        found.architecture = Architecture::of_capability(major.unsigned_abs(), minor.unsigned_abs());
        found.processors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.unsigned_abs();
        found.shared = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?.unsigned_abs();
        found.unified = attribute(CU_DEVICE_ATTRIBUTE_INTEGRATED)? != 0;
        if attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED)? == 0 {
            return Err(CudaError::Unsupported {
                what: "a GPU whose driver does not map memory page by page".to_owned(),
            });
        }
        let mut name = [0; 128];
        // SAFETY: the driver writes at most 128 bytes, the last of them zero.
        unsafe {
            check("tell the GPU's name", sys::cuDeviceGetName(name.as_mut_ptr(), 128, device))?;
            check("tell its version", sys::cuDriverGetVersion(&raw mut found.driver))?;
            found.name = std::ffi::CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
        }
        let (free, total) = found.memory()?;
        (found.free_at_start, found.total) = (free, total);
        Ok(Arc::new(found))
    }

    /// Makes the context the current one of this thread.
    pub(super) fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context lives as long as `self`.
        check("use its context", unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    pub(super) fn device(&self) -> CUdevice {
        self.device
    }

    pub(super) fn stream(&self) -> CUstream {
        self.stream
    }

    /// Whether a kernel may start before the one in front of it has ended.
    pub(super) fn starts_early(&self) -> bool {
        self.architecture.number() >= 90
    }

    /// Waits for everything that was asked for.
    pub(super) fn wait(&self) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: the stream lives as long as `self`.
        check("finish its work", unsafe { sys::cuStreamSynchronize(self.stream) })
    }

    /// Free and total memory of the GPU, whoever uses it.
    ///
    /// # Errors
    /// What the driver says.
    pub fn memory(&self) -> Result<(Bytes, Bytes), CudaError> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: places to write to.
        check("tell its memory", unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) })?;
        Ok((Bytes(free as u64), Bytes(total as u64)))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.enter().is_ok() {
            // SAFETY: nobody uses the stream any more: everything that does holds a share of `self`.
            unsafe {
                sys::cuStreamSynchronize(self.stream);
                sys::cuStreamDestroy_v2(self.stream);
            }
        }
        // SAFETY: retained once by `new`.
        unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// A loaded image.
#[derive(Debug)]
pub(super) struct Module {
    context: Arc<Context>,
    module: CUmodule,
}

// SAFETY: as for `Context`.
unsafe impl Send for Module {}
// SAFETY: as for `Context`.
unsafe impl Sync for Module {}

impl Module {
    /// Loads `cubin`, the kernels of `operator`.
    pub(super) fn load(
        context: &Arc<Context>,
        operator: &'static str,
        cubin: &[u8],
    ) -> Result<Module, CudaError> {
        context.enter()?;
        let mut module = std::ptr::null_mut();
        // SAFETY: a complete ELF file, which the kernels' folder has held against its hash.
        let answer = unsafe { sys::cuModuleLoadData(&raw mut module, cubin.as_ptr().cast()) };
        check("load kernels", answer).map_err(|error| match error {
            CudaError::Refused { said, .. } => {
                CudaError::Image { operator, architecture: context.architecture.to_string(), said }
            }
            other => other,
        })?;
        Ok(Module { context: context.clone(), module })
    }

    /// The kernel `name`, allowed to use `shared` bytes of shared memory of its own asking, or all that there is.
    pub(super) fn kernel(&self, name: &std::ffi::CStr, shared: u32) -> Result<CUfunction, CudaError> {
        self.context.enter()?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is loaded, and the name ends with a zero.
        let answer = unsafe { sys::cuModuleGetFunction(&raw mut function, self.module, name.as_ptr()) };
        check("find a kernel", answer)?;
        // The same division of first-level cache and shared memory for all: a processor must be idle to change it, and kernels of
        // different divisions could not be there at the same time.
        let carveout = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
        // SAFETY: a function of a loaded module; 100 is per cent.
        check("divide a processor's memory", unsafe { sys::cuFuncSetAttribute(function, carveout, 100) })?;
        /// What a block may use without asking.
        const USUAL: u32 = 48 << 10;
        if shared > USUAL {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let shared = i32::try_from(shared.min(self.context.shared)).unwrap_or(i32::MAX);
            // SAFETY: a function of a loaded module.
            check("give a kernel its shared memory", unsafe {
                sys::cuFuncSetAttribute(function, most, shared)
            })?;
        }
        Ok(function)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.context.wait().is_ok() {
            // SAFETY: nothing runs any more, and nobody else holds the module.
            unsafe { sys::cuModuleUnload(self.module) };
        }
    }
}
