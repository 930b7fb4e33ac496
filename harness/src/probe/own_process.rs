//! What the kernel says of a process, tried on the harness itself before there is a target.

use ledger::Bytes;

use super::process::{PROCESS, PROCESS_COST, PROCESS_NAME};
use super::procfs::{ProcessStatus, parse_pss};
use super::root::{SystemRoot, reading};
use super::{Probe, ProbeScope, Reading};

/// The files of this process in `/proc`.
#[derive(Debug, Clone)]
pub struct OwnProcess {
    root: SystemRoot,
}

impl OwnProcess {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> OwnProcess {
        OwnProcess { root: root.clone() }
    }

    /// Resident memory of this process now, and the most that it ever was, by the kernel's own mark.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn resident() -> Result<(Bytes, Bytes), String> {
        let status = OwnProcess::new(&SystemRoot::live()).status()?;
        Ok((status.anonymous + status.file + status.shared, status.high_water))
    }

    fn status(&self) -> Result<ProcessStatus, String> {
        let path = "/proc/self/status";
        let text = self.root.text(path).map_err(|error| error.to_string())?;
        ProcessStatus::parse(text.as_bytes())
            .ok_or_else(|| format!("{path} does not split resident memory (Linux 4.5 does)"))
    }

    /// Whether the high-water mark can be set back, so that each phase has an exact peak of its own.
    fn has_exact_peaks(&self) -> bool {
        let path = "/proc/self/clear_refs";
        if self.root.is_recorded() {
            return self.root.open(path).is_ok();
        }
        std::fs::OpenOptions::new().write(true).open(self.root.path(path)).is_ok()
    }

    /// Whether the proportional set size can be read.
    fn has_proportional(&self) -> bool {
        self.root.text("/proc/self/smaps_rollup").is_ok_and(|text| parse_pss(text.as_bytes()).is_some())
    }
}

impl Probe for OwnProcess {
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
        reading(self.status()).map(|_| {
            let mut at_edges = Vec::new();
            at_edges.extend(self.has_exact_peaks().then_some("exact peak"));
            at_edges.extend(self.has_proportional().then_some("proportional set size"));
            match at_edges.as_slice() {
                [] => "every sample".to_owned(),
                edges => format!("every sample; {} at phase edges", edges.join(" and ")),
            }
        })
    }

    fn sample(&self) -> Reading<String> {
        reading(self.status()).map(|status| {
            let resident = status.anonymous.0.saturating_add(status.file.0).saturating_add(status.shared.0);
            format!("{} resident in this process", Bytes(resident))
        })
    }

    fn remedy(&self) -> Option<&'static str> {
        Some("a mounted /proc, and a kernel from 4.5 on")
    }
}
