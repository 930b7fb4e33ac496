//! Levers: axes that are expected to move memory, and where a cell stands among the values of such axes.

use ledger::Phase;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CellRecord;

/// One axis that is expected to move memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeverRecord {
    /// The axis.
    pub axis: String,
    /// The value that the others are held against.
    pub base: String,
    /// What it is expected to move.
    pub metric: LeverMetric,
    /// The part of the planned saving above which it works, from 0 to 1.
    pub works_above: f64,
    /// Why it matters, where the scenario says so.
    pub why: Option<String>,
}

/// What a lever is expected to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeverMetric {
    /// The highest resident memory of any phase.
    Peak,
    /// The highest resident memory within one phase.
    Phase(#[schemars(with = "super::schema::PhaseName")] Phase),
}

impl LeverRecord {
    /// The part of a planned saving above which a lever works, where the scenario says nothing.
    pub const WORKS_ABOVE: f64 = 0.9;

    /// The lever that an axis is where the scenario says nothing.
    pub fn of_axis(axis: &str, base: &str) -> LeverRecord {
        LeverRecord {
            axis: axis.to_owned(),
            base: base.to_owned(),
            metric: LeverMetric::Peak,
            works_above: LeverRecord::WORKS_ABOVE,
            why: None,
        }
    }

    /// True where `base` is what `cell` must be held against: the same but for this axis, which is at its base.
    pub fn is_base_of(&self, base: &CellRecord, cell: &CellRecord) -> bool {
        let same = |name: &str| base.value(name) == cell.value(name);
        let names = || base.axes.iter().chain(&cell.axes).map(|(name, _)| name.as_str());
        base.value(&self.axis) == Some(&self.base)
            && cell.value(&self.axis) != Some(&self.base)
            && same("model")
            && names().filter(|name| *name != self.axis).all(same)
    }

    /// True where `cell` has another value than the base of this axis, and every other axis of `bases` at its base: what a
    /// lever is judged by.
    pub fn is_tried_by(&self, cell: &CellRecord, bases: &[(String, String)]) -> bool {
        let moves = |value: Option<&str>| value.is_some_and(|value| value != self.base);
        let elsewhere =
            |(name, base): &(String, String)| *name == self.axis || cell.value(name) == Some(base);
        moves(cell.value(&self.axis)) && bases.iter().all(elsewhere)
    }
}

impl CellRecord {
    /// What tells this cell from others: its name, else its axes but for the model and for those at their base. `base` where
    /// nothing is left, empty where there are no bases either.
    pub fn variant(&self, bases: &[(String, String)]) -> String {
        if let Some(name) = &self.name {
            return name.name.clone();
        }
        let told = self.axes.iter().filter(|axis| axis.0 != "model" && !bases.contains(axis));
        let told: Vec<String> = told.map(|(name, value)| format!("{name} {value}")).collect();
        if told.is_empty() && !bases.is_empty() { "base".to_owned() } else { told.join(", ") }
    }
}
