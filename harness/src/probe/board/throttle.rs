//! Whether the machine slowed itself down: counters that only grow, so that two readings tell what happened between.

use serde::Serialize;

use super::hwmon::chips;
use crate::probe::root::{SystemRoot, reading};
use crate::probe::{Probe, ProbeScope, Reading};

const CPU: &str = "/sys/devices/system/cpu";

/// One counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThrottleCounter {
    /// Its name: `oc1` to `oc3` are over-current alarms of a Jetson, `cpu_thermal` those of all cores of a PC.
    pub name: String,
    /// Events since boot.
    pub events: u64,
}

/// Reads throttle counters.
#[derive(Debug, Clone)]
pub struct Throttle {
    root: SystemRoot,
}

impl Throttle {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> Throttle {
        Throttle { root: root.clone() }
    }

    /// Every counter. Fails where there is none.
    pub fn read(&self) -> Result<Vec<ThrottleCounter>, String> {
        let mut counters = self.over_current();
        counters.extend(self.cores());
        if counters.is_empty() {
            return Err("neither soctherm_oc in /sys/class/hwmon nor thermal_throttle of a core".to_owned());
        }
        Ok(counters)
    }

    fn over_current(&self) -> Vec<ThrottleCounter> {
        let chips = chips(&self.root, &["soctherm_oc"]).unwrap_or_default();
        let counter = |folder: &str, number: u32| {
            let events = self.root.number(&format!("{folder}/oc{number}_event_cnt")).ok()?;
            Some(ThrottleCounter { name: format!("oc{number}"), events: u64::try_from(events).ok()? })
        };
        let of_chip =
            |folder: String| (1..=3).filter_map(move |number| counter(&folder, number)).collect::<Vec<_>>();
        chips.into_iter().flat_map(|chip| of_chip(chip.folder)).collect()
    }

    fn cores(&self) -> Option<ThrottleCounter> {
        let entries = self.root.list(CPU).ok()?.into_iter();
        let events = entries.filter_map(|entry| {
            let path = format!("{CPU}/{entry}/thermal_throttle/core_throttle_count");
            u64::try_from(self.root.number(&path).ok()?).ok()
        });
        let events = events.reduce(u64::saturating_add)?;
        Some(ThrottleCounter { name: "cpu_thermal".to_owned(), events })
    }
}

impl Probe for Throttle {
    fn id(&self) -> &'static str {
        "throttle"
    }

    fn name(&self) -> &'static str {
        "throttle counters (hwmon soctherm_oc, thermal_throttle)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cost(&self) -> &'static str {
        "some 10 µs a counter"
    }

    fn cadence(&self) -> Reading<String> {
        reading(self.read()).map(|_| "at phase edges".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        reading(self.read()).map(|counters| {
            let shown = counters.iter().map(|counter| format!("{} {}", counter.name, counter.events));
            format!("{} since boot", shown.collect::<Vec<_>>().join(", "))
        })
    }
}
