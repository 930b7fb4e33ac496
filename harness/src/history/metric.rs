//! What is followed over time.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::Noise;
use crate::number::grouped;
use crate::record::{GateMetric, NoMetric};

/// What a series is of, in the words of gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesMetric {
    /// What all buffers together declare.
    Planned,
    /// What a gate can be about.
    Of(GateMetric),
}

impl SeriesMetric {
    /// How values of it scatter where nothing changed.
    pub const fn noise(self) -> Noise {
        match self {
            SeriesMetric::Planned | SeriesMetric::Of(GateMetric::Planned(_) | GateMetric::Class(_)) => {
                Noise::None
            }
            SeriesMetric::Of(GateMetric::Device) => Noise::Granules,
            SeriesMetric::Of(GateMetric::Peak) => Noise::Memory,
            SeriesMetric::Of(_) => Noise::Time,
        }
    }

    /// True where less is worse.
    pub const fn is_rate(self) -> bool {
        matches!(self, SeriesMetric::Of(GateMetric::DecodeRate | GateMetric::PrefillRate))
    }

    /// The unit in which [`Self::in_words`] shows it.
    pub const fn unit(self) -> &'static str {
        match self {
            SeriesMetric::Of(GateMetric::LoadTime | GateMetric::Ttft) => "ms",
            SeriesMetric::Of(GateMetric::DecodeRate | GateMetric::PrefillRate) => "tok/s",
            SeriesMetric::Planned | SeriesMetric::Of(_) => "MiB",
        }
    }

    /// What one of [`Self::unit`] is, in bytes, milliseconds or tokens per second.
    pub fn one(self) -> f64 {
        match self.unit() {
            "MiB" => (1 << 20) as f64,
            _ => 1.0,
        }
    }

    /// A value, in bytes, milliseconds or tokens per second, without its unit.
    pub fn in_words(self, value: f64) -> String {
        grouped(value / self.one(), 1)
    }
}

impl fmt::Display for SeriesMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeriesMetric::Planned => f.pad("planned"),
            SeriesMetric::Of(metric) => metric.fmt(f),
        }
    }
}

impl FromStr for SeriesMetric {
    type Err = String;

    fn from_str(text: &str) -> Result<SeriesMetric, String> {
        if text.trim() == "planned" {
            return Ok(SeriesMetric::Planned);
        }
        text.parse().map(SeriesMetric::Of).map_err(|error| match error {
            NoMetric::Form => format!("`{text}` is no metric: planned, {} are", GateMetric::FORMS.join(", ")),
            NoMetric::Class(name) => format!("there is no buffer class `{name}`"),
        })
    }
}

impl Serialize for SeriesMetric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
