//! `summary.md`: the verdict as a page of Markdown, for the summary of a CI job or a comment.

use std::fmt::Write;

use ledger::Bytes;

use super::quality::{FIGURES, is_scored};
use super::svg::draw::shortened;
use super::text::tame;
use crate::number::{mib, peak_mib, signed_mib};
use crate::record::{Reading, Run};
use crate::verdict::{BudgetResult, BufferChange, CellVerdict, ExitCode, RunVerdict, Word, buffer_groups};

/// Cells that are listed: the summary of a job may have 1 MiB, and a comment 65,536 letters.
const CELLS: usize = 100;

/// Buffers that are listed.
const BUFFERS: usize = 10;

/// Letters of a name or a reason.
const LETTERS: usize = 200;

/// The page as text.
pub fn summary(run: &Run, verdict: &RunVerdict) -> String {
    let mut out = String::new();
    part(&mut out, "", run, verdict);
    out
}

/// What a run came to, under a title that begins with `of`.
pub(super) fn part(out: &mut String, of: &str, run: &Run, verdict: &RunVerdict) {
    let (sign, headline) = (sign(verdict.word), plain(&verdict.headline));
    let _ = write!(out, "## {sign} {of}{headline}\n\n{}", plain(&verdict.compared));
    let code = verdict.exit_code;
    let _ = writeln!(out, " Exit code {}, {}.", code.code(), code.meaning());
    for problem in verdict.problems.iter().take(BUFFERS) {
        let _ = write!(out, "\n> {}\n", plain(problem));
    }
    let bad = |cell: &&CellVerdict| cell.word.exit_code() != ExitCode::Pass || cell.word == Word::Warn;
    let scored = is_scored(verdict);
    table(out, "Worst first", scored, verdict.cells.iter().filter(bad));
    buffers(out, run, verdict);
    grown(out, verdict);
    if verdict.cells.iter().any(|cell| !bad(&cell)) {
        let total = verdict.cells.iter().filter(|cell| !bad(cell)).count();
        let _ = write!(out, "\n<details><summary>{total} within budget</summary>\n");
        table(out, "", scored, verdict.cells.iter().filter(|cell| !bad(cell)));
        out.push_str("\n</details>\n");
    }
    levers(out, verdict);
}

/// `scored`: with the columns of quality.
fn table<'a>(
    out: &mut String,
    title: &str,
    scored: bool,
    cells: impl Iterator<Item = &'a CellVerdict> + Clone,
) {
    if cells.clone().next().is_none() {
        return;
    }
    if !title.is_empty() {
        let _ = write!(out, "\n### {title}\n");
    }
    let figures = || FIGURES.iter().filter(|_| scored);
    let titles: String = figures().map(|figure| format!(" {} |", figure.title)).collect();
    let rule = "--:|".repeat(figures().count());
    let _ = write!(
        out,
        "\n| | Cell | Limited | Measured | Limit | Over by | Responsible |{titles}\n|---|---|---|--:|--:|--:|---|{rule}\n"
    );
    for cell in cells.clone().take(CELLS) {
        let values: String = figures().map(|figure| format!(" {} |", figure.words(cell))).collect();
        let _ = writeln!(out, "{}{values}", row(cell));
    }
    let more = cells.skip(CELLS).count();
    if more > 0 {
        let _ = write!(out, "\nand {more} more, in the report\n");
    }
}

fn row(cell: &CellVerdict) -> String {
    let lead = cell.leading_budget();
    let amount = lead.and_then(|result| Some((result.measured.measured()?.bytes, result.is_lower_bound)));
    let peak = cell.peak_resident_bytes.measured().map(|bytes| (*bytes, cell.peak_lower_bounds.in_host()));
    let size = amount
        .or(peak)
        .map_or_else(|| "n/a".to_owned(), |(bytes, is_bound)| format!("{} MiB", peak_mib(bytes, is_bound)));
    let limit =
        lead.and_then(BudgetResult::decisive).map_or_else(|| "–".to_owned(), |limit| limit.to_string());
    let over = lead
        .and_then(|result| result.margin_bytes)
        .map_or_else(|| "–".to_owned(), |margin| format!("{} MiB", signed_mib(-margin)));
    let grown = cell.comparison.as_ref().filter(|_| cell.word == Word::Regression);
    let behind = match (lead.and_then(|result| result.responsible.as_ref()), grown) {
        (None, Some(comparison)) => plain(&comparison.responsible().unwrap_or_default()),
        (Some(behind), _) => {
            let share = behind.share_in_words().map_or_else(String::new, |share| format!(", {share}"));
            format!("**{}**{share}", plain(behind.class.name()))
        }
        (None, None) => plain(cell.reason.as_deref().filter(|_| cell.word > Word::Pass).unwrap_or_default()),
    };
    format!(
        "| {} {} | {} | {} | {size} | {limit} | {over} | {behind} |",
        sign(cell.word),
        cell.word,
        plain(&cell.label),
        lead.map_or_else(|| "peak resident".to_owned(), |result| plain(&result.subject.to_string())),
    )
}

