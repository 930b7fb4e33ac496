//! From what each rule says to one word a cell.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes, Phase};

use super::comparison::{BufferChange, Comparison, Metric, Shift};
use super::gates::{Allowed, Gates};
use super::{declared, paired, pool, resident};
use crate::baseline::LockedCell;
use crate::verdict::Word;
use crate::verdict::statistics::median;

/// Phases whose peaks are compared. Before the load nothing of the model is there, and what is held afterwards was held before.
const PHASES: [Phase; 3] = [Phase::Load, Phase::Prefill, Phase::Decode];

/// A cell that the baseline does not have: it decides nothing.
pub(super) fn unknown() -> Comparison {
    Comparison { notes: vec!["the baseline does not have this cell".to_owned()], ..nothing() }
}

/// A cell of which there is nothing to compare.
pub(super) fn unmeasured() -> Comparison {
    let why = "no trial of it ran to its end undisturbed, so nothing is held against the baseline";
    Comparison { word: Some(Word::Inconclusive), reason: Some(why.to_owned()), ..nothing() }
}

/// A cell that was measured under other conditions.
pub(super) fn incomparable(differences: Vec<String>) -> Comparison {
    let reason = differences.first().map(|first| match differences.len() {
        1 => first.clone(),
        many => format!("{first} (and {} more fields)", many - 1),
    });
    Comparison { word: Some(Word::Incomparable), reason, differences, ..nothing() }
}

fn nothing() -> Comparison {
    Comparison {
        word: None,
        reason: None,
        differences: Vec::new(),
        buffers: Vec::new(),
        declared: None,
        shifts: Vec::new(),
        notes: Vec::new(),
    }
}

/// Times of the pairs of a cell, before and after.
pub(super) type Pairs = Vec<(Metric, Vec<f64>, Vec<f64>)>;

/// What every rule says, before chance is taken into account: the word is still missing.
pub(super) fn measure(
    before: &LockedCell,
    after: &LockedCell,
    pairs: Option<Pairs>,
    gates: &Gates<'_>,
) -> Comparison {
    let allowed = |metric: Metric, before: &[f64]| gates.allowed(metric, median(before)?);
    let mut shifts: Vec<Shift> = Vec::new();
    for phase in PHASES {
        let growth = grown_most(before, after, phase);
        let sides = |of: fn(&LockedCell) -> &BTreeMap<Phase, Vec<Bytes>>| {
            [before, after].map(|cell| of(cell).get(&phase).map(|trials| floats(trials)).unwrap_or_default())
        };
        let [was, is] = sides(|cell| &cell.peak_resident_bytes);
        let metric = Metric::PeakResident(phase);
        let resident = resident::moved(metric, &was, &is, allowed(metric, &was));
        let [was, is] = sides(|cell| &cell.peak_device_bytes);
        let metric = Metric::PeakDevice(phase);
        let device = pool::step(metric, &was, &is, allowed(metric, &was));
        let found = resident.into_iter().chain(device);
        shifts
            .extend(found.map(|shift| Shift { responsible: growth.filter(|_| shift.shift > 0.0), ..shift }));
    }
    shifts.extend(gates.classes().filter_map(|class| held(class, before, after, gates)));
    match pairs {
        Some(pairs) => shifts.extend(
            pairs
                .iter()
                .filter_map(|(metric, was, is)| paired::changed(*metric, was, is, allowed(*metric, was))),
        ),
        None => {
            let (was, is) = (&before.times, &after.times);
            let times = [
                (Metric::LoadTime, &was.load_ms, &is.load_ms),
                (Metric::TimeToFirstToken, &was.time_to_first_token_ms, &is.time_to_first_token_ms),
                (Metric::TimePerOutputToken, &was.time_per_output_token_ms, &is.time_per_output_token_ms),
            ];
            shifts.extend(times.iter().filter_map(|(metric, was, is)| paired::unpaired(*metric, was, is)));
        }
    }
    let mut notes = Vec::new();
    if before.declared_bytes.is_empty() != after.declared_bytes.is_empty() {
        let side = if after.declared_bytes.is_empty() { "here" } else { "in the baseline" };
        notes.push(format!("no buffer is declared {side}, so buffers are not compared"));
    }
    let declared = declared::total(&before.declared_bytes, &after.declared_bytes);
    let mut buffers = match declared {
        Some(_) => declared::changes(&before.declared_bytes, &after.declared_bytes),
        None => Vec::new(),
    };
    gates.allow(&mut buffers, &before.declared_bytes);
    Comparison { buffers, declared, shifts, notes, ..nothing() }
}

