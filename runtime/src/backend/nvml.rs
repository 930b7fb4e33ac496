//! Memory of GPUs as NVIDIA's management library counts it, for processes from without. Where it is not installed, that
//! is the answer.

use ledger::{Bytes, Reading};
use nvml_wrapper::Nvml;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;

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

    /// Memory that the processes `pids` hold on all devices: nothing where the driver lists none of them.
    pub fn used_by(&self, pids: &[u32]) -> Reading<Bytes> {
        match self {
            Gpu::Present(nvml) => used_by(nvml, pids).unwrap_or_else(|error| {
                // On Jetson boards the library loads, names the GPU and refuses to speak of memory.
                Reading::Unavailable(format!("the GPU does not say who uses its memory: {error}"))
            }),
            Gpu::Absent(why) => Reading::Unavailable(why.clone()),
        }
    }

    /// The same of processes of which one is known to hold memory of a device, so that nothing is no answer.
    pub fn held_by(&self, pids: &[u32]) -> Reading<Bytes> {
        match self.used_by(pids) {
            // In a container the driver may count under the numbers of the machine.
            Reading::Measured(Bytes::ZERO) => Reading::Unavailable(
                "the driver lists no process of this number; in a container, share the machine's process numbers"
                    .to_owned(),
            ),
            reading => reading,
        }
    }

    /// Memory that is taken on all devices, whoever holds it.
    pub fn taken(&self) -> Reading<Bytes> {
        match self {
            Gpu::Present(nvml) => taken(nvml).map_or_else(
                |error| Reading::Unavailable(format!("the GPU does not say how much is taken: {error}")),
                Reading::Measured,
            ),
            Gpu::Absent(why) => Reading::Unavailable(why.clone()),
        }
    }
}

fn taken(nvml: &Nvml) -> Result<Bytes, NvmlError> {
    let used = |index: u32| Ok(Bytes(nvml.device_by_index(index)?.memory_info()?.used));
    (0..nvml.device_count()?).map(used).sum()
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
