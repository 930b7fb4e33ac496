//! Memory of the whole machine.

use std::fs::File;

use ledger::Bytes;

use super::procfs::{MemInfo, ProcRoot, TEXT_BYTES, parse_oom_kills, read_text};
use super::{MemoryProbe, ProbeScope, Reading};

/// `MemAvailable` and the count of out-of-memory kills.
#[derive(Debug)]
pub struct SystemMemory {
    root: ProcRoot,
    meminfo: Result<File, String>,
}

impl SystemMemory {
    /// Opens `/proc/meminfo`.
    pub fn open(root: &ProcRoot) -> SystemMemory {
        let path = root.join("meminfo");
        let meminfo = File::open(&path).map_err(|error| format!("{}: {error}", path.display()));
        SystemMemory { root: root.clone(), meminfo }
    }

    /// `MemAvailable`. Does not allocate.
    pub fn available(&self, buffer: &mut [u8; TEXT_BYTES]) -> Option<Bytes> {
        let file = self.meminfo.as_ref().ok()?;
        Some(MemInfo::parse(read_text(file, buffer)?)?.available)
    }

    /// `MemAvailable` with its reason where there is none, for phase edges.
    pub fn available_now(&self) -> Reading<Bytes> {
        match (&self.meminfo, self.available(&mut [0; TEXT_BYTES])) {
            (_, Some(bytes)) => Reading::Measured(bytes),
            (Err(why), None) => Reading::Unavailable(why.clone()),
            (Ok(_), None) => Reading::Unavailable("/proc/meminfo has no MemAvailable".to_owned()),
        }
    }

    /// Processes that the kernel has killed for memory since boot.
    pub fn oom_kills(&self) -> Option<u64> {
        parse_oom_kills(&std::fs::read(self.root.join("vmstat")).ok()?)
    }
}

impl MemoryProbe for SystemMemory {
    fn name(&self) -> &'static str {
        "available memory (/proc/meminfo)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cadence(&self) -> Reading<String> {
        match &self.meminfo {
            Ok(_) => Reading::Measured("every sample".to_owned()),
            Err(why) => Reading::Unavailable(why.clone()),
        }
    }
}
