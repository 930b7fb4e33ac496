//! Gates: what decides against a baseline, metric by metric.

use std::fmt;
use std::str::FromStr;

use ledger::{BufferClass, Bytes};
use serde::{Deserialize, Serialize};

use crate::scenario::Condition;

/// One gate of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Its name, unique in the scenario.
    pub id: String,
    /// The cells that it holds for.
    pub when: Condition,
    /// What is compared.
    pub metric: GateMetric,
    /// How much worse than the baseline it may be.
    pub allow: Allowance,
    /// Why so much.
    pub why: String,
}

/// What a gate compares. More is worse, but for rates, of which less is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateMetric {
    /// Peak resident memory of the target's process tree.
    Peak,
    /// Most device memory of the target.
    Device,
    /// The most that a class held by the target's ledger; of `unaccounted`, at any phase edge.
    Class(BufferClass),
    /// The most that the plan holds of a class in any phase.
    Planned(BufferClass),
    /// Time until the target is ready.
    LoadTime,
    /// Time to first token.
    Ttft,
    /// Output tokens a second, after the first.
    DecodeRate,
    /// Prompt tokens a second.
    PrefillRate,
}

/// How much worse than the baseline something may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowance {
    /// By so many bytes.
    Bytes(Bytes),
    /// By this part of the baseline's value, from 0 to 1.
    Share(f64),
}

impl GateMetric {
    /// The forms that a scenario may write.
    pub const FORMS: [&'static str; 8] =
        ["peak", "device", "class NAME", "planned NAME", "load_time", "ttft", "decode_rate", "prefill_rate"];

    /// True where it is counted in bytes.
    pub const fn is_memory(self) -> bool {
        match self {
            GateMetric::Peak | GateMetric::Device | GateMetric::Class(_) | GateMetric::Planned(_) => true,
            GateMetric::LoadTime | GateMetric::Ttft | GateMetric::DecodeRate | GateMetric::PrefillRate => {
                false
            }
        }
    }
}

impl fmt::Display for GateMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GateMetric::Peak => f.pad("peak"),
            GateMetric::Device => f.pad("device"),
            GateMetric::Class(class) => f.pad(&format!("class {class}")),
            GateMetric::Planned(class) => f.pad(&format!("planned {class}")),
            GateMetric::LoadTime => f.pad("load_time"),
            GateMetric::Ttft => f.pad("ttft"),
            GateMetric::DecodeRate => f.pad("decode_rate"),
            GateMetric::PrefillRate => f.pad("prefill_rate"),
        }
    }
}

/// A text is no metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMetric {
    /// No form of a metric begins so.
    Form,
    /// There is no such buffer class.
    Class(String),
}

impl FromStr for GateMetric {
    type Err = NoMetric;

    fn from_str(text: &str) -> Result<GateMetric, NoMetric> {
        let class = |name: &str| name.trim().parse().map_err(|_| NoMetric::Class(name.trim().to_owned()));
        match (text.trim(), text.trim().split_once(' ')) {
            ("peak", _) => Ok(GateMetric::Peak),
            ("device", _) => Ok(GateMetric::Device),
            ("load_time", _) => Ok(GateMetric::LoadTime),
            ("ttft", _) => Ok(GateMetric::Ttft),
            ("decode_rate", _) => Ok(GateMetric::DecodeRate),
            ("prefill_rate", _) => Ok(GateMetric::PrefillRate),
            (_, Some(("class", name))) => class(name).map(GateMetric::Class),
            (_, Some(("planned", name))) => class(name).map(GateMetric::Planned),
            _ => Err(NoMetric::Form),
        }
    }
}
