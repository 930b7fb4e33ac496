//! A budget on growth held against one cell: what a token more takes, what leaks, what drifts.
//!
//! Limits of such a budget are for one step: a token, a minute, a request. Held against a cell they are multiplied by the steps that
//! were seen, so that its result is in bytes like any other.

use ledger::{BufferClass, Bytes, Phase};

use super::Word;
use super::budget::{Amount, Budget, Limit, Subject};
use super::evidence::context_in;
use super::growth::{Growing, LEAST_GROWTH, watched};
use super::held::{BudgetResult, summary};
use super::observe::{class_bytes, ending, observe};
use crate::number::mib;
use crate::record::{CellRecord, GrowthOf, GrowthPer, Reading, RecordedTrial, Run};
use crate::scenario::magnitude;

/// What has grown, and over how many steps.
#[derive(Debug, Clone, Copy)]
struct Grown {
    bytes: Bytes,
    /// Tokens, minutes or requests.
    steps: f64,
    trial: u32,
    phase: Option<Phase>,
}

impl Grown {
    fn each(&self) -> f64 {
        self.bytes.0 as f64 / self.steps
    }

    /// What a limit for one step allows over all of them.
    fn allowed(&self, limit: Limit) -> Bytes {
        Bytes((limit.bytes_of(Bytes(u64::MAX)).0 as f64 * self.steps) as u64)
    }
}

/// What was seen of a growth, and why more was not.
#[derive(Debug, Default)]
struct Seen {
    worst: Option<Grown>,
    missing: Vec<String>,
}

impl Seen {
    fn take(&mut self, grown: Grown) {
        if self.worst.is_none_or(|worst| grown.each() > worst.each()) {
            self.worst = Some(grown);
        }
    }
}

/// Holds `budget`, which is about growth, against `cell`. `None` where it is about another subject, or where the cell is the one
/// that others are held against.
pub fn hold_growth(budget: &Budget, run: &Run, cell: &CellRecord) -> Option<BudgetResult> {
    let expected = run.record.trials_per_cell;
    let mut seen = Seen::default();
    let trials = usable(run, cell, expected, &mut seen.missing);
    let what = match budget.subject {
        Subject::Growth(of, GrowthPer::Context, phase) => {
            let GrowthOf::Class(class) = of else { return None };
            for trial in &trials {
                with_context(trial, class, phase, &mut seen);
            }
            "token"
        }
        Subject::Growth(of, per, phase) => {
            let (base, steps) = below(run, cell, per.axis()?, budget)?;
            let of = Budget { subject: single(of, phase), ..budget.clone() };
            let base = usable(run, base, expected, &mut seen.missing);
            let before = worst(&base, &of, &mut seen.missing);
            let after = worst(&trials, &of, &mut seen.missing);
            if let (Some((before, ..)), Some((bytes, trial, phase))) = (before, after) {
                seen.take(Grown { bytes: bytes.saturating_sub(before), steps, trial, phase });
            }
            "token"
        }
        Subject::Leak(phase) => {
            for trial in &trials {
                steadily(trial, Growing::Leak, phase, budget, &mut seen);
            }
            "minute"
        }
        Subject::Drift => {
            for trial in &trials {
                steadily(trial, Growing::Drift, None, budget, &mut seen);
            }
            "request"
        }
        _ => return None,
    };
    Some(decide(budget, &seen, what))
}

fn decide(budget: &Budget, seen: &Seen, step: &str) -> BudgetResult {
    let allowed = |limit: Option<Limit>| Some(seen.worst?.allowed(limit?));
    let exceeded = |limit: Option<Limit>| {
        seen.worst.zip(allowed(limit)).is_some_and(|(worst, allowed)| worst.bytes > allowed)
    };
    let over = |limit: Option<Limit>| {
        let (worst, limit) = seen.worst.zip(limit)?;
        Some(format!(
            "grew by {} MiB, {:.0} B a {step}; {} B are allowed",
            mib(worst.bytes),
            worst.each(),
            limit.bytes_of(Bytes(u64::MAX)).0
        ))
    };
    let (word, reason) = if exceeded(budget.fail) {
        (Word::Fail, over(budget.fail))
    } else if !seen.missing.is_empty() || seen.worst.is_none() {
        (Word::Inconclusive, Some(summary(&seen.missing)))
    } else if exceeded(budget.warn) {
        (Word::Warn, over(budget.warn))
    } else {
        (Word::Pass, None)
    };
    let limit = |limit: Option<Limit>| allowed(limit).map(Limit::Bytes);
    BudgetResult {
        id: budget.id.clone(),
        subject: budget.subject,
        word,
        reason,
        measured: match seen.worst {
            Some(worst) => Reading::Measured(Amount { bytes: worst.bytes, of: worst.bytes }),
            None => Reading::Unavailable(summary(&seen.missing)),
        },
        is_lower_bound: false,
        trial: seen.worst.map(|worst| worst.trial),
        phase: seen.worst.and_then(|worst| worst.phase),
        warn: limit(budget.warn),
        fail: limit(budget.fail),
        margin_bytes: seen
            .worst
            .and_then(|worst| Some(worst.allowed(budget.decisive()?).signed_difference(worst.bytes))),
        responsible: None,
    }
}

