//! Resident memory of a process tree, its exact peaks, and its proportional set size.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::Bytes;

use super::procfs::{ProcessStatus, TEXT_BYTES, parse_pss, read_text};
use super::tree::ProcessTree;
use super::{Probe, ProbeScope, Reading};
use crate::record::ResidentMemory;

/// The word for this probe.
pub(super) const PROCESS: &str = "process";
pub(super) const PROCESS_NAME: &str = "resident memory (/proc/PID/status)";
pub(super) const PROCESS_COST: &str =
    "some 7 µs a process; the proportional set size some 25 ms a GiB of small pages";

/// Memory of the target's process tree.
#[derive(Debug, Clone)]
pub struct ProcessMemory {
    tree: Arc<Mutex<ProcessTree>>,
}

/// One reading of the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeReading {
    /// Resident memory by the kernel's own split, summed over the processes.
    pub resident: ResidentMemory,
    /// Sum of the processes' high-water marks: exact for one process, an upper bound for several.
    pub high_water: Bytes,
    /// Pages that are swapped out.
    pub swapped: Bytes,
    /// Processes that were read.
    pub processes: u32,
}

impl ProcessMemory {
    /// Memory of `tree`.
    pub fn new(tree: ProcessTree) -> ProcessMemory {
        ProcessMemory { tree: Arc::new(Mutex::new(tree)) }
    }

    /// Why there is nothing to read, where there is nothing.
    pub fn why_empty(&self) -> &'static str {
        self.tree().why_empty()
    }

    fn tree(&self) -> MutexGuard<'_, ProcessTree> {
        // The tree is a list of open files: no panic can leave it half changed.
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads every known process. Does not allocate. `None` where none of them is left.
    pub fn read(&self, buffer: &mut [u8; TEXT_BYTES]) -> Option<TreeReading> {
        let tree = self.tree();
        let mut sum = TreeReading::default();
        for process in &tree.processes {
            let status = read_text(&process.status, buffer).and_then(ProcessStatus::parse);
            if let Some(status) = status {
                sum.resident.anonymous_bytes += status.anonymous;
                sum.resident.file_bytes += status.file;
                sum.resident.shared_bytes += status.shared;
                sum.high_water += status.high_water;
                sum.swapped += status.swapped;
                sum.processes += 1;
            }
        }
        (sum.processes > 0).then_some(sum)
    }

    /// The same with a buffer of its own, for phase edges.
    pub fn read_now(&self) -> Option<TreeReading> {
        self.read(&mut [0; TEXT_BYTES])
    }

    /// Looks for new processes. The list is locked only for the moment in which it changes.
    pub fn refresh(&self) {
        let view = self.tree().view();
        let change = view.change();
        self.tree().apply(change);
    }

    /// Sets every high-water mark back to what is resident now, so that the next reading is the peak since then.
    pub fn reset_peak(&self) -> Result<(), String> {
        let tree = self.tree();
        for process in &tree.processes {
            let path = tree.proc_root().of_process(process.identity.pid, "clear_refs");
            let written = std::fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, b"5"));
            written.map_err(|error| {
                format!("the high-water mark cannot be reset: {}: {error}", path.display())
            })?;
        }
        Ok(())
    }

    /// Proportional set size: walks page tables for some 10 ms a gibibyte, so only at phase edges.
    pub fn proportional(&self) -> Reading<Bytes> {
        let (root, identities) = {
            let tree = self.tree();
            (tree.proc_root().clone(), tree.identities())
        };
        let mut sum = Bytes::ZERO;
        let mut read = 0;
        for identity in identities {
            let path = root.of_process(identity.pid, "smaps_rollup");
            match std::fs::read(&path) {
                Ok(text) => {
                    if let Some(pss) = parse_pss(&text) {
                        sum += pss;
                        read += 1;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    return Reading::Unavailable(format!("{}: {error}", path.display()));
                }
                Err(_) => {}
            }
        }
        if read > 0 { Reading::Measured(sum) } else { Reading::Unavailable(self.why_empty().to_owned()) }
    }

    /// The processes as last seen.
    pub fn identities(&self) -> Vec<super::ProcessIdentity> {
        self.tree().identities()
    }
}

impl Probe for ProcessMemory {
    fn id(&self) -> &'static str {
        PROCESS
    }

    fn name(&self) -> &'static str {
        PROCESS_NAME
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::Process
    }

    fn cost(&self) -> &'static str {
        PROCESS_COST
    }

    fn cadence(&self) -> Reading<String> {
        Reading::Measured("every sample; exact peak and proportional set size at phase edges".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        match self.read_now() {
            Some(tree) => {
                Reading::Measured(format!("{} in {} processes", tree.resident.total(), tree.processes))
            }
            None => Reading::Unavailable(self.why_empty().to_owned()),
        }
    }
}
