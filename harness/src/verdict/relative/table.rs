//! Comparisons on a terminal: plain text, aligned, readable without colour.

use std::fmt::Write;

use ledger::Bytes;

use super::comparison::{Comparison, Metric, Shift, signed_size, size};
use super::run::RunComparison;
use crate::number::mib;
use crate::verdict::Word;
use crate::verdict::columns::{Column, aligned};

const CELLS: [Column; 6] = [
    ("verdict", false),
    ("cell", false),
    ("declared", true),
    ("peak resident", true),
    ("decode time", true),
    ("responsible", false),
];

const CHANGES: [Column; 6] = [
    ("what", false),
    ("before", true),
    ("after", true),
    ("change", true),
    ("95 %", false),
    ("verdict", false),
];

/// Two runs: a line a cell, worst first, then everything that changed.
pub fn comparison_table(comparison: &RunComparison) -> String {
    let rows: Vec<Vec<String>> = comparison
        .cells
        .iter()
        .map(|cell| {
            let found = &cell.comparison;
            let declared = found
                .declared
                .map(|total| signed_size(total.after_bytes.signed_difference(total.before_bytes)));
            let peak = found
                .shifts
                .iter()
                .filter(|shift| matches!(shift.metric, Metric::PeakResident(_)))
                .max_by(|one, other| one.after.total_cmp(&other.after))
                .map(Shift::words);
            let decode = found.shifts.iter().find(|shift| shift.metric == Metric::TimePerOutputToken);
            let dash = || "-".to_owned();
            vec![
                found.word.map_or_else(|| "NOT COMPARED".to_owned(), |word| word.to_string()),
                cell.label.clone(),
                declared.unwrap_or_else(dash),
                peak.unwrap_or_else(dash),
                decode.map_or_else(dash, Shift::words),
                found.responsible().unwrap_or_else(dash),
            ]
        })
        .collect();
    let mut text = if rows.is_empty() { String::new() } else { aligned(&CELLS, &rows) };
    for cell in &comparison.cells {
        let changes = changes_table(&cell.comparison);
        if !changes.is_empty() {
            let _ = write!(text, "\n{}\n{changes}", cell.label);
        }
    }
    text.push('\n');
    for key in &comparison.gone {
        let _ = writeln!(text, "only in {}: {key}", comparison.before);
    }
    let pairs = if comparison.paired { ", in pairs" } else { "; times are judged from pairs alone" };
    let exit = comparison.exit_code;
    let _ = write!(
        text,
        "{}: {} held against {}{pairs}\nexit code {} ({})\n",
        comparison.word,
        comparison.after,
        comparison.before,
        exit.code(),
        exit.meaning()
    );
    text
}

/// Everything that changed in a cell, and what could not be decided. Empty where all is as it was.
pub fn changes_table(comparison: &Comparison) -> String {
    let mut rows: Vec<Vec<String>> = comparison
        .buffers
        .iter()
        .map(|change| {
            let side = |bytes: Option<Bytes>| bytes.map_or_else(|| "-".to_owned(), size);
            let verdict = match (&change.allowed_by, change.growth_bytes() > 0) {
                (Some(gate), _) => format!("allowed by {gate}"),
                (None, true) => Word::Regression.to_string(),
                (None, false) => "less".to_owned(),
            };
            vec![
                change.buffer.clone(),
                side(change.before_bytes),
                side(change.after_bytes),
                signed_size(change.growth_bytes()),
                "exact".to_owned(),
                verdict,
            ]
        })
        .collect();
    let telling = |shift: &&Shift| shift.word.is_some_and(|word| word != Word::Pass);
    rows.extend(comparison.shifts.iter().filter(telling).map(|shift| {
        let side = |value: f64| {
            if shift.metric.is_time() {
                format!("{value:.2} ms")
            } else {
                format!("{} MiB", mib(Bytes(value as u64)))
            }
        };
        let word = shift.word.map(|word| word.to_string()).unwrap_or_default();
        let verdict = match &shift.gate {
            Some(gate) => format!("{word} by {gate}"),
            None => word,
        };
        vec![
            shift.metric.to_string(),
            side(shift.before),
            side(shift.after),
            shift.words(),
            shift.interval_words().unwrap_or_default(),
            verdict,
        ]
    }));
    let mut text = if rows.is_empty() { String::new() } else { aligned(&CHANGES, &rows) };
    for difference in &comparison.differences {
        let _ = writeln!(text, "not comparable: {difference}");
    }
    for note in &comparison.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}
