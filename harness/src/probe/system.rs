//! Memory of the whole machine.

use std::fs::File;

use ledger::Bytes;

use super::meminfo::MemInfo;
use super::procfs::{TEXT_BYTES, parse_vmstat, read_text};
use super::root::SystemRoot;
use super::{Probe, ProbeScope, Reading};

/// `/proc/meminfo`, and the counters of `/proc/vmstat` that say what the kernel did for want of memory.
#[derive(Debug)]
pub struct SystemMemory {
    root: SystemRoot,
    meminfo: Result<File, String>,
}

impl SystemMemory {
    /// Opens `/proc/meminfo`.
    pub fn open(root: &SystemRoot) -> SystemMemory {
        let meminfo = root.open("/proc/meminfo").map_err(|error| error.to_string());
        SystemMemory { root: root.clone(), meminfo }
    }

    /// Every line that is known. Does not allocate. `None` where the file cannot be read.
    pub fn read(&self, buffer: &mut [u8; TEXT_BYTES]) -> Option<MemInfo> {
        Some(MemInfo::parse(read_text(self.meminfo.as_ref().ok()?, buffer)?))
    }

    /// The same with a buffer of its own, or why there is nothing to read.
    pub fn read_now(&self) -> Reading<MemInfo> {
        match (&self.meminfo, self.read(&mut [0; TEXT_BYTES])) {
            (_, Some(info)) => Reading::Measured(info),
            (Err(why), None) => Reading::Unavailable(why.clone()),
            (Ok(_), None) => Reading::Unavailable("/proc/meminfo cannot be read any more".to_owned()),
        }
    }

    /// `MemAvailable` with its reason where there is none, for phase edges.
    pub fn available_now(&self) -> Reading<Bytes> {
        match self.read_now() {
            Reading::Measured(MemInfo { available: Some(bytes), .. }) => Reading::Measured(bytes),
            Reading::Measured(_) => Reading::Unavailable("/proc/meminfo has no MemAvailable".to_owned()),
            Reading::Unavailable(why) => Reading::Unavailable(why),
        }
    }

    /// What no line of the kernel owns, see [`MemInfo::unaccounted`].
    pub fn unaccounted_now(&self) -> Reading<i64> {
        match self.read_now() {
            Reading::Measured(info) => info.unaccounted().map_or_else(
                || Reading::Unavailable("/proc/meminfo lacks a line that the estimate needs".to_owned()),
                Reading::Measured,
            ),
            Reading::Unavailable(why) => Reading::Unavailable(why),
        }
    }

    /// Processes that the kernel has killed for memory since boot (`oom_kill`).
    pub fn oom_kills(&self) -> Option<u64> {
        parse_vmstat(self.root.text("/proc/vmstat").ok()?.as_bytes(), "oom_kill")
    }
}

impl Probe for SystemMemory {
    fn id(&self) -> &'static str {
        "system"
    }

    fn name(&self) -> &'static str {
        "memory of the machine (/proc/meminfo)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cost(&self) -> &'static str {
        "some 6 µs"
    }

    fn cadence(&self) -> Reading<String> {
        match &self.meminfo {
            Ok(_) => Reading::Measured("every sample".to_owned()),
            Err(why) => Reading::Unavailable(why.clone()),
        }
    }

    fn sample(&self) -> Reading<String> {
        self.available_now().map(|bytes| format!("{bytes} available"))
    }
}
