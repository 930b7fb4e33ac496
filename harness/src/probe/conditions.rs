//! Everything about the machine that a phase edge records beside memory of the target.

use std::collections::BTreeMap;

use ledger::Bytes;

use super::board::{Clocks, PowerModes, PowerRails, Thermal, Throttle};
use super::meminfo::MemInfo;
use super::nvmap::Nvmap;
use super::pressure::Pressure;
use super::root::SystemRoot;
use super::swap::Swap;
use super::system::SystemMemory;
use super::{Gpu, Probe, Reading};
use crate::record::{ClockState, ConditionsReading, ProbeCard};

/// The probes of a phase edge. Reading them takes some milliseconds on a board, most of it for power over I²C.
#[derive(Debug, Clone)]
pub struct Conditions {
    root: SystemRoot,
    nvmap: Nvmap,
    swap: Swap,
    pressure: Pressure,
    rails: PowerRails,
    thermal: Thermal,
    throttle: Throttle,
    clocks: Clocks,
    modes: PowerModes,
}

impl Conditions {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> Conditions {
        Conditions {
            root: root.clone(),
            nvmap: Nvmap::new(root),
            swap: Swap::new(root),
            pressure: Pressure::new(root),
            rails: PowerRails::new(root),
            thermal: Thermal::new(root),
            throttle: Throttle::new(root),
            clocks: Clocks::new(root),
            modes: PowerModes::new(root),
        }
    }

    /// What a record says of them.
    pub fn cards(&self) -> Vec<ProbeCard> {
        let probes: [&dyn Probe; 8] = [
            &self.nvmap,
            &self.swap,
            &self.pressure,
            &self.rails,
            &self.thermal,
            &self.throttle,
            &self.clocks,
            &self.modes,
        ];
        probes.into_iter().map(Probe::card).collect()
    }

    /// Reads all of them; `pids` are the target's processes.
    pub fn read(&self, pids: &[u32]) -> ConditionsReading {
        let used =
            |areas: Vec<super::SwapArea>| areas.iter().map(|area| area.used.0).fold(0, u64::saturating_add);
        let memory = SystemMemory::open(&self.root).read_now();
        let clocks = self.clocks();
        ConditionsReading {
            mem_unaccounted_bytes: memory.measured().and_then(MemInfo::unaccounted),
            mem_used_bytes: memory.measured().and_then(MemInfo::used_as_tegrastats),
            nvmap: self.nvmap.edge(pids).measured().cloned(),
            swap_used_bytes: self.swap.areas().ok().map(used).map(Bytes),
            memory_pressure_us: self.pressure.read().ok().map(|pressure| pressure.some),
            power_milliwatts: self
                .rails
                .read()
                .unwrap_or_default()
                .into_iter()
                .filter_map(|rail| Some((rail.name, *rail.milliwatts.measured()?)))
                .collect(),
            temperature_millidegrees: self
                .thermal
                .read()
                .unwrap_or_default()
                .into_iter()
                .filter_map(|zone| Some((zone.name, *zone.millidegrees.measured()?)))
                .collect(),
            throttle_events: self
                .throttle
                .read()
                .unwrap_or_default()
                .into_iter()
                .map(|counter| (counter.name, counter.events))
                .collect(),
            clock_hz: clock_hz(&clocks),
            clocks,
            power_mode: self
                .modes
                .current()
                .ok()
                .map(|mode| mode.name.unwrap_or_else(|| mode.id.to_string())),
        }
    }

    /// Device memory of the processes `pids`, of which none has to hold any, by the best witness. `None` where there is no GPU that
    /// counts any.
    pub fn device_memory_of(&self, pids: &[u32], gpu: &Gpu) -> Option<Reading<Bytes>> {
        let by_driver = gpu.used_by(pids);
        if by_driver.measured().is_some() {
            return Some(by_driver);
        }
        let refused = match gpu {
            Gpu::Present(_) => Some(by_driver),
            Gpu::Absent(_) => None,
        };
        self.nvmap.held_if_listed(pids).or(refused)
    }

    /// Every clock that can be read, by name.
    fn clocks(&self) -> BTreeMap<String, ClockState> {
        let groups = self.clocks.cpu_groups().unwrap_or_default().into_iter();
        let cores = groups.map(|(group, clock)| (format!("cpu {group}"), clock.state()));
        let gpu = self.clocks.gpu().ok().map(|gpu| ("gpu".to_owned(), gpu.clock.state()));
        let memory = self.clocks.memory().ok().map(|clock| ("memory".to_owned(), clock.state()));
        cores.chain(gpu).chain(memory).collect()
    }
}

/// Hertz of the fastest group of cores, an integrated GPU and memory.
fn clock_hz(clocks: &BTreeMap<String, ClockState>) -> BTreeMap<String, u64> {
    let mut hertz: BTreeMap<String, u64> = BTreeMap::new();
    for (name, clock) in clocks {
        let name = name.split(' ').next().unwrap_or(name);
        let fastest = hertz.entry(name.to_owned()).or_default();
        *fastest = clock.now_hz.max(*fastest);
    }
    hertz
}
