//! The machine that a run was made on.

use ledger::Bytes;
use sysinfo::System;

use super::Gpu;
use crate::record::MachineCard;

/// Describes this machine; fails where the system does not say what it is. The host's name is not part of it: records are made to be shared.
pub fn machine_card(gpu: &Gpu) -> Result<MachineCard, sysinfo::Error> {
    let mut system = System::new()?;
    system.refresh_memory();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let cpu =
        system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).filter(|brand| !brand.is_empty());
    Ok(MachineCard {
        cpu: cpu.unwrap_or_else(|| "unknown".to_owned()),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        memory_bytes: Bytes(system.total_memory()),
        swap_bytes: Bytes(system.total_swap()),
        kernel: System::kernel_version().unwrap_or_else(|_| "unknown".to_owned()),
        system: System::long_os_version().unwrap_or_else(|_| "unknown".to_owned()),
        architecture: std::env::consts::ARCH.to_owned(),
        page_bytes: Bytes(rustix::param::page_size() as u64),
        gpus: gpu.names(),
    })
}