/// The buffers that are over their plan by most, over all cells.
fn buffers(out: &mut String, run: &Run, verdict: &RunVerdict) {
    let mut rows: Vec<(i64, String)> = Vec::new();
    for cell in &verdict.cells {
        let worst = run.trials_of(&cell.cell).find(|trial| Some(trial.record.trial) == cell.worst_trial);
        let Some(trial) = worst else { continue };
        for group in buffer_groups(&trial.record) {
            let Some(over) = group.over_plan().filter(|over| *over > 0) else { continue };
            let row = format!(
                "| {} | `{}` | {} | {} | {} | {} MiB |\n",
                plain(&cell.label),
                code(&group.name),
                plain(group.class.name()),
                if group.planned.is_some() {
                    format!("{} MiB", mib(group.expected))
                } else {
                    "not planned".to_owned()
                },
                group.measured.map_or_else(|| "n/a".to_owned(), |bytes| format!("{} MiB", mib(bytes))),
                signed_mib(over)
            );
            rows.push((over, row));
        }
    }
    if rows.is_empty() {
        return;
    }
    // Rows of one size stay in the order of the cells.
    rows.sort_by_key(|(over, _)| std::cmp::Reverse(*over));
    out.push_str("\n### Buffers over their plan\n\n| Cell | Buffer | Class | Expected | Measured | Over by |\n|---|---|---|--:|--:|--:|\n");
    rows.iter().take(BUFFERS).for_each(|(_, row)| out.push_str(row));
    if rows.len() > BUFFERS {
        let _ = write!(out, "\nand {} more, in the report\n", rows.len() - BUFFERS);
    }
}

/// The buffers that grew most against the baseline, over all cells.
fn grown(out: &mut String, verdict: &RunVerdict) {
    let mut changes: Vec<(&CellVerdict, &BufferChange)> = verdict
        .cells
        .iter()
        .flat_map(|cell| {
            cell.comparison.iter().flat_map(move |one| one.buffers.iter().map(move |it| (cell, it)))
        })
        .collect();
    if changes.is_empty() {
        return;
    }
    // Those that grew alike stay in the order of the cells.
    changes.sort_by_key(|(_, change)| std::cmp::Reverse(change.growth_bytes()));
    out.push_str("\n### Buffers against the baseline\n\n| Cell | Buffer | Class | Before | Now | Change |\n|---|---|---|--:|--:|--:|\n");
    let size =
        |bytes: Option<Bytes>| bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{} MiB", mib(bytes)));
    for (cell, change) in changes.iter().take(BUFFERS) {
        let _ = writeln!(
            out,
            "| {} | `{}` | {} | {} | {} | {} MiB |",
            plain(&cell.label),
            code(&change.buffer),
            plain(change.class.name()),
            size(change.before_bytes),
            size(change.after_bytes),
            signed_mib(change.growth_bytes())
        );
    }
    if changes.len() > BUFFERS {
        let _ = write!(out, "\nand {} more, in the report\n", changes.len() - BUFFERS);
    }
}

fn levers(out: &mut String, verdict: &RunVerdict) {
    if verdict.levers.is_empty() {
        return;
    }
    let size = |reading: &Reading<i64>| {
        reading.measured().map_or_else(|| "n/a".to_owned(), |bytes| format!("{} MiB", signed_mib(*bytes)))
    };
    let figures = || FIGURES.iter().filter(|_| is_scored(verdict));
    let titles: String = figures().map(|figure| format!(" {} |", figure.title)).collect();
    let rule = "---|".repeat(figures().count());
    let _ = write!(
        out,
        "\n### Levers\n\n| | Of | Change | Expected | Measured | Price |{titles}\n|---|---|---|--:|--:|---|{rule}\n"
    );
    for lever in verdict.levers.iter().take(CELLS) {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |{}",
            lever.word,
            plain(&lever.group),
            plain(&lever.label()),
            size(&lever.expected_bytes),
            size(&lever.measured_bytes),
            plain(&lever.price.words()),
            figures()
                .map(|figure| format!(
                    " {} |",
                    figure.shown_change(lever, &verdict.cells).map(|shown| shown.text).join(" → ")
                ))
                .collect::<String>()
        );
    }
}

pub(super) fn sign(word: Word) -> &'static str {
    match word {
        Word::Pass | Word::Improved | Word::Expected => "✅",
        Word::NoBudget | Word::Skipped => "➖",
        Word::Warn | Word::Inconclusive | Word::Incomparable | Word::Interrupted => "⚠️",
        _ => "❌",
    }
}

/// `text` on one line, of a bearable length, in which nothing is markup.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in shortened(&tame(text), LETTERS).chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' => out.extend(['\\', c]),
            // Nobody is called by a name in a run.
            '@' => out.push_str("@\u{200b}"),
            c => out.push(c),
        }
    }
    out
}

/// `text` between two back quotes in a table.
fn code(text: &str) -> String {
    shortened(&tame(text), LETTERS).replace(['`', '\n', '\t'], " ").replace('|', "\\|")
}