/// The trials of `cell` that say something; what the others lack goes to `missing`.
fn usable<'r>(
    run: &'r Run,
    cell: &CellRecord,
    expected: u32,
    missing: &mut Vec<String>,
) -> Vec<&'r RecordedTrial> {
    let mut usable = Vec::new();
    let mut recorded: u64 = 0;
    for trial in run.trials_of(&cell.id) {
        recorded += 1;
        let number = trial.record.trial;
        let of = cell.describe();
        if let Some(why) = trial.record.inconclusive() {
            missing.push(format!("trial {number} of {of} {why}"));
        } else if let Some(ending) = ending(&trial.record) {
            missing.push(format!("trial {number} of {of} {ending}"));
        } else {
            usable.push(trial);
        }
    }
    if recorded < u64::from(expected.max(1)) {
        missing.push(format!("{recorded} of {expected} trials of {} were recorded", cell.describe()));
    }
    usable
}

/// The cell that differs from `cell` in `axis` alone, with the next smaller value, and how much smaller that is.
fn below<'r>(run: &'r Run, cell: &CellRecord, axis: &str, budget: &Budget) -> Option<(&'r CellRecord, f64)> {
    let place = |cell: &CellRecord| cell.value(axis).and_then(|value| magnitude(axis, value));
    let own = place(cell)?;
    let is_alike = |other: &CellRecord| {
        let axes = cell.axes.iter().chain(&other.axes).map(|(name, _)| name.as_str());
        axes.chain(["model", "target"])
            .filter(|name| *name != axis)
            .all(|name| other.value(name) == cell.value(name))
    };
    let candidates = run.record.cells.iter().filter(|other| budget.is_for(other) && is_alike(other));
    let smaller = candidates.filter_map(|other| Some((other, place(other).filter(|place| *place < own)?)));
    smaller.max_by_key(|(_, place)| *place).map(|(other, place)| (other, (own - place) as f64))
}

/// What a single cell is read for.
fn single(of: GrowthOf, phase: Option<Phase>) -> Subject {
    match (of, phase) {
        (GrowthOf::Total, None) => Subject::Total,
        (GrowthOf::Total, Some(phase)) => Subject::PhasePeak(phase),
        (GrowthOf::Device, phase) => Subject::Device(phase),
        (GrowthOf::HostAndDevice, phase) => Subject::HostAndDevice(phase),
        (GrowthOf::Class(class), phase) => Subject::Class(class, phase),
    }
}

/// The most of any trial, with the trial and the phase.
fn worst(
    trials: &[&RecordedTrial],
    budget: &Budget,
    missing: &mut Vec<String>,
) -> Option<(Bytes, u32, Option<Phase>)> {
    let mut most: Option<(Bytes, u32, Option<Phase>)> = None;
    for trial in trials {
        let seen = observe(trial, budget);
        missing.extend(seen.missing);
        if let Some((amount, phase)) = seen.worst
            && most.is_none_or(|(bytes, ..)| amount.bytes > bytes)
        {
            most = Some((amount.bytes, trial.record.trial, phase));
        }
    }
    most
}

/// From the end of load, where no sequence is open, to the end of the phase with the longest one, or of `phase`.
fn with_context(trial: &RecordedTrial, class: BufferClass, phase: Option<Phase>, seen: &mut Seen) {
    let record = &trial.record;
    let edge = |wanted: Phase| record.phases.iter().find(|edge| edge.phase == wanted);
    let mut missing = |why: String| seen.missing.push(format!("trial {}: {why}", record.trial));
    let asked: Vec<Phase> = phase.map_or_else(|| vec![Phase::Prefill, Phase::Decode], |phase| vec![phase]);
    let lengths = asked.into_iter().filter_map(|phase| Some((edge(phase)?, context_in(record, phase)?.0)));
    let Some((last, tokens)) = lengths.filter(|(_, tokens)| *tokens > 0).max_by_key(|(_, tokens)| *tokens)
    else {
        return missing("no request tells how long its sequence was".to_owned());
    };
    let Some(load) = edge(Phase::Load) else { return missing("it did not reach load".to_owned()) };
    match (class_bytes(record, load, class), class_bytes(record, last, class)) {
        (Reading::Measured(before), Reading::Measured(after)) => seen.take(Grown {
            bytes: after.bytes.saturating_sub(before.bytes),
            steps: f64::from(tokens),
            trial: record.trial,
            phase: Some(last.phase),
        }),
        (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => missing(why),
    }
}

/// What grows steadily. A watch in which the limit comes to less than can be told from nothing clears no budget.
fn steadily(trial: &RecordedTrial, kind: Growing, phase: Option<Phase>, budget: &Budget, seen: &mut Seen) {
    let number = trial.record.trial;
    let is_meant = |at: Phase| phase.is_none_or(|phase| phase == at);
    let watches: Vec<_> = watched(trial)
        .into_iter()
        .filter(|watched| watched.kind == kind && is_meant(watched.phase))
        .collect();
    if watches.is_empty() {
        seen.missing.push(format!("trial {number} was not watched for long enough to see it"));
    }
    for watched in watches {
        let steps = match kind {
            Growing::Leak => watched.over / 60.0,
            Growing::Drift => watched.over,
        };
        let growth = watched.growth(Bytes(1));
        let bytes = growth.map_or(Bytes::ZERO, |growth| growth.total_bytes);
        let grown = Grown { bytes, steps, trial: number, phase: Some(watched.phase) };
        let limits = [budget.warn, budget.fail].into_iter().flatten();
        let least = limits.map(|limit| grown.allowed(limit)).min().unwrap_or_default();
        if bytes == Bytes::ZERO && least < LEAST_GROWTH {
            seen.missing.push(format!(
                "trial {number}, {}: the limit comes to {} MiB over what was watched, and less than {} MiB cannot be told from \
                 nothing: watch {:.0} times as long",
                watched.phase,
                mib(least),
                mib(LEAST_GROWTH),
                (LEAST_GROWTH.0 as f64 / least.0.max(1) as f64).ceil()
            ));
        }
        seen.take(grown);
    }
}