/// What `class` held at its most, by the ledger's account and therefore without noise, against what a gate allows. `None` where
/// a side does not say what it held by class.
fn held(class: BufferClass, before: &LockedCell, after: &LockedCell, gates: &Gates<'_>) -> Option<Shift> {
    let most = |cell: &LockedCell| {
        let edges = cell.held_bytes.values();
        edges
            .map(|classes| classes.get(&class).copied().unwrap_or_default())
            .max()
            .map(|bytes| bytes.0 as f64)
    };
    let (was, is) = (most(before)?, most(after)?);
    let Allowed { threshold, gate } = gates.allowed(Metric::Held(class), was)?;
    let word = Some(if is - was > threshold { Word::Regression } else { Word::Pass });
    let unjudged = Shift::new(Metric::Held(class), (1, 1), [was, is], is - was, threshold);
    Some(Shift { word, gate: Some(gate), ..unjudged })
}

/// The class that grew most at the end of `phase`.
fn grown_most(before: &LockedCell, after: &LockedCell, phase: Phase) -> Option<(BufferClass, i64)> {
    let (was, is) = (before.held_bytes.get(&phase)?, after.held_bytes.get(&phase)?);
    let growth = is
        .iter()
        .map(|(class, bytes)| (*class, bytes.signed_difference(was.get(class).copied().unwrap_or_default())));
    growth.filter(|(_, growth)| *growth > 0).max_by_key(|(_, growth)| *growth)
}

fn floats(bytes: &[Bytes]) -> Vec<f64> {
    bytes.iter().map(|bytes| bytes.0 as f64).collect()
}

/// Gives `comparison` its word.
pub(super) fn decide(comparison: &mut Comparison) {
    let mut said: Vec<(Word, Option<String>)> = Vec::new();
    if let Some(total) = comparison.declared {
        let grown: Vec<&BufferChange> = comparison
            .buffers
            .iter()
            .filter(|change| change.growth_bytes() > 0 && change.allowed_by.is_none())
            .collect();
        let shrank = total.before_bytes.saturating_sub(total.after_bytes);
        said.push(match grown.as_slice() {
            [] if shrank >= declared::GRANULE => {
                let least = comparison.buffers.last().map(BufferChange::sentence);
                (Word::Improved, least)
            }
            [] => (Word::Pass, None),
            [only] => (Word::Regression, Some(only.sentence())),
            [first, rest @ ..] => {
                (Word::Regression, Some(format!("{} (and {} more)", first.sentence(), rest.len())))
            }
        });
    }
    for shift in &comparison.shifts {
        if let Some(word) = shift.word {
            said.push((word, (word != Word::Pass).then(|| shift.sentence())));
        }
    }
    let mut undecided: Vec<String> = Vec::new();
    for shift in comparison.shifts.iter().filter(|shift| shift.word.is_none() && !shift.metric.is_time()) {
        let why = shift.reason.clone().unwrap_or_default();
        if !undecided.contains(&why) {
            undecided.push(why);
        }
    }
    let is_decided = !said.is_empty();
    comparison.notes.extend(undecided.into_iter().map(|why| format!("memory that was measured: {why}")));
    if !is_decided {
        let why = comparison.notes.first().cloned();
        said.push((Word::Inconclusive, why.or_else(|| Some("nothing is known on both sides".to_owned()))));
    }
    // The first of the worst: buffers before what was measured.
    let worst = said.into_iter().rev().max_by_key(|(word, _)| *word);
    if let Some((word, reason)) = worst {
        (comparison.word, comparison.reason) = (Some(word), reason);
    }
}
