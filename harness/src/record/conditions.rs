//! The state of the machine at a phase edge: what a measurement was made under.

use std::collections::BTreeMap;

use ledger::{Bytes, Micros, Reading};
use serde::{Deserialize, Serialize};

use super::DisturbanceCause;

/// A clock that runs slower than this part of its lowest, in percent, was slowed down; above it, counters round.
const SLOWED_DOWN_PERCENT: u64 = 90;

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
    /// Clocks with the bounds that their governors keep: every group of cores, an integrated GPU, memory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clocks: BTreeMap<String, ClockState>,
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

    /// What slowed the machine down since `before`. A clock that follows the load within its bounds did not drop.
    pub fn slowed_since(&self, before: &ConditionsReading) -> Vec<DisturbanceCause> {
        let throttled = self.throttled_since(before).into_iter();
        let throttled = throttled.map(|(counter, events)| DisturbanceCause::Throttled { counter, events });
        let clocks =
            self.clocks.iter().filter_map(|(clock, now)| now.dropped(clock, before.clocks.get(clock)));
        throttled.chain(clocks).collect()
    }

    /// What could be read at `before` and cannot any more, in words.
    pub fn lost_since(&self, before: &ConditionsReading) -> Vec<String> {
        fn gone<'a, V>(now: &'a BTreeMap<String, V>, before: &'a BTreeMap<String, V>) -> Vec<&'a str> {
            before.keys().filter(|name| !now.contains_key(*name)).map(String::as_str).collect()
        }
        let maps = [
            ("power of", gone(&self.power_milliwatts, &before.power_milliwatts)),
            ("temperature of", gone(&self.temperature_millidegrees, &before.temperature_millidegrees)),
            ("throttle counter", gone(&self.throttle_events, &before.throttle_events)),
            ("clock", gone(&self.clocks, &before.clocks)),
        ];
        let lost = |was: bool, is: bool, what: &str| (was && !is).then(|| what.to_owned());
        let alone = [
            lost(before.nvmap.is_some(), self.nvmap.is_some(), "memory that nvmap has given out"),
            lost(
                before.mem_used_bytes.is_some(),
                self.mem_used_bytes.is_some(),
                "memory that the machine uses",
            ),
            lost(before.swap_used_bytes.is_some(), self.swap_used_bytes.is_some(), "swap"),
            lost(before.memory_pressure_us.is_some(), self.memory_pressure_us.is_some(), "memory pressure"),
            lost(before.power_mode.is_some(), self.power_mode.is_some(), "power mode"),
        ];
        let named = maps.into_iter().flat_map(|(what, names)| {
            names.into_iter().map(move |name| format!("{what} {name}")).collect::<Vec<_>>()
        });
        named.chain(alone.into_iter().flatten()).collect()
    }

    /// Takes over what `now` says of counters and clocks, so that each change is told once. What cannot be read for a while
    /// keeps what it had: what happens meanwhile is seen when it is back.
    pub fn follow(&mut self, now: &ConditionsReading) {
        self.throttle_events.extend(now.throttle_events.clone());
        self.clocks.extend(now.clocks.clone());
    }
}

/// A clock and its bounds, in hertz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockState {
    /// What it runs at.
    pub now_hz: u64,
    /// The lowest that is allowed.
    pub lowest_hz: u64,
    /// The highest that is allowed.
    pub highest_hz: u64,
}

impl ClockState {
    fn dropped(self, clock: &str, before: Option<&ClockState>) -> Option<DisturbanceCause> {
        let clock = clock.to_owned();
        if let Some(before) = before.filter(|before| self.highest_hz < before.highest_hz) {
            let (from_hz, to_hz) = (before.highest_hz, self.highest_hz);
            return Some(DisturbanceCause::ClockCapped { clock, from_hz, to_hz });
        }
        // A clock that is gated says 0.
        let slow = |state: &ClockState| {
            state.now_hz > 0
                && u128::from(state.now_hz) * 100
                    < u128::from(state.lowest_hz) * u128::from(SLOWED_DOWN_PERCENT)
        };
        // One that was slow before is no news, and one that was not read before was not seen to drop.
        let drops = slow(&self) && before.is_some_and(|before| !slow(before));
        let (lowest_hz, now_hz) = (self.lowest_hz, self.now_hz);
        drops.then_some(DisturbanceCause::ClockDropped { clock, lowest_hz, now_hz })
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

    #[test]
    fn a_clock_drops_where_its_bound_does_or_where_it_leaves_its_bounds() {
        let at = |now_hz, lowest_hz, highest_hz| ConditionsReading {
            clocks: [("cpu".to_owned(), ClockState { now_hz, lowest_hz, highest_hz })].into(),
            ..ConditionsReading::default()
        };
        let clock = || "cpu".to_owned();
        let before = at(2000, 500, 2000);
        assert_eq!(at(500, 500, 2000).slowed_since(&before), [], "the governor follows the load");
        assert_eq!(at(499, 500, 2000).slowed_since(&before), [], "counters round");
        assert_eq!(at(0, 500, 2000).slowed_since(&before), [], "gated");
        assert_eq!(at(2000, 500, 2500).slowed_since(&before), [], "more is not less");
        assert_eq!(
            at(1500, 500, 1500).slowed_since(&before),
            [DisturbanceCause::ClockCapped { clock: clock(), from_hz: 2000, to_hz: 1500 }]
        );
        let locked = at(2000, 2000, 2000);
        assert_eq!(
            at(1000, 2000, 2000).slowed_since(&locked),
            [DisturbanceCause::ClockDropped { clock: clock(), lowest_hz: 2000, now_hz: 1000 }]
        );
        let mut told = locked.clone();
        told.follow(&at(1000, 2000, 2000));
        assert_eq!(at(1000, 2000, 2000).slowed_since(&told), [], "told once");
        told.follow(&ConditionsReading::default());
        assert_eq!(at(900, 900, 900).slowed_since(&told).len(), 1, "what cannot be read keeps what it had");
    }
}
