//! Memory of discrete GPUs, through NVIDIA's management library. Where it is not installed, that is the answer.

use ledger::Bytes;
use nvml_wrapper::Nvml;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;

use super::{MemoryProbe, ProbeScope, Reading};

/// GPU memory of processes, or why there is none.
#[derive(Debug)]
pub enum Gpu {
    /// The library is there and names at least one device.
    Present(Box<Nvml>),
    /// Why nothing can be read.
    Absent(String),
}

impl Gpu {
    /// Looks for the library and for devices.
    pub fn probe() -> Gpu {
        let absent = |why: String| Gpu::Absent(format!("no GPU: {why}"));
        let nvml = match Nvml::init() {
            Ok(nvml) => nvml,
            Err(NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound) => {
                return absent("the NVIDIA management library is not installed".to_owned());
            }
            Err(error) => return absent(format!("the NVIDIA management library cannot be used: {error}")),
        };
        match nvml.device_count() {
            Ok(0) => absent("the NVIDIA driver names no device".to_owned()),
            Ok(_) => Gpu::Present(Box::new(nvml)),
            Err(error) => absent(format!("the NVIDIA driver does not count its devices: {error}")),
        }
    }

    /// The devices' names.
    pub fn names(&self) -> Reading<Vec<String>> {
        let nvml = match self {
            Gpu::Present(nvml) => nvml,
            Gpu::Absent(why) => return Reading::Unavailable(why.clone()),
        };
        let name = |index: u32| nvml.device_by_index(index)?.name();
        match nvml.device_count().and_then(|count| (0..count).map(name).collect()) {
            Ok(names) => Reading::Measured(names),
            Err(error) => Reading::Unavailable(format!("the GPUs do not say their names: {error}")),
        }
    }

    /// Memory that the processes `pids` hold on all devices.
    pub fn used_by(&self, pids: &[u32]) -> Reading<Bytes> {
        match self {
            Gpu::Present(nvml) => used_by(nvml, pids).unwrap_or_else(|error| {
                // On Jetson boards the library loads, names the GPU and refuses to speak of memory.
                Reading::Unavailable(format!("the GPU does not say who uses its memory: {error}"))
            }),
            Gpu::Absent(why) => Reading::Unavailable(why.clone()),
        }
    }
}

fn used_by(nvml: &Nvml, pids: &[u32]) -> Result<Reading<Bytes>, NvmlError> {
    let mut sum = Bytes::ZERO;
    for index in 0..nvml.device_count()? {
        let device = nvml.device_by_index(index)?;
        for process in device.running_compute_processes()? {
            match process.used_gpu_memory {
                UsedGpuMemory::Used(bytes) if pids.contains(&process.pid) => sum += Bytes(bytes),
                UsedGpuMemory::Unavailable if pids.contains(&process.pid) => {
                    return Ok(Reading::Unavailable(
                        "the driver does not count memory by process".to_owned(),
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(Reading::Measured(sum))
}

impl MemoryProbe for Gpu {
    fn name(&self) -> &'static str {
        "GPU memory by process (NVML)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::Process
    }

    fn cadence(&self) -> Reading<String> {
        match self {
            Gpu::Present(_) => Reading::Measured("every 500 ms, and at phase edges".to_owned()),
            Gpu::Absent(why) => Reading::Unavailable(why.clone()),
        }
    }
}
