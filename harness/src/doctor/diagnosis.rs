//! Everything that is known of a machine before a run.

use std::path::Path;
use std::time::Instant;

use ledger::{Micros, Reading};
use serde::Serialize;

use super::FORMAT_VERSION;
use super::disk::{DiskCheck, DiskState};
use super::finding::{Finding, findings};
use super::memory::{MemoryState, SwapState};
use super::needs::NeedState;
use super::residue::Residue;
use crate::probe::board::{
    Board, ClockReading, Clocks, GpuClock, PowerMode, PowerModes, PowerRails, Rail, Thermal, Throttle,
    ThrottleCounter, Zone,
};
use crate::probe::{GpuWitness, Nvml, Probe, SystemRoot, catalogue, reading};
use crate::record::ProbeCard;

/// A machine, as `sweep doctor --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Version of this form.
    pub format_version: u32,
    /// True where a recorded tree was read instead of this machine.
    pub recorded: bool,
    /// Which machine.
    pub board: Board,
    /// Its GPUs, and who counts their memory.
    pub gpu: GpuDiagnosis,
    /// Main memory.
    pub memory: MemoryState,
    /// Swap.
    pub swap: SwapState,
    /// The power mode of a Jetson.
    pub power_mode: Reading<PowerMode>,
    /// Power rails.
    pub power_rails: Reading<Vec<Rail>>,
    /// Clocks.
    pub clocks: ClockDiagnosis,
    /// Temperatures.
    pub temperatures: Reading<Vec<Zone>>,
    /// Throttle counters since boot.
    pub throttle: Reading<Vec<ThrottleCounter>>,
    /// The disk that engines are read from.
    pub disk: DiskState,
    /// What earlier processes left behind.
    pub residue: Residue,
    /// Every probe, those that cannot be read among them.
    pub probes: Vec<ProbeState>,
    /// What makes measurements doubtful.
    pub findings: Vec<Finding>,
    /// What the scenario asks of the machine; empty where none was named, or it asks nothing.
    pub needs: Vec<NeedState>,
}

/// GPUs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GpuDiagnosis {
    /// Their names, as NVML says them.
    pub names: Reading<Vec<String>>,
    /// Who counts a target's GPU memory: the best witness that answers here.
    pub counted_by: Reading<GpuWitness>,
}

/// Clocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClockDiagnosis {
    /// True where no clock can move.
    pub locked: Reading<bool>,
    /// One for each group of cores that share it.
    pub cpu: Reading<Vec<ClockReading>>,
    /// An integrated GPU.
    pub gpu: Reading<GpuClock>,
    /// The memory controller.
    pub memory: Reading<ClockReading>,
}

/// A probe, tried once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeState {
    /// What a record would say of it.
    pub card: ProbeCard,
    /// One reading, in words.
    pub now: Reading<String>,
    /// What that reading took here.
    pub took_us: Reading<Micros>,
    /// What to do where it cannot be read and could be.
    pub remedy: Option<String>,
}

impl ProbeState {
    /// True where it can be read.
    pub fn works(&self) -> bool {
        self.now.measured().is_some() && self.card.cadence.measured().is_some()
    }

    /// Why it cannot be read.
    pub fn why_not(&self) -> Option<&str> {
        match (&self.now, &self.card.cadence) {
            (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => Some(why),
            _ => None,
        }
    }

    fn of(probe: &dyn Probe, root: &SystemRoot) -> ProbeState {
        let start = Instant::now();
        let now = probe.sample();
        let took = Micros(start.elapsed().as_micros() as u64);
        let took_us = match (&now, root.is_recorded()) {
            (_, true) => Reading::Unavailable("a recorded tree takes no time".to_owned()),
            (Reading::Unavailable(_), _) => Reading::Unavailable("there is no reading".to_owned()),
            (Reading::Measured(_), _) => Reading::Measured(took),
        };
        let works = now.measured().is_some();
        let remedy = probe.remedy().filter(|_| !works).map(str::to_owned);
        ProbeState { card: probe.card(), now, took_us, remedy }
    }
}

impl Diagnosis {
    /// Reads the machine at `root`. Engines are read from `folder`; `check` says what is asked of its disk.
    pub fn of(root: &SystemRoot, folder: &Path, check: DiskCheck) -> Diagnosis {
        let nvml = Nvml::new(root).answers();
        let clocks = Clocks::new(root);
        let mut diagnosis = Diagnosis {
            format_version: FORMAT_VERSION,
            recorded: root.is_recorded(),
            board: Board::read(root),
            gpu: GpuDiagnosis { counted_by: GpuWitness::choose(root, &nvml), names: nvml.names },
            memory: MemoryState::read(root),
            swap: SwapState::read(root),
            power_mode: reading(PowerModes::new(root).current()),
            power_rails: reading(PowerRails::new(root).read()),
            clocks: ClockDiagnosis {
                locked: clocks.locked(),
                cpu: reading(clocks.cpu()),
                gpu: reading(clocks.gpu()),
                memory: reading(clocks.memory()),
            },
            temperatures: reading(Thermal::new(root).read()),
            throttle: reading(Throttle::new(root).read()),
            disk: DiskState::measure(root, folder, check),
            residue: Residue::read(root),
            probes: catalogue(root).iter().map(|probe| ProbeState::of(probe.as_ref(), root)).collect(),
            findings: Vec::new(),
            needs: Vec::new(),
        };
        let fastest = PowerModes::new(root).fastest();
        diagnosis.findings = findings(&diagnosis, fastest.as_ref());
        diagnosis
    }

    /// The probe with this word.
    pub fn probe(&self, id: &str) -> Option<&ProbeState> {
        self.probes.iter().find(|probe| probe.card.id == id)
    }
}
