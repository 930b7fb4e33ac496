//! The state of the machine at a phase edge: what a measurement was made under.

use std::collections::BTreeMap;

use ledger::{Bytes, Micros, Reading};
use serde::{Deserialize, Serialize};

/// The machine at a phase edge. What it cannot say is left out; why stands once, in the trial's probes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConditionsReading {
    /// What no line of `/proc/meminfo` owns: an estimate of GPU memory where the GPU shares main memory. With its sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_unaccounted_bytes: Option<i64>,
    /// Used by the whole machine as `tegrastats` and `free` count it: all but free pages, buffers and page cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_used_bytes: Option<Bytes>,
    /// Memory that nvmap has given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvmap: Option<NvmapReading>,
    /// Pages of all processes that are swapped out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_used_bytes: Option<Bytes>,
    /// Time that some process waited for memory, since boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_pressure_us: Option<Micros>,
    /// Milliwatts by rail.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub power_milliwatts: BTreeMap<String, u64>,
    /// Thousandths of a degree Celsius by zone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub temperature_millidegrees: BTreeMap<String, i64>,
    /// Events since boot by counter: what grows within a trial has slowed it down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub throttle_events: BTreeMap<String, u64>,
    /// Hertz: `cpu` is the fastest group of cores, `gpu` an integrated one, `memory` its controller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clock_hz: BTreeMap<String, u64>,
    /// The power mode by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mode: Option<String>,
}

impl ConditionsReading {
    /// True where the machine says nothing.
    pub fn is_empty(&self) -> bool {
        *self == ConditionsReading::default()
    }

    /// Throttle counters that have grown since `before`, and by how much. One that was not there before tells nothing, and
    /// neither does one that shrank: it has begun again.
    pub fn throttled_since(&self, before: &ConditionsReading) -> Vec<(String, u64)> {
        let grown = |(name, now): (&String, &u64)| {
            let growth = now.checked_sub(*before.throttle_events.get(name)?)?;
            (growth > 0).then(|| (name.clone(), growth))
        };
        self.throttle_events.iter().filter_map(grown).collect()
    }
}

/// nvmap at a phase edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NvmapReading {
    /// All handles of all processes.
    pub total_bytes: Bytes,
    /// What the target's processes hold. Pages of it that the CPU has touched are in resident memory, too.
    pub target_bytes: Reading<Bytes>,
    /// Freed pages that the driver keeps.
    pub page_pool_bytes: Reading<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grew_is_throttling() {
        let counters = |events: &[(&str, u64)]| ConditionsReading {
            throttle_events: events.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            ..ConditionsReading::default()
        };
        let before = counters(&[("oc1", 1), ("oc2", 5), ("oc3", 2)]);
        let after = counters(&[("oc1", 1), ("oc2", 0), ("oc3", 4), ("cpu_thermal", 9)]);
        assert_eq!(after.throttled_since(&before), [("oc3".to_owned(), 2)]);
        assert_eq!(ConditionsReading::default().throttled_since(&before), []);
    }
}
