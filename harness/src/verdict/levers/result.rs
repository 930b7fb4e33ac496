//! One lever at one value, judged.

use ledger::{Bytes, Phase};
use schemars::JsonSchema;
use serde::Serialize;

use super::pair::{Pair, pairs};
use super::price::Price;
use super::rule::{LeverWord, decide, tolerance};
use crate::number::mib;
use crate::record::{CellId, CellRecord, LeverMetric, Reading, Run, schema};
use crate::verdict::{CellVerdict, device, evidence};

/// A number without the lever and with it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// In the base cell.
    #[schemars(with = "schema::Reading<f64>")]
    pub before: Reading<f64>,
    /// In the cell that tries the lever.
    #[schemars(with = "schema::Reading<f64>")]
    pub after: Reading<f64>,
}

/// What a lever came to at one value.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LeverResult {
    /// Model and axes of the grid, in words: what both cells have in common.
    pub group: String,
    /// The axis.
    pub axis: String,
    /// Its base value.
    pub base: String,
    /// Its value here.
    pub value: String,
    /// What it is expected to move.
    pub metric: LeverMetric,
    /// Why it matters, where the scenario says so.
    pub why: Option<String>,
    /// The cell that tries it.
    pub cell: CellId,
    /// The cell that it is held against, where the run has it.
    pub base_cell: Option<CellId>,
    /// How it did.
    pub word: LeverWord,
    /// What the word alone does not say.
    pub reason: Option<String>,
    /// By how much the plan's peak changes: below zero is saved.
    #[schemars(with = "schema::Reading<i64>")]
    pub expected_bytes: Reading<i64>,
    /// By how much the measured peak changes.
    #[schemars(with = "schema::Reading<i64>")]
    pub measured_bytes: Reading<i64>,
    /// What the program's own memory may move.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub tolerance_bytes: Reading<Bytes>,
    /// Prompt tokens per second.
    pub prefill_tokens_per_second: Change,
    /// Output tokens per second.
    pub decode_tokens_per_second: Change,
    /// Mean KL divergence from the exact path, in nats. `None` where neither cell was scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_kl_nats: Option<Change>,
    /// What memory was exchanged for.
    pub price: Price,
    /// True where a number depends on synthetic weights.
    pub synthetic_weights: bool,
}

impl LeverResult {
    /// The lever in words: `mtp: false → true`, with the phase where it is about one.
    pub fn label(&self) -> String {
        let phase = match self.metric {
            LeverMetric::Peak => String::new(),
            LeverMetric::Phase(phase) => format!(", peak of {phase}"),
        };
        format!("{}: {} → {}{phase}", self.axis, self.base, self.value)
    }
}

/// Judges every lever of the run by its cells, grouped by what they have in common, in the order of the run.
pub fn judge_levers(run: &Run, cells: &[CellVerdict]) -> Vec<LeverResult> {
    let mut results: Vec<LeverResult> =
        pairs(&run.record).into_iter().map(|pair| judge_pair(run, cells, pair)).collect();
    let mut groups: Vec<String> = Vec::new();
    for result in &results {
        if !groups.contains(&result.group) {
            groups.push(result.group.clone());
        }
    }
    results.sort_by_key(|result| groups.iter().position(|group| *group == result.group));
    results
}

/// One of the two cells: planned and measured, in the lever's own measure.
struct Side<'a> {
    verdict: Option<&'a CellVerdict>,
    planned: Reading<Bytes>,
    measured: Reading<Bytes>,
    swapped: Bytes,
}

