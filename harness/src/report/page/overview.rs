//! The tables of cells and budgets.

use ledger::Bytes;
use serde::Serialize;

use crate::number::{Shown, at_most, cell as shown, grouped, mib, peak_mib, signed_mib};
use crate::record::{RecordedTrial, Run};
use crate::report::quality::{is_scored, of_tables};
use crate::report::svg::gauge::gauge;
use crate::report::svg::icon::icon;
use crate::verdict::budget::Subject;
use crate::verdict::{BudgetSummary, CellVerdict, ExitCode, LeverWord, RunVerdict, Word};

/// A verdict's word with its looks.
#[derive(Debug, Clone, Serialize)]
pub(in crate::report) struct Badge {
    text: &'static str,
    slug: String,
    icon: String,
}

impl From<LeverWord> for Badge {
    fn from(word: LeverWord) -> Badge {
        Badge { text: word.text(), ..Badge::from(word.word()) }
    }
}

impl From<Word> for Badge {
    fn from(word: Word) -> Badge {
        Badge { text: word.text(), slug: word.slug(), icon: icon(word, 11) }
    }
}

/// One row of the table of cells.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CellRow {
    badge: Badge,
    anchor: String,
    model: String,
    synthetic: bool,
    resumed: bool,
    /// Where axes are tried one at a time: what is not at its base, and the values behind a name.
    changed: Option<(String, String)>,
    /// Values in the order of [`axis_names`].
    axes: Vec<String>,
    peak: Shown,
    /// Empty where no cell of the run holds memory of a device.
    device: Option<Shown>,
    limit: String,
    /// What the limit is on, where it is not resident memory.
    limited: Option<&'static str>,
    margin: String,
    over: bool,
    gauge: Option<String>,
    planned: Shown,
    unaccounted: Shown,
    prefill: Shown,
    decode: Shown,
    /// Empty where no cell of the run drafted.
    accepted: Option<Shown>,
    /// The figures of quality; none where no cell of the run was scored.
    quality: Vec<Shown>,
    reason: Option<String>,
}

/// Columns that stand in the table where a cell has something for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Columns {
    /// A cell of the run drafted tokens.
    pub drafts: bool,
    /// A cell of the run holds memory of a device.
    pub device: bool,
    /// The quality of a cell of the run was asked for.
    pub quality: bool,
}

impl Columns {
    pub(super) fn of(verdict: &RunVerdict) -> Columns {
        Columns {
            drafts: verdict.cells.iter().any(|cell| cell.acceptance_length.measured().is_some()),
            device: verdict.cells.iter().any(|cell| cell.device.is_some()),
            quality: is_scored(verdict),
        }
    }
}

/// One row of the table of budgets.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BudgetRow {
    badge: Badge,
    id: String,
    subject: String,
    limits: String,
    when: String,
    why: String,
    cells: usize,
    margin: String,
    tightest: String,
}

/// A name for the cell that can stand in a link.
pub(in crate::report) fn anchor(verdict: &CellVerdict) -> String {
    let id: String = verdict.cell.0.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("cell-{id}")
}

