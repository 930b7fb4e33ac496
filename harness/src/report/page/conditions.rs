//! The state of the machine before a trial and at its end.

use std::collections::BTreeMap;

use ledger::{Bytes, Reading};
use serde::Serialize;

use crate::number::{count, grouped, mib};
use crate::record::{ConditionsReading, TrialRecord};

/// The table, with what stands above it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ConditionsTable {
    /// The phase whose end is shown.
    end: &'static str,
    /// How the floor was found.
    floor: String,
    /// What, before, and at the end. Empty where it could not be read at that moment.
    rows: Vec<(String, String, String)>,
}

impl ConditionsTable {
    /// `None` in records of earlier programs, and where no phase was entered.
    pub(super) fn of(trial: &TrialRecord) -> Option<ConditionsTable> {
        let floor = trial.floor.as_ref()?;
        let last = trial.phases.last()?;
        let (before, after) = (&floor.conditions, &last.end.conditions);
        let mut rows = Vec::new();
        let mut both = |name: &str, of: &dyn Fn(&ConditionsReading) -> Option<String>| {
            let (start, end) = (of(before), of(after));
            if start.is_some() || end.is_some() {
                rows.push((name.to_owned(), start.unwrap_or_default(), end.unwrap_or_default()));
            }
        };
        both("Power mode", &|state| state.power_mode.clone());
        for name in names(&before.clocks, &after.clocks) {
            both(&format!("Clock {name}, MHz (bounds)"), &|state| {
                let clock = state.clocks.get(name)?;
                let mhz = |hz: u64| count(hz / 1_000_000);
                Some(format!("{} ({} to {})", mhz(clock.now_hz), mhz(clock.lowest_hz), mhz(clock.highest_hz)))
            });
        }
        for name in names(&before.throttle_events, &after.throttle_events) {
            both(&format!("Throttling {name}, events since boot"), &|state| {
                state.throttle_events.get(name).copied().map(count)
            });
        }
        both("Swap used, MiB", &|state| state.swap_used_bytes.map(mib));
        both("Memory used by the machine, MiB", &|state| state.mem_used_bytes.map(mib));
        both("In no line of /proc/meminfo, MiB", &|state| {
            state.mem_unaccounted_bytes.map(crate::number::signed_mib)
        });
        both("Given out by nvmap, MiB", &|state| state.nvmap.as_ref().map(|nvmap| mib(nvmap.total_bytes)));
        both("Page pool, MiB", &|state| state.nvmap.as_ref()?.page_pool_bytes.measured().copied().map(mib));
        both("Waited for memory since boot, ms", &|state| {
            state.memory_pressure_us.map(|time| grouped(time.as_millis().0, 1))
        });
        for name in names(&before.temperature_millidegrees, &after.temperature_millidegrees) {
            both(&format!("Temperature {name}, °C"), &|state| {
                state.temperature_millidegrees.get(name).map(|own| grouped(*own as f64 / 1e3, 1))
            });
        }
        for name in names(&before.power_milliwatts, &after.power_milliwatts) {
            both(&format!("Power {name}, W"), &|state| {
                state.power_milliwatts.get(name).map(|own| grouped(*own as f64 / 1e3, 2))
            });
        }
        let known = |reading: &Reading<Bytes>| {
            reading.measured().map_or_else(|| "n/a".to_owned(), |bytes| format!("{} MiB", mib(*bytes)))
        };
        Some(ConditionsTable {
            end: last.phase.name(),
            floor: format!(
                "The floor was waited for {} s. Available: {}; taken of devices: {}; page cache: {}, \
                 which is not counted. It may be off by {} of main and {} MiB of device memory.",
                grouped(floor.settled_us.0 as f64 / 1e6, 1),
                known(&floor.reading.available_bytes),
                known(&floor.reading.device_bytes),
                known(&floor.reading.page_cache_bytes),
                floor
                    .memory_tolerance_bytes
                    .map_or_else(|| "any amount".to_owned(), |most| format!("{} MiB", mib(most))),
                mib(floor.device_tolerance_bytes)
            ),
            rows,
        })
    }
}

/// Every name of both, once, in order.
fn names<'a, V>(one: &'a BTreeMap<String, V>, other: &'a BTreeMap<String, V>) -> Vec<&'a str> {
    let mut names: Vec<&str> = one.keys().chain(other.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}
