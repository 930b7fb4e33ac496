//! Temperatures, `/sys/class/thermal/thermal_zone*`. A zone whose part of the chip is switched off answers with an error.

use serde::Serialize;

use crate::probe::root::{SystemRoot, reading};
use crate::probe::{Probe, ProbeScope, Reading};

const FOLDER: &str = "/sys/class/thermal";

/// A zone, now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Zone {
    /// Its type without `-thermal` or `-therm`, in small letters: `cpu`, `gpu`, `tj` (the hottest junction).
    pub name: String,
    /// Thousandths of a degree Celsius, or why there are none.
    pub millidegrees: Reading<i64>,
}

/// Reads temperatures.
#[derive(Debug, Clone)]
pub struct Thermal {
    root: SystemRoot,
}

impl Thermal {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> Thermal {
        Thermal { root: root.clone() }
    }

    /// Every zone. Fails where there is none.
    pub fn read(&self) -> Result<Vec<Zone>, String> {
        let entries = self.root.list(FOLDER).map_err(|error| error.to_string())?;
        let zones =
            entries.into_iter().filter(|entry| entry.starts_with("thermal_zone")).filter_map(|entry| {
                let kind = self.root.text(&format!("{FOLDER}/{entry}/type")).ok()?;
                let degrees = self.root.number(&format!("{FOLDER}/{entry}/temp"));
                Some(Zone { name: zone_name(&kind), millidegrees: reading(degrees) })
            });
        let zones: Vec<Zone> = zones.collect();
        if zones.is_empty() { Err(format!("{FOLDER} has no zone")) } else { Ok(zones) }
    }

    /// The hottest zone that can be read.
    pub fn hottest(&self) -> Result<(String, i64), String> {
        let zones = self.read()?;
        let measured = zones.iter().filter_map(|zone| Some((&zone.name, *zone.millidegrees.measured()?)));
        let hottest = measured.max_by_key(|(_, degrees)| *degrees);
        hottest.map(|(name, degrees)| (name.clone(), degrees)).ok_or_else(|| "no zone can be read".to_owned())
    }
}

/// JetPack 5 says `CPU-therm`, later ones `cpu-thermal`.
fn zone_name(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    let name = kind.strip_suffix("-thermal").or_else(|| kind.strip_suffix("-therm"));
    name.unwrap_or(&kind).to_owned()
}

impl Probe for Thermal {
    fn id(&self) -> &'static str {
        "temperature"
    }

    fn name(&self) -> &'static str {
        "temperatures (/sys/class/thermal)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cost(&self) -> &'static str {
        "some 10 to 100 µs a zone"
    }

    fn cadence(&self) -> Reading<String> {
        reading(self.read()).map(|_| "at phase edges".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        reading(self.hottest())
            .map(|(name, degrees)| format!("{:.1} °C at the hottest, {name}", degrees as f64 / 1000.0))
    }
}