impl<'a> Side<'a> {
    fn of(run: &Run, cells: &'a [CellVerdict], cell: &CellRecord, metric: LeverMetric) -> Side<'a> {
        let verdict = cells.iter().find(|verdict| verdict.cell == cell.id);
        let (planned, measured) = match metric {
            LeverMetric::Peak => (
                verdict.map_or_else(nothing, |verdict| verdict.planned_peak_bytes.clone()),
                verdict.map_or_else(nothing, known_peak),
            ),
            LeverMetric::Phase(phase) => in_phase(run, cell, phase),
        };
        let swapped = run.trials_of(&cell.id).map(evidence::peak_swapped).max().unwrap_or_default();
        Side { verdict, planned, measured, swapped }
    }

    /// Why this cell cannot stand for its configuration.
    fn incomplete(&self) -> Option<String> {
        let verdict = self.verdict?;
        let reason = || verdict.reason.clone().unwrap_or_else(|| verdict.word.to_string());
        if verdict.word.is_incomplete() {
            return Some(format!("{}: {}", verdict.label, reason()));
        }
        let disturbed = verdict.inconclusive_trials.first()?;
        let why = disturbed.reasons.join("; ");
        Some(format!("{}: trial {} is inconclusive: {why}", verdict.label, disturbed.trial))
    }

    fn speed(&self, of: impl Fn(&CellVerdict) -> &Reading<f64>) -> Reading<f64> {
        self.verdict.map_or_else(nothing, |verdict| of(verdict).clone())
    }
}

fn nothing<T>() -> Reading<T> {
    Reading::Unavailable("the cell is not in this run".to_owned())
}

/// What a cell held at most. A lower bound is no value: the difference of two of them could be anything.
fn known_peak(verdict: &CellVerdict) -> Reading<Bytes> {
    match verdict.held_lower_bound() {
        Some(why) => Reading::Unavailable(format!("{}, {why}", verdict.label)),
        None => verdict.held_peak().clone(),
    }
}

/// The most that is planned and that was measured in `phase`, over the trials of `cell`.
fn in_phase(run: &Run, cell: &CellRecord, phase: Phase) -> (Reading<Bytes>, Reading<Bytes>) {
    let missing = |why: &str| Reading::Unavailable(format!("{why} {phase}"));
    let trials = || run.trials_of(&cell.id).map(|trial| &trial.record);
    let planned = trials().filter_map(|trial| evidence::planned_in(trial, phase));
    let planned = planned.map(|classes| classes.values().copied().sum::<Bytes>()).max();
    let mut measured = None;
    for trial in run.trials_of(&cell.id) {
        for record in trial.record.phases.iter().filter(|record| record.phase == phase) {
            if let Some(why) = device::held_lower_bound(trial, record) {
                let number = trial.record.trial;
                let why = format!("trial {number}, {phase}: the peak is a lower bound: {why}");
                return (planned_or(planned, missing), Reading::Unavailable(why));
            }
            measured = measured.max(device::held_in(trial, record).measured().copied());
        }
    }
    (
        planned_or(planned, missing),
        measured.map_or_else(|| missing("no trial has a peak of"), Reading::Measured),
    )
}

fn planned_or(planned: Option<Bytes>, missing: impl Fn(&str) -> Reading<Bytes>) -> Reading<Bytes> {
    planned.map_or_else(|| missing("no trial has a plan and a context for"), Reading::Measured)
}

fn difference(from: &Reading<Bytes>, to: &Reading<Bytes>) -> Reading<i64> {
    match (from, to) {
        (Reading::Measured(from), Reading::Measured(to)) => Reading::Measured(to.signed_difference(*from)),
        (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => Reading::Unavailable(why.clone()),
    }
}

fn judge_pair(run: &Run, cells: &[CellVerdict], pair: Pair<'_>) -> LeverResult {
    let Pair { lever, cell, base } = pair;
    let after = Side::of(run, cells, cell, lever.metric);
    let before = base.map(|base| Side::of(run, cells, base, lever.metric));
    let change = |of: fn(&CellVerdict) -> &Reading<f64>| Change {
        before: before.as_ref().map_or_else(nothing, |side| side.speed(of)),
        after: after.speed(of),
    };
    let (expected, measured) = match &before {
        Some(before) => {
            (difference(&before.planned, &after.planned), difference(&before.measured, &after.measured))
        }
        None => (nothing(), nothing()),
    };
    let divergence = |side: Option<&Side<'_>>| match side.and_then(|side| side.verdict?.quality.as_ref()) {
        Some(quality) => quality.clone().map(|reading| reading.mean_kl_nats),
        None => Reading::Unavailable("the cell was not scored".to_owned()),
    };
    let scored = Change { before: divergence(before.as_ref()), after: divergence(Some(&after)) };
    let is_scored = scored.before.measured().or(scored.after.measured()).is_some();
    let decode = change(|verdict| &verdict.decode_tokens_per_second);
    let (word, reason) = match &before {
        None => (LeverWord::Inconclusive, Some(missing_base(pair))),
        Some(before) => word_of(before, &after, &expected, &measured, lever.works_above),
    };
    LeverResult {
        group: pair.group(&run.record.bases),
        axis: lever.axis.clone(),
        base: lever.base.clone(),
        value: cell.value(&lever.axis).unwrap_or_default().to_owned(),
        metric: lever.metric,
        mean_kl_nats: is_scored.then_some(scored),
        why: lever.why.clone(),
        cell: cell.id.clone(),
        base_cell: base.map(|base| base.id.clone()),
        tolerance_bytes: match &expected {
            Reading::Measured(expected) => Reading::Measured(tolerance(*expected)),
            Reading::Unavailable(why) => Reading::Unavailable(why.clone()),
        },
        prefill_tokens_per_second: change(|verdict| &verdict.prefill_tokens_per_second),
        price: match (word, &reason) {
            (LeverWord::Inconclusive, Some(why)) => Price::Unknown(why.clone()),
            _ => Price::of(&measured, &decode.before, &decode.after),
        },
        decode_tokens_per_second: decode,
        word,
        reason,
        expected_bytes: expected,
        measured_bytes: measured,
        synthetic_weights: cell.synthetic_weights,
    }
}

fn missing_base(pair: Pair<'_>) -> String {
    format!(
        "this run has no cell of {} with {} {} and all else the same",
        pair.cell.model, pair.lever.axis, pair.lever.base
    )
}

/// What was not measured, or not whole, decides nothing.
fn word_of(
    before: &Side<'_>,
    after: &Side<'_>,
    expected: &Reading<i64>,
    measured: &Reading<i64>,
    works_above: f64,
) -> (LeverWord, Option<String>) {
    if let Some(why) = before.incomplete().or_else(|| after.incomplete()) {
        return (LeverWord::Inconclusive, Some(why));
    }
    let (expected, measured) = match (expected, measured) {
        (Reading::Measured(expected), Reading::Measured(measured)) => (*expected, *measured),
        (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => {
            return (LeverWord::Inconclusive, Some(why.clone()));
        }
    };
    let swapped = before.swapped.max(after.swapped);
    if swapped > tolerance(expected) {
        let why = format!("up to {} MiB were swapped out, which may have moved the peaks", mib(swapped));
        return (LeverWord::Inconclusive, Some(why));
    }
    decide(expected, measured, works_above)
}
