//! Power rails, as current monitors measure them: INA3221 (voltage times current) and INA238 (power itself).

use serde::Serialize;

use super::hwmon::{Chip, chips};
use crate::probe::root::{ReadError, SystemRoot, reading};
use crate::probe::{Probe, ProbeScope, Reading};

/// Channels of a chip; those behind them are sums, not rails.
const CHANNELS: std::ops::RangeInclusive<u32> = 1..=3;

/// A rail, now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rail {
    /// Its label, for example `VDD_IN`, which is all of a module where it exists.
    pub name: String,
    /// Milliwatts, or why there are none.
    pub milliwatts: Reading<u64>,
}

/// Reads power.
#[derive(Debug, Clone)]
pub struct PowerRails {
    root: SystemRoot,
}

impl PowerRails {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> PowerRails {
        PowerRails { root: root.clone() }
    }

    /// Every rail that is connected. Fails where there is no monitor.
    pub fn read(&self) -> Result<Vec<Rail>, String> {
        let chips = chips(&self.root, &["ina3221", "ina238"]).map_err(|error| error.to_string())?;
        if chips.is_empty() {
            return Err("no current monitor (ina3221, ina238) in /sys/class/hwmon".to_owned());
        }
        Ok(chips.iter().flat_map(|chip| self.rails(chip)).collect())
    }

    fn rails(&self, chip: &Chip) -> Vec<Rail> {
        if chip.name == "ina238" {
            let label = self.root.text(&format!("{}/label", chip.folder));
            let name = label.unwrap_or_else(|_| "VIN".to_owned());
            let microwatts = self.root.number(&format!("{}/power1_input", chip.folder));
            return vec![Rail {
                name,
                milliwatts: reading(microwatts).map(|value| value.max(0) as u64 / 1000),
            }];
        }
        let rail = |channel: u32| {
            let name = self.root.text(&format!("{}/in{channel}_label", chip.folder)).ok()?;
            // `NC` is not connected; some drivers label the sum of the rails like a rail.
            let is_rail = name != "NC" && !name.starts_with("sum");
            is_rail.then(|| Rail { name, milliwatts: reading(self.product(chip, channel)) })
        };
        CHANNELS.filter_map(rail).collect()
    }

    /// Millivolts times milliamperes.
    fn product(&self, chip: &Chip, channel: u32) -> Result<u64, ReadError> {
        let positive = |file: String| self.root.number(&file).map(|value| u64::try_from(value).unwrap_or(0));
        let millivolts = positive(format!("{}/in{channel}_input", chip.folder))?;
        let milliamperes = positive(format!("{}/curr{channel}_input", chip.folder))?;
        Ok(millivolts.saturating_mul(milliamperes) / 1000)
    }
}

impl Probe for PowerRails {
    fn id(&self) -> &'static str {
        "power"
    }

    fn name(&self) -> &'static str {
        "power rails (hwmon ina3221, ina238)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cost(&self) -> &'static str {
        "some 250 µs a value, over I²C"
    }

    fn cadence(&self) -> Reading<String> {
        reading(self.read()).map(|_| "at phase edges".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        let rails = match self.read() {
            Ok(rails) => rails,
            Err(why) => return Reading::Unavailable(why),
        };
        let shown = |rail: &Rail| {
            let value = rail.milliwatts.measured().map(|power| format!("{} {power} mW", rail.name));
            value.unwrap_or_else(|| format!("{} n/a", rail.name))
        };
        match rails.iter().find_map(|rail| match &rail.milliwatts {
            Reading::Unavailable(why) => Some(why.clone()),
            Reading::Measured(_) => None,
        }) {
            Some(why) if rails.iter().all(|rail| rail.milliwatts.measured().is_none()) => {
                Reading::Unavailable(why)
            }
            _ => Reading::Measured(rails.iter().map(shown).collect::<Vec<_>>().join(", ")),
        }
    }
}
