//! Every probe that there is, on one machine.

use super::Probe;
use super::board::{Clocks, PowerModes, PowerRails, Thermal, Throttle};
use super::gpu::Nvml;
use super::nvmap::Nvmap;
use super::own_process::OwnProcess;
use super::pressure::Pressure;
use super::root::SystemRoot;
use super::swap::Swap;
use super::system::SystemMemory;
use super::tegrastats::Tegrastats;

/// The word of every probe, in the order in which they are listed.
pub const PROBE_IDS: [&str; 12] = [
    "process",
    "system",
    "swap",
    "pressure",
    "nvml",
    "nvmap",
    "tegrastats",
    "power_mode",
    "clocks",
    "throttle",
    "temperature",
    "power",
];

/// The probes of the machine at `root`, those that cannot be read among them: each says why.
pub fn catalogue(root: &SystemRoot) -> Vec<Box<dyn Probe>> {
    vec![
        Box::new(OwnProcess::new(root)),
        Box::new(SystemMemory::open(root)),
        Box::new(Swap::new(root)),
        Box::new(Pressure::new(root)),
        Box::new(Nvml::new(root)),
        Box::new(Nvmap::new(root)),
        Box::new(Tegrastats::new(root)),
        Box::new(PowerModes::new(root)),
        Box::new(Clocks::new(root)),
        Box::new(Throttle::new(root)),
        Box::new(Thermal::new(root)),
        Box::new(PowerRails::new(root)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_has_its_word() {
        let probes = catalogue(&SystemRoot::live());
        assert_eq!(probes.iter().map(|probe| probe.id()).collect::<Vec<_>>(), PROBE_IDS);
    }
}
