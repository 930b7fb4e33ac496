//! Every cell of a run, held against a baseline or against another run.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::comparison::{Comparison, Metric, Shift};
use super::gates::Gates;
use super::{chance, decide};
use crate::baseline::{Baseline, LockedCell, cell_key, locked_cell};
use crate::record::{CellId, CellRecord, Run, TrialRecord};
use crate::verdict::{ExitCode, Word, cell};

/// Version of the JSON form of [`RunComparison`].
const FORMAT_VERSION: u32 = 1;

/// Two runs, held against each other: what `sweep compare --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunComparison {
    /// Version of this form.
    pub format_version: u32,
    /// Name of the run that the other is held against.
    pub before: String,
    /// Name of the run that is judged.
    pub after: String,
    /// True where trials are pairs, so that times are judged.
    pub paired: bool,
    /// The worst word of all cells.
    pub word: Word,
    /// What the process answers.
    pub exit_code: ExitCode,
    /// Every cell of the run that is judged, worst first.
    pub cells: Vec<ComparedCell>,
    /// Cells that it does not have, and the other has.
    pub gone: Vec<String>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedCell {
    /// The cell.
    pub cell: CellId,
    /// Model and axes as one line.
    pub label: String,
    /// What came of it.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// Holds every cell of `run` against `before`, which has cells by [`cell_key`], in the order of the run. `paired_with` is the run
/// whose trials make pairs with those of this one.
pub fn compare(
    run: &Run,
    before: &BTreeMap<String, LockedCell>,
    paired_with: Option<&Run>,
) -> Vec<ComparedCell> {
    let mut cells: Vec<ComparedCell> = run
        .record
        .cells
        .iter()
        .map(|cell| ComparedCell {
            cell: cell.id.clone(),
            label: cell::label(cell, &cell.variant(&run.record.bases)),
            comparison: compare_cell(run, cell, before, paired_with),
        })
        .collect();
    let mut shifts: Vec<&mut Shift> =
        cells.iter_mut().flat_map(|cell| cell.comparison.shifts.iter_mut()).collect();
    chance::adjust(&mut shifts);
    for cell in &mut cells {
        if cell.comparison.word.is_none() && before.contains_key(&key_of(run, &cell.cell)) {
            decide::decide(&mut cell.comparison);
        }
    }
    cells
}

fn key_of(run: &Run, id: &CellId) -> String {
    run.record.cells.iter().find(|cell| cell.id == *id).map(cell_key).unwrap_or_default()
}

fn compare_cell(
    run: &Run,
    cell: &CellRecord,
    before: &BTreeMap<String, LockedCell>,
    paired_with: Option<&Run>,
) -> Comparison {
    let Some(before) = before.get(&cell_key(cell)) else { return decide::unknown() };
    let Some(after) = locked_cell(run, cell) else { return decide::unmeasured() };
    let differences = before.fingerprint.differences(&after.fingerprint);
    if !differences.is_empty() {
        return decide::incomparable(differences);
    }
    let gates = Gates::of(&run.record.gates, cell);
    decide::measure(before, &after, paired_with.map(|other| pairs(other, run, cell)), &gates)
}

/// How a time is read from a trial, in milliseconds.
type Time = fn(&TrialRecord) -> Option<f64>;

/// Times of the trials of `cell` that finished undisturbed in both runs, at the same place.
fn pairs(before: &Run, after: &Run, cell: &CellRecord) -> decide::Pairs {
    let key = cell_key(cell);
    let other = before.record.cells.iter().find(|other| cell_key(other) == key);
    let finished = |run: &'_ Run, id: &CellId, number: u32| -> Option<TrialRecord> {
        let trial = run.trials_of(id).find(|trial| trial.record.trial == number)?;
        trial.record.is_finished().then(|| trial.record.clone())
    };
    let pairs: Vec<(TrialRecord, TrialRecord)> = after
        .trials_of(&cell.id)
        .filter_map(|trial| {
            let number = trial.record.trial;
            Some((finished(before, &other?.id, number)?, finished(after, &cell.id, number)?))
        })
        .collect();
    let times: [(Metric, Time); 3] = [
        (Metric::LoadTime, TrialRecord::load_ms),
        (Metric::TimeToFirstToken, TrialRecord::time_to_first_token_ms),
        (Metric::TimePerOutputToken, TrialRecord::time_per_output_token_ms),
    ];
    let of = |(metric, time): (Metric, Time)| {
        let (was, is) =
            pairs.iter().filter_map(|(before, after)| Some((time(before)?, time(after)?))).unzip();
        (metric, was, is)
    };
    times.map(of).into()
}

/// Holds `after` against `before`. Where both are of one `sweep compare --paired`, their trials are pairs.
pub fn compare_runs(before: &Run, after: &Run) -> RunComparison {
    let mut baseline = Baseline::new(String::new());
    baseline.take_up(before);
    let locked = baseline.scenarios.into_values().next().unwrap_or_default();
    let is_pair = |one: &Run, other: &Run| {
        one.record.pair.as_ref().map(|pair| &pair.id) == other.record.pair.as_ref().map(|pair| &pair.id)
    };
    let paired = before.record.pair.is_some() && is_pair(before, after);
    let mut cells = compare(after, &locked, paired.then_some(before));
    cells.sort_by_cached_key(|cell| {
        let growth = cell
            .comparison
            .declared
            .map_or(0, |total| total.after_bytes.signed_difference(total.before_bytes));
        (Reverse(cell.comparison.word), Reverse(growth), cell.label.clone())
    });
    let keys: Vec<String> = after.record.cells.iter().map(cell_key).collect();
    let before_cells = before.record.cells.iter().map(cell_key);
    let gone: Vec<String> = before_cells.filter(|key| !keys.contains(key)).collect();
    // Nothing in common is no pass.
    let word = cells.iter().filter_map(|cell| cell.comparison.word).max().unwrap_or(Word::Incomparable);
    let words = cells.iter().filter_map(|cell| cell.comparison.word).chain([word]);
    RunComparison {
        format_version: FORMAT_VERSION,
        before: name_of(before),
        after: name_of(after),
        paired,
        word,
        exit_code: ExitCode::strongest(words.map(Word::exit_code)),
        cells,
        gone,
    }
}

fn name_of(run: &Run) -> String {
    run.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