/// The axis names that get a column: of any cell, in the order of first appearance, without the model. Where axes are tried
/// one at a time, those of the grid alone: of the others, a cell says what it changes.
pub(super) fn axis_names(verdict: &RunVerdict, bases: &[(String, String)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let of_every_cell =
        |name: &str| verdict.cells.iter().all(|cell| cell.axes.iter().any(|(axis, _)| axis == name));
    for (name, _) in verdict.cells.iter().flat_map(|cell| &cell.axes) {
        let is_grid = bases.iter().all(|(axis, _)| axis != name) && of_every_cell(name);
        if name != "model" && !names.contains(name) && (bases.is_empty() || is_grid) {
            names.push(name.clone());
        }
    }
    names
}

/// True for a cell that a reader has to look at.
pub(super) fn needs_a_look(word: Word) -> bool {
    word.exit_code() != ExitCode::Pass || word == Word::Warn
}

/// What a cell changes: its name and values, else its values alone.
pub(super) fn changed(cell: &CellVerdict, axes: &[String], bases: &[(String, String)]) -> (String, String) {
    let told = cell.axes.iter().filter(|axis| {
        let has_a_column = axis.0 == "model" || axes.contains(&axis.0);
        !has_a_column && !bases.contains(axis)
    });
    let values: Vec<String> = told.map(|(name, value)| format!("{name} {value}")).collect();
    let values = if values.is_empty() { "base".to_owned() } else { values.join(", ") };
    match &cell.name {
        Some(name) => (name.clone(), values),
        None => (values, String::new()),
    }
}

pub(super) fn cell_row(
    cell: &CellVerdict,
    axes: &[String],
    bases: &[(String, String)],
    shown_too: Columns,
) -> CellRow {
    let budget = cell.whole_budget();
    let limit = budget.and_then(|result| result.decisive()).map(|limit| limit.bytes_of(Bytes::ZERO));
    let margin = budget.and_then(|result| result.margin_bytes);
    let value = |name: &String| {
        let found = cell.axes.iter().find(|(axis, _)| axis == name);
        found.map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
    };
    CellRow {
        badge: cell.word.into(),
        anchor: anchor(cell),
        model: cell.model.clone(),
        synthetic: cell.synthetic_weights,
        resumed: cell.resumed,
        changed: (!bases.is_empty()).then(|| changed(cell, axes, bases)),
        axes: axes.iter().map(value).collect(),
        peak: shown(&cell.peak_resident_bytes, |bytes| peak_mib(*bytes, cell.peak_lower_bounds.in_host())),
        device: shown_too.device.then(|| match &cell.device {
            Some(device) => {
                shown(&device.peak_bytes, |bytes| peak_mib(*bytes, cell.peak_lower_bounds.on_device()))
            }
            None => Shown::plain("–"),
        }),
        limit: limit.map_or_else(|| "–".to_owned(), mib),
        limited: budget.and_then(|result| match result.subject {
            Subject::Device(_) => Some("on the device"),
            Subject::HostAndDevice(_) => Some("host and device"),
            Subject::Stack(_) => Some("whole stack"),
            _ => None,
        }),
        margin: margin.map_or_else(
            || "–".to_owned(),
            |bytes| {
                at_most(budget.is_some_and(|result| result.is_lower_bound)).to_owned() + &signed_mib(bytes)
            },
        ),
        over: margin.is_some_and(|margin| margin < 0),
        gauge: match (budget.and_then(|result| result.measured.measured()), limit) {
            (Some(amount), Some(limit)) => Some(gauge(amount.bytes, limit)),
            _ => None,
        },
        planned: shown(&cell.planned_peak_bytes, |bytes| mib(*bytes)),
        unaccounted: shown(&cell.worst_unaccounted_share, |share| grouped(share * 100.0, 2)),
        prefill: shown(&cell.prefill_tokens_per_second, |speed| grouped(*speed, 1)),
        decode: shown(&cell.decode_tokens_per_second, |speed| grouped(*speed, 2)),
        accepted: shown_too.drafts.then(|| shown(&cell.acceptance_length, |length| grouped(*length, 2))),
        quality: of_tables().filter(|_| shown_too.quality).map(|figure| figure.shown(cell)).collect(),
        reason: cell.reason.clone().filter(|_| needs_a_look(cell.word)),
    }
}

pub(super) fn budget_row(budget: &BudgetSummary) -> BudgetRow {
    BudgetRow {
        badge: budget.word.into(),
        id: budget.id.clone(),
        subject: budget.subject.clone(),
        limits: budget.limits.clone(),
        when: budget.when.clone(),
        why: budget.why.clone(),
        cells: budget.cells,
        margin: budget.smallest_margin_bytes.map_or_else(|| "–".to_owned(), signed_mib),
        tightest: budget.tightest_cell.clone().unwrap_or_default(),
    }
}

/// The trial with the highest peak.
pub(super) fn worst_trial<'a>(run: &'a Run, cell: &CellVerdict) -> Option<&'a RecordedTrial> {
    run.trials_of(&cell.cell).find(|trial| Some(trial.record.trial) == cell.worst_trial)
}
