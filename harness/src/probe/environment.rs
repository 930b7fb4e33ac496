//! Reads the facts by which two measurements can be held against each other.

use std::collections::BTreeMap;

use super::board::{Board, Clocks, PowerModes};
use super::root::{SystemRoot, reading};
use super::{Reading, SystemMemory};
use crate::record::{EnvironmentRecord, RECORDED_MACHINE};

/// Where NVIDIA's driver for discrete GPUs says its version; on a board it is that of Jetson Linux.
const DRIVER: &str = "/sys/module/nvidia/version";

/// The environment at `root`, now. Clocks count by their bounds: within them they follow the load.
pub fn environment(root: &SystemRoot) -> EnvironmentRecord {
    let board = Board::read(root);
    let mode = PowerModes::new(root).current();
    let mode = mode.map(|mode| mode.name.unwrap_or_else(|| mode.id.to_string()));
    let facts = [
        ("board", board.model),
        ("jetson_linux", board.l4t),
        ("kernel", board.kernel),
        ("cuda", board.cuda),
        ("driver", reading(root.text(DRIVER))),
        ("power_mode", reading(mode)),
        ("memory_bytes", memory_total(root)),
        ("sweep", Reading::Measured(env!("CARGO_PKG_VERSION").to_owned())),
    ];
    let mut facts: BTreeMap<String, Reading<String>> =
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    facts.extend(clock_bounds(root));
    if root.is_recorded() {
        facts.insert(RECORDED_MACHINE.to_owned(), Reading::Measured("yes".to_owned()));
    }
    EnvironmentRecord::new(facts)
}

fn memory_total(root: &SystemRoot) -> Reading<String> {
    match SystemMemory::open(root).read_now() {
        Reading::Measured(memory) => memory.total.map_or_else(
            || Reading::Unavailable("/proc/meminfo has no line MemTotal".to_owned()),
            |total| Reading::Measured(total.0.to_string()),
        ),
        Reading::Unavailable(why) => Reading::Unavailable(why),
    }
}

fn clock_bounds(root: &SystemRoot) -> BTreeMap<String, Reading<String>> {
    let clocks = Clocks::new(root);
    let bounds = |clock: &super::board::ClockReading| format!("{} to {} Hz", clock.min_hz, clock.max_hz);
    let cores = match clocks.cpu_groups() {
        Ok(groups) => groups
            .iter()
            .map(|(name, clock)| (format!("clock cpu {name}"), Reading::Measured(bounds(clock))))
            .collect(),
        Err(why) => vec![("clock cpu".to_owned(), Reading::Unavailable(why))],
    };
    let gpu = reading(clocks.gpu()).map(|gpu| bounds(&gpu.clock));
    // Where the memory clock's lower bound follows what it runs at, its upper one alone is a fact.
    let memory = reading(clocks.memory()).map(|clock| format!("up to {} Hz", clock.max_hz));
    let others = [("clock gpu".to_owned(), gpu), ("clock memory".to_owned(), memory)];
    cores.into_iter().chain(others).collect()
}
