//! Pressure stall information: how long processes waited for memory, `/proc/pressure/memory`.

use ledger::Micros;

use super::root::{ReadError, SystemRoot, reading};
use super::{Probe, ProbeScope, Reading};

/// Time that was lost for want of memory, since boot. Its growth over a phase says how much of the phase it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryPressure {
    /// Some process waited (`some … total=`).
    pub some: Micros,
    /// All of them waited (`full … total=`).
    pub full: Micros,
}

impl MemoryPressure {
    /// Reads the text of `/proc/pressure/memory`.
    pub fn parse(text: &str) -> Option<MemoryPressure> {
        let total = |kind: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
            let total = line.split_ascii_whitespace().find_map(|field| field.strip_prefix("total="))?;
            total.parse().ok().map(Micros)
        };
        Some(MemoryPressure { some: total("some")?, full: total("full")? })
    }
}

/// Reads memory pressure.
#[derive(Debug, Clone)]
pub struct Pressure {
    root: SystemRoot,
}

impl Pressure {
    const PATH: &str = "/proc/pressure/memory";

    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> Pressure {
        Pressure { root: root.clone() }
    }

    /// Reads it now. Kernels that were built without it have no such file.
    pub fn read(&self) -> Result<MemoryPressure, ReadError> {
        let text = self.root.text(Pressure::PATH)?;
        MemoryPressure::parse(&text).ok_or_else(|| ReadError {
            path: Pressure::PATH.to_owned(),
            source: std::io::Error::other("it has no totals"),
        })
    }
}

impl Probe for Pressure {
    fn id(&self) -> &'static str {
        "pressure"
    }

    fn name(&self) -> &'static str {
        "memory pressure (/proc/pressure/memory)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cost(&self) -> &'static str {
        "some 10 µs"
    }

    fn cadence(&self) -> Reading<String> {
        reading(self.read()).map(|_| "at phase edges".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        reading(self.read())
            .map(|pressure| format!("{:.1} ms waited since boot", pressure.some.as_millis().0))
    }

    fn remedy(&self) -> Option<&'static str> {
        Some("a kernel with CONFIG_PSI has it, behind `psi=1` on the command line where it is off by default")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_microseconds_and_half_a_file_is_none() {
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=56\n";
        assert_eq!(
            MemoryPressure::parse(text),
            Some(MemoryPressure { some: Micros(1234), full: Micros(56) })
        );
        assert_eq!(MemoryPressure::parse("some avg10=0.00 total=1\n"), None);
    }
}
