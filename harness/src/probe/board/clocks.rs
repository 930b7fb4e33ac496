//! Clocks, and whether they are locked. A clock that follows the load makes two runs two machines.

use serde::Serialize;

use crate::probe::root::{ReadError, SystemRoot, reading};
use crate::probe::{Probe, ProbeScope, Reading};
use crate::record::ClockState;

const DEVFREQ: &str = "/sys/class/devfreq";
const CPUFREQ: &str = "/sys/devices/system/cpu/cpufreq";

/// Where the memory clock is; root only.
const EMC: &str = "/sys/kernel/debug/bpmp/debug/clk/emc";

/// Names that device trees give to integrated GPUs.
const GPU_NODES: [&str; 5] = ["gpu", "ga10b", "gv11b", "gp10b", "gb10b"];

/// A clock and the bounds that its governor keeps, in hertz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ClockReading {
    /// Now.
    pub now_hz: u64,
    /// The lowest that is allowed.
    pub min_hz: u64,
    /// The highest that is allowed.
    pub max_hz: u64,
}

impl ClockReading {
    /// True where the clock cannot move.
    pub fn is_locked(&self) -> bool {
        self.min_hz == self.max_hz
    }

    /// As it stands in records.
    pub fn state(&self) -> ClockState {
        ClockState { now_hz: self.now_hz, lowest_hz: self.min_hz, highest_hz: self.max_hz }
    }
}

/// An integrated GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GpuClock {
    /// Its clock.
    pub clock: ClockReading,
    /// Load in thousandths.
    pub load_permille: Reading<u64>,
    /// Groups of processors that are switched off, as a bit mask: a power mode may halve the GPU.
    pub tpc_pg_mask: Reading<u64>,
}

/// Reads clocks.
#[derive(Debug, Clone)]
pub struct Clocks {
    root: SystemRoot,
}

impl Clocks {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> Clocks {
        Clocks { root: root.clone() }
    }

    /// One clock for each group of cores that share it and are on. Fails where the kernel does not steer them.
    pub fn cpu(&self) -> Result<Vec<ClockReading>, String> {
        self.cpu_groups().map(|groups| groups.into_iter().map(|(_, clock)| clock).collect())
    }

    /// The same with the kernel's name of each group, such as `policy0`.
    pub fn cpu_groups(&self) -> Result<Vec<(String, ClockReading)>, String> {
        let policies = self.root.list(CPUFREQ).map_err(|error| error.to_string())?;
        let policies = policies.into_iter().filter(|name| name.starts_with("policy"));
        let clock = |name: String| -> Result<(String, ClockReading), ReadError> {
            let khz = |file: &str| self.positive(&format!("{CPUFREQ}/{name}/{file}"));
            let clock = ClockReading {
                now_hz: khz("scaling_cur_freq")?.saturating_mul(1000),
                min_hz: khz("scaling_min_freq")?.saturating_mul(1000),
                max_hz: khz("scaling_max_freq")?.saturating_mul(1000),
            };
            Ok((name, clock))
        };
        // The clock of cores that are switched off cannot be read, and does not matter.
        let (mut clocks, mut why) = (Vec::new(), format!("{CPUFREQ} has no policy"));
        for clock in policies.map(clock) {
            match clock {
                Ok(clock) => clocks.push(clock),
                Err(error) => why = error.to_string(),
            }
        }
        if clocks.is_empty() { Err(why) } else { Ok(clocks) }
    }

    /// The integrated GPU, found by its node in the device tree. Fails where there is none.
    pub fn gpu(&self) -> Result<GpuClock, String> {
        let devices = self.root.list(DEVFREQ).map_err(|error| error.to_string())?;
        let is_gpu = |device: &String| {
            let node = self.root.text(&format!("{DEVFREQ}/{device}/device/of_node/name"));
            // Thor's GPU is a PCI device without a node; its clocks are named for what they drive.
            node.map_or_else(|_| device.starts_with("gpu-gpc"), |name| GPU_NODES.contains(&name.as_str()))
        };
        let device = devices.into_iter().find(is_gpu).ok_or_else(|| {
            format!("{DEVFREQ} has no GPU; on a board it may appear some time after the start")
        })?;
        let folder = format!("{DEVFREQ}/{device}");
        let clock = self.devfreq(&folder).map_err(|error| error.to_string())?;
        Ok(GpuClock {
            clock,
            load_permille: reading(self.positive(&format!("{folder}/device/load"))),
            tpc_pg_mask: self.mask(&format!("{folder}/device/tpc_pg_mask")),
        })
    }

