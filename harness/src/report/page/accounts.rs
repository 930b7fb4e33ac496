//! Plan, ledger and kernel at each phase edge, as a table.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes};
use serde::Serialize;

use crate::number::{Shown, cell, grouped, mib, signed_mib};
use crate::record::{PhaseRecord, Reading, TrialRecord};
use crate::report::svg::palette::Kind;
use crate::verdict::evidence::planned_in;

/// The table: a row a class, and under them what the kernel says.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Accounts {
    phases: Vec<&'static str>,
    classes: Vec<ClassRow>,
    sums: Vec<SumRow>,
    /// Every reason behind an `n/a`, once.
    unread: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct ClassRow {
    name: &'static str,
    swatch: String,
    /// Plan and ledger of each phase.
    edges: Vec<(Shown, Shown)>,
}

#[derive(Debug, Clone, Serialize)]
struct SumRow {
    name: &'static str,
    strong: bool,
    edges: Vec<Shown>,
}

impl Accounts {
    pub(super) fn of(trial: &TrialRecord) -> Accounts {
        let planned: Vec<Option<BTreeMap<BufferClass, Bytes>>> =
            trial.phases.iter().map(|phase| planned_in(trial, phase.phase)).collect();
        let held = |class: BufferClass| {
            let in_plan = planned.iter().flatten().any(|plan| plan.contains_key(&class));
            let ledgers = trial.phases.iter().filter_map(|phase| phase.end.by_class_bytes.measured());
            in_plan || ledgers.into_iter().any(|ledger| ledger.get(&class).is_some_and(|bytes| bytes.0 > 0))
        };
        let classes: Vec<ClassRow> = BufferClass::ALL
            .iter()
            .copied()
            .filter(|class| held(*class))
            .map(|class| ClassRow {
                name: class.name(),
                swatch: Kind::Class(class).swatch(),
                edges: trial
                    .phases
                    .iter()
                    .zip(&planned)
                    .map(|(phase, plan)| edge(class, phase, plan))
                    .collect(),
            })
            .collect();
        let mut accounts = Accounts {
            phases: trial.phases.iter().map(|phase| phase.phase.name()).collect(),
            classes,
            sums: sums(trial),
            unread: Vec::new(),
        };
        accounts.collect_reasons();
        accounts
    }

    fn collect_reasons(&mut self) {
        let mut by_reason: Vec<(&str, Vec<&str>, Vec<&str>)> = Vec::new();
        for row in &self.sums {
            for (phase, shown) in self.phases.iter().zip(&row.edges) {
                let Some(why) = shown.why.as_deref() else { continue };
                if by_reason.iter().all(|(known, ..)| *known != why) {
                    by_reason.push((why, Vec::new(), Vec::new()));
                }
                let Some((_, rows, phases)) = by_reason.iter_mut().find(|(known, ..)| *known == why) else {
                    continue;
                };
                if !rows.contains(&row.name) {
                    rows.push(row.name);
                }
                if !phases.contains(phase) {
                    phases.push(phase);
                }
            }
        }
        let sentence = |(why, rows, phases): &(&str, Vec<&str>, Vec<&str>)| {
            let what = if rows.len() > 3 { format!("{} readings", rows.len()) } else { rows.join(", ") };
            format!("{what} after {}: {why}", phases.join(", "))
        };
        let unread = by_reason.iter().map(sentence).collect();
        self.unread = unread;
    }
}

fn edge(
    class: BufferClass,
    phase: &PhaseRecord,
    plan: &Option<BTreeMap<BufferClass, Bytes>>,
) -> (Shown, Shown) {
    let or_nothing = |bytes: Option<&Bytes>| match bytes {
        Some(bytes) if bytes.0 > 0 => mib(*bytes),
        _ => "–".to_owned(),
    };
    let is_measured_only = matches!(class, BufferClass::Program | BufferClass::DeviceContext);
    let planned = match plan {
        Some(plan) if !is_measured_only => Shown::plain(or_nothing(plan.get(&class))),
        _ => Shown::plain(""),
    };
    (planned, cell(&phase.end.by_class_bytes, |ledger| or_nothing(ledger.get(&class))))
}

fn sums(trial: &TrialRecord) -> Vec<SumRow> {
    let row = |name, strong, read: &dyn Fn(&PhaseRecord) -> Shown| SumRow {
        name,
        strong,
        edges: trial.phases.iter().map(read).collect(),
    };
    let share = |phase: &PhaseRecord| match (&phase.end.unaccounted_bytes, &phase.end.resident) {
        (Reading::Measured(bytes), Reading::Measured(resident)) if resident.total().0 > 0 => {
            Shown::plain(grouped(*bytes as f64 * 100.0 / resident.total().0 as f64, 2))
        }
        (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => {
            Shown { text: "n/a".to_owned(), why: Some(why.clone()) }
        }
        _ => Shown::plain("–"),
    };
    vec![
        row("ledger, all classes", false, &|phase| {
            cell(&phase.end.by_class_bytes, |ledger| mib(ledger.values().copied().sum()))
        }),
        row("measured resident", true, &|phase| cell(&phase.end.resident, |resident| mib(resident.total()))),
        row("unaccounted", false, &|phase| cell(&phase.end.unaccounted_bytes, |bytes| signed_mib(*bytes))),
        row("unaccounted, %", false, &share),
        row("peak within the phase", true, &|phase| cell(&phase.peak_resident_bytes, |bytes| mib(*bytes))),
        row("anonymous", false, &|phase| cell(&phase.end.resident, |resident| mib(resident.anonymous_bytes))),
        row("mapped files", false, &|phase| cell(&phase.end.resident, |resident| mib(resident.file_bytes))),
        row("shared memory", false, &|phase| {
            cell(&phase.end.resident, |resident| mib(resident.shared_bytes))
        }),
        row("proportional set", false, &|phase| cell(&phase.end.proportional_bytes, |bytes| mib(*bytes))),
        row("swapped out", false, &|phase| cell(&phase.end.swap_bytes, |bytes| mib(*bytes))),
        row("GPU", false, &|phase| cell(&phase.end.gpu_bytes, |bytes| mib(*bytes))),
    ]
}
