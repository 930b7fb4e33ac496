//! The verdict as a table for a terminal: plain text, aligned, readable without colour.

use std::fmt::Write;

use super::columns::{Column, aligned};
use super::levers::Change;
use super::relative::changes_table;
use super::run::shown;
use super::{BudgetResult, CellVerdict, LeverResult, LeverWord, RunVerdict, Word};
use crate::number::{at_least, at_most};
use crate::record::{QualityReading, Reading};

const COLUMNS: [Column; 9] = [
    ("verdict", false),
    ("cell", false),
    ("peak MiB", true),
    ("budget", false),
    ("limit MiB", true),
    ("margin MiB", true),
    ("unacc. %", true),
    ("prefill tok/s", true),
    ("decode tok/s", true),
];

/// Stands after the others where a cell holds memory of a device.
const DEVICE: Column = ("device MiB", true);

/// Stands after the others where a cell has one.
const ACCEPTANCE: Column = ("accept. length", true);

/// Stands after the others where a cell was scored.
const DIVERGENCE: Column = ("KL nats", true);

const LEVER_COLUMNS: [Column; 8] = [
    ("lever", false),
    ("of", false),
    ("change", false),
    ("expected MiB", true),
    ("measured MiB", true),
    ("prefill tok/s", true),
    ("decode tok/s", true),
    ("price", false),
];

/// The tables of cells and levers, the reasons behind everything that is not a pass, and the path of the report.
pub fn table(verdict: &RunVerdict) -> String {
    let drafted = verdict.cells.iter().any(|cell| cell.acceptance_length.measured().is_some());
    let on_device = verdict.cells.iter().any(|cell| cell.device.is_some());
    let scored = verdict.cells.iter().any(|cell| cell.quality.is_some());
    let further = on_device.then_some(DEVICE).into_iter().chain(drafted.then_some(ACCEPTANCE));
    let further = further.chain(scored.then_some(DIVERGENCE));
    let columns: Vec<Column> = COLUMNS.into_iter().chain(further).collect();
    let rows: Vec<Vec<String>> = verdict
        .cells
        .iter()
        .map(|cell| {
            let further = on_device.then(|| held_on_device(cell)).into_iter();
            row(cell)
                .into_iter()
                .chain(further)
                .chain(drafted.then(|| accepted(cell)))
                .chain(scored.then(|| divergence(cell)))
                .collect()
        })
        .collect();
    let mut text = if rows.is_empty() { String::new() } else { aligned(&columns, &rows) };
    if !verdict.levers.is_empty() {
        let columns: Vec<Column> = LEVER_COLUMNS.into_iter().chain(scored.then_some(DIVERGENCE)).collect();
        let row =
            |lever| lever_row(lever).into_iter().chain(scored.then(|| lever_divergence(lever))).collect();
        let rows: Vec<Vec<String>> = verdict.levers.iter().map(row).collect();
        text.push('\n');
        text.push_str(&aligned(&columns, &rows));
    }

    let mut said = |lines: Vec<String>| {
        if !lines.is_empty() {
            text.push('\n');
            lines.iter().for_each(|one| text.push_str(&format!("{one}\n")));
        }
    };
    said(verdict.cells.iter().filter_map(reason).collect());
    let skipped = verdict.skipped.iter();
    said(skipped.map(|one| format!("{}: {}: {}", one.word, one.label, one.reason)).collect());
    said(verdict.levers.iter().filter_map(lever_reason).collect());
    said(verdict.problems.iter().map(|problem| format!("warning: {problem}")).collect());
    said(
        verdict
            .cells
            .iter()
            .flat_map(|cell| cell.doubts.iter().map(move |doubt| format!("warning: {}, {doubt}", cell.label)))
            .collect(),
    );
    let mut unanswered: Vec<String> = Vec::new();
    for sentence in verdict.cells.iter().flat_map(|cell| &cell.unanswered) {
        if !unanswered.contains(sentence) {
            unanswered.push(sentence.clone());
        }
    }
    said(unanswered);
    for cell in &verdict.cells {
        let changes = cell.comparison.as_ref().map(changes_table).unwrap_or_default();
        if !changes.is_empty() {
            let _ = write!(text, "\n{} against the baseline\n{changes}", cell.label);
        }
    }
    let _ = write!(text, "\n{}\n{}\n", verdict.headline, verdict.compared);
    if verdict.synthetic_weights {
        text.push_str("Synthetic weights: sizes and speeds are real, text and quality are not.\n");
        if drafted {
            text.push_str("Acceptance lengths follow from how synthetic drafts are made.\n");
        }
    }
    let exit = verdict.exit_code;
    let _ =
        write!(text, "exit code {} ({})\n\nreport: {}\n", exit.code(), exit.meaning(), verdict.report_path);
    text
}

