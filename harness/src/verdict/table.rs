//! The verdict as a table for a terminal: plain text, aligned, readable without colour.

use std::fmt::Write;

use super::run::shown;
use super::{BudgetResult, CellVerdict, RunVerdict, Word};

/// Columns: title, and whether it holds numbers, which are aligned to the right.
const COLUMNS: [(&str, bool); 9] = [
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

/// The verdict table, the reasons behind everything that is not a pass, and the path of the report.
pub fn table(verdict: &RunVerdict) -> String {
    let rows: Vec<[String; COLUMNS.len()]> = verdict.cells.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([COLUMNS[column].0.chars().count()]).max().unwrap_or(0)
    };
    let mut text = String::new();
    let mut line = |fields: [&str; COLUMNS.len()]| {
        let mut row = String::new();
        for (column, field) in fields.into_iter().enumerate() {
            let pad = " ".repeat(width(column).saturating_sub(field.chars().count()));
            let (before, after) = if COLUMNS[column].1 { (pad.as_str(), "") } else { ("", pad.as_str()) };
            row.push_str(&format!("{}{before}{field}{after}", if column == 0 { "" } else { "  " }));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(COLUMNS.map(|(title, _)| title));
    for row in &rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }

    let mut said = |lines: Vec<String>| {
        if !lines.is_empty() {
            text.push('\n');
            lines.iter().for_each(|one| text.push_str(&format!("{one}\n")));
        }
    };
    said(verdict.cells.iter().filter_map(reason).collect());
    said(verdict.problems.iter().map(|problem| format!("warning: {problem}")).collect());
    said(
        verdict
            .cells
            .iter()
            .flat_map(|cell| cell.doubts.iter().map(move |doubt| format!("warning: {}, {doubt}", cell.label)))
            .collect(),
    );
    let _ = write!(text, "\n{}\n{}\n", verdict.headline, verdict.compared);
    if verdict.synthetic_weights {
        text.push_str("Synthetic weights: sizes and speeds are real, text and quality are not.\n");
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
        shown(&cell.peak_resident_bytes, |bytes| format!("{:.1}", bytes.as_mib())),
        lead.map_or_else(|| "-".to_owned(), |result| result.id.clone()),
        lead.and_then(limit_mib).unwrap_or_else(|| "-".to_owned()),
        lead.and_then(|result| result.margin_bytes)
            .map_or_else(|| "-".to_owned(), |margin| format!("{:+.1}", margin as f64 / (1 << 20) as f64)),
        shown(&cell.worst_unaccounted_share, |share| format!("{:.2}", share * 100.0)),
        shown(&cell.prefill_tokens_per_second, |speed| format!("{speed:.1}")),
        shown(&cell.decode_tokens_per_second, |speed| format!("{speed:.2}")),
    ]
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
