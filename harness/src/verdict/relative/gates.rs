//! What a scenario says instead of a rule's own threshold.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes};

use super::comparison::{BufferChange, Metric};
use crate::record::{Allowance, CellRecord, Gate, GateMetric};

/// The gates that are for one cell, in the scenario's order; of several for the same metric the first counts.
pub(super) struct Gates<'a>(Vec<&'a Gate>);

/// What a shift may come to, by a gate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Allowed {
    /// In the unit of the shift.
    pub(super) threshold: f64,
    /// The gate.
    pub(super) gate: String,
}

impl<'a> Gates<'a> {
    /// Those of `gates` that are for `cell`.
    pub(super) fn of(gates: &'a [Gate], cell: &CellRecord) -> Gates<'a> {
        Gates(gates.iter().filter(|gate| cell.matches(&gate.when)).collect())
    }

    /// How much `metric` may be worse where it was `before`, if a gate says so.
    pub(super) fn allowed(&self, metric: Metric, before: f64) -> Option<Allowed> {
        let is_about = |gate: &GateMetric| match metric {
            Metric::PeakResident(_) => matches!(gate, GateMetric::Peak),
            Metric::PeakDevice(_) => matches!(gate, GateMetric::Device),
            Metric::Held(class) => matches!(gate, GateMetric::Class(of) if *of == class),
            Metric::LoadTime => matches!(gate, GateMetric::LoadTime),
            Metric::TimeToFirstToken => matches!(gate, GateMetric::Ttft | GateMetric::PrefillRate),
            Metric::TimePerOutputToken => matches!(gate, GateMetric::DecodeRate),
        };
        let gate = self.0.iter().find(|gate| is_about(&gate.metric))?;
        let threshold = match (gate.allow, gate.metric) {
            (Allowance::Bytes(bytes), _) => bytes.0 as f64,
            // A rate that is less by a part takes longer by more than that part.
            (Allowance::Share(part), GateMetric::DecodeRate | GateMetric::PrefillRate) => {
                1.0 / (1.0 - part) - 1.0
            }
            (Allowance::Share(part), _) if metric.is_time() => part,
            (Allowance::Share(part), _) => part * before,
        };
        Some(Allowed { threshold, gate: gate.id.clone() })
    }

    /// The classes that a gate of its own is about.
    pub(super) fn classes(&self) -> impl Iterator<Item = BufferClass> {
        let mut classes: Vec<BufferClass> = Vec::new();
        for gate in &self.0 {
            if let GateMetric::Class(class) = gate.metric
                && !classes.contains(&class)
            {
                classes.push(class);
            }
        }
        classes.into_iter()
    }

    /// Marks growth of buffers whose class, all of them together, grew by no more than a gate allows.
    pub(super) fn allow(&self, changes: &mut [BufferChange], before: &BTreeMap<String, Bytes>) {
        for gate in &self.0 {
            let GateMetric::Planned(class) = gate.metric else { continue };
            let growth: i64 =
                changes.iter().filter(|one| one.class == class).map(BufferChange::growth_bytes).sum();
            let of_class = before.iter().filter(|(key, _)| super::declared::class_of(key) == class);
            let most = match gate.allow {
                Allowance::Bytes(bytes) => bytes.0 as f64,
                Allowance::Share(part) => part * of_class.map(|(_, bytes)| *bytes).sum::<Bytes>().0 as f64,
            };
            for change in
                changes.iter_mut().filter(|change| change.class == class && change.growth_bytes() > 0)
            {
                if growth as f64 <= most {
                    change.allowed_by.get_or_insert_with(|| gate.id.clone());
                }
            }
        }
    }
}