fn row(cell: &CellVerdict) -> [String; COLUMNS.len()] {
    let lead = cell.leading_budget();
    let resumed = if cell.resumed { " (resumed)" } else { "" };
    [
        cell.word.to_string(),
        format!("{}{resumed}", cell.label),
        shown(&cell.peak_resident_bytes, |bytes| {
            at_least(cell.peak_lower_bounds.in_host()).to_owned() + &format!("{:.1}", bytes.as_mib())
        }),
        lead.map_or_else(|| "-".to_owned(), |result| result.id.clone()),
        lead.and_then(limit_mib).unwrap_or_else(|| "-".to_owned()),
        lead.and_then(|result| Some((result.margin_bytes?, at_most(result.is_lower_bound)))).map_or_else(
            || "-".to_owned(),
            |(margin, mark)| format!("{mark}{:+.1}", margin as f64 / (1 << 20) as f64),
        ),
        shown(&cell.worst_unaccounted_share, |share| format!("{:.2}", share * 100.0)),
        shown(&cell.prefill_tokens_per_second, |speed| format!("{speed:.1}")),
        shown(&cell.decode_tokens_per_second, |speed| format!("{speed:.2}")),
    ]
}

fn held_on_device(cell: &CellVerdict) -> String {
    cell.device.as_ref().map_or_else(
        || "-".to_owned(),
        |device| {
            shown(&device.peak_bytes, |bytes| {
                at_least(cell.peak_lower_bounds.on_device()).to_owned() + &format!("{:.1}", bytes.as_mib())
            })
        },
    )
}

fn accepted(cell: &CellVerdict) -> String {
    cell.acceptance_length.measured().map_or_else(|| "-".to_owned(), |length| format!("{length:.2}"))
}

fn lever_row(lever: &LeverResult) -> [String; LEVER_COLUMNS.len()] {
    let speeds = |change: &Change, decimals: usize| {
        let [before, after] =
            [&change.before, &change.after].map(|speed| shown(speed, |speed| format!("{speed:.decimals$}")));
        format!("{before} → {after}")
    };
    let bytes =
        |reading: &Reading<i64>| shown(reading, |bytes| format!("{:+.1}", *bytes as f64 / (1 << 20) as f64));
    [
        lever.word.to_string(),
        lever.group.clone(),
        lever.label(),
        bytes(&lever.expected_bytes),
        bytes(&lever.measured_bytes),
        speeds(&lever.prefill_tokens_per_second, 1),
        speeds(&lever.decode_tokens_per_second, 2),
        lever.price.words(),
    ]
}

fn divergence(cell: &CellVerdict) -> String {
    let nats =
        |reading: &Reading<QualityReading>| shown(reading, |quality| format!("{:.5}", quality.mean_kl_nats));
    cell.quality.as_ref().map_or_else(|| "-".to_owned(), nats)
}

fn lever_divergence(lever: &LeverResult) -> String {
    let nats = |reading| shown(reading, |nats| format!("{nats:.5}"));
    let change = lever.mean_kl_nats.as_ref();
    change.map_or_else(
        || "-".to_owned(),
        |change| format!("{} → {}", nats(&change.before), nats(&change.after)),
    )
}

/// Why a lever does not work; an inert one was expected to be so, and its two sizes say it.
fn lever_reason(lever: &LeverResult) -> Option<String> {
    let reason = lever.reason.as_ref().filter(|_| lever.word != LeverWord::Inert)?;
    Some(format!("{}: {}, {}: {reason}", lever.word, lever.group, lever.label()))
}

/// The decisive limit as a size: a share of the resident memory that was measured.
fn limit_mib(result: &BudgetResult) -> Option<String> {
    let limit = result.decisive()?;
    let of = result.measured.measured().map(|amount| amount.of);
    match (limit, of) {
        (super::budget::Limit::Bytes(bytes), _) => Some(format!("{:.1}", bytes.as_mib())),
        (share, Some(of)) => Some(format!("{:.1}", share.bytes_of(of).as_mib())),
        (_, None) => None,
    }
}

fn reason(cell: &CellVerdict) -> Option<String> {
    if matches!(cell.word, Word::Pass | Word::NoBudget) {
        return None;
    }
    let reason = cell.reason.as_deref().unwrap_or("see the report");
    Some(format!("{}: {}: {reason}", cell.word, cell.label))
}