    /// The memory controller's clock.
    pub fn memory(&self) -> Result<ClockReading, String> {
        let hz = |file: &str| self.positive(&format!("{EMC}/{file}"));
        let bpmp = || {
            let locked = self.root.number(&format!("{EMC}/mrq_rate_locked")).is_ok_and(|locked| locked != 0);
            let (now_hz, max_hz) = (hz("rate")?, hz("max_rate")?);
            let min_hz = if locked { max_hz } else { hz("min_rate")? };
            Ok(ClockReading { now_hz, min_hz, max_hz })
        };
        let bandwidth_manager = || self.devfreq(&format!("{DEVFREQ}/bwmgr"));
        bpmp().or_else(|error: ReadError| bandwidth_manager().map_err(|_| error.to_string()))
    }

    fn devfreq(&self, folder: &str) -> Result<ClockReading, ReadError> {
        let hz = |file: &str| self.positive(&format!("{folder}/{file}"));
        Ok(ClockReading { now_hz: hz("cur_freq")?, min_hz: hz("min_freq")?, max_hz: hz("max_freq")? })
    }

    fn positive(&self, path: &str) -> Result<u64, ReadError> {
        self.root.number(path).map(|value| u64::try_from(value).unwrap_or(0))
    }

    /// A number that some releases write in hexadecimal.
    fn mask(&self, path: &str) -> Reading<u64> {
        let text = match self.root.text(path) {
            Ok(text) => text,
            Err(error) => return Reading::Unavailable(error.to_string()),
        };
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        parsed.map_or_else(|| Reading::Unavailable(format!("{path} is no number")), Reading::Measured)
    }

    /// Whether the clocks of all cores and of an integrated GPU are locked, which `jetson_clocks` does. The memory clock is
    /// asked, too, where it can be read.
    pub fn locked(&self) -> Reading<bool> {
        let cpu = match self.cpu() {
            Ok(cpu) => cpu,
            Err(why) => return Reading::Unavailable(why),
        };
        let gpu = self.gpu().ok().map(|gpu| gpu.clock);
        let mut clocks = cpu.iter().chain(gpu.iter());
        let memory = self.memory().ok();
        // The lower bound of the memory clock does not move; locked, it runs at its highest.
        let memory_moves = memory.is_some_and(|clock| !clock.is_locked() && clock.now_hz != clock.max_hz);
        Reading::Measured(clocks.all(ClockReading::is_locked) && !memory_moves)
    }
}

impl Probe for Clocks {
    fn id(&self) -> &'static str {
        "clocks"
    }

    fn name(&self) -> &'static str {
        "clocks (cpufreq, devfreq, emc)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cost(&self) -> &'static str {
        "some 10 µs a clock"
    }

    fn cadence(&self) -> Reading<String> {
        reading(self.cpu()).map(|_| "at phase edges".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        let cpu = match self.cpu() {
            Ok(cpu) => cpu,
            Err(why) => return Reading::Unavailable(why),
        };
        let mhz = |hz: u64| hz / 1_000_000;
        let fastest = cpu.iter().map(|clock| clock.max_hz).max().unwrap_or(0);
        let mut parts = vec![format!("CPU up to {} MHz", mhz(fastest))];
        parts.extend(self.gpu().ok().map(|gpu| format!("GPU up to {} MHz", mhz(gpu.clock.max_hz))));
        parts.extend(self.memory().ok().map(|clock| format!("memory at {} MHz", mhz(clock.now_hz))));
        Reading::Measured(parts.join(", "))
    }
}
