//! Verdicts on several boards, side by side. Each board is judged by itself; nothing here is held against another board.

use std::cmp::Reverse;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::columns::{Column, aligned};
use super::run::judge;
use super::{CellVerdict, ExitCode, RunVerdict, Word};
use crate::number::peak_mib;
use crate::record::Boards;

/// Version of the form. It grows when a field changes its meaning or goes away.
const FORMAT_VERSION: u32 = 1;

/// What runs of one scenario on several boards came to: `verdict.json` of a folder of several boards.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BoardsVerdict {
    /// Version of this form.
    pub format_version: u32,
    /// The scenario's name.
    pub scenario: String,
    /// The worst word of all boards.
    pub word: Word,
    /// What the process answers: the strongest code of all boards.
    pub exit_code: ExitCode,
    /// The verdict in one sentence.
    pub headline: String,
    /// Every board, in the order of their columns.
    pub boards: Vec<BoardVerdict>,
    /// Where the report is, or will be.
    #[serde(skip)]
    pub report_path: String,
}

/// What one board came to, by itself.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BoardVerdict {
    /// The name of its column, and of its folder.
    pub board: String,
    /// As `verdict.json` of its own run.
    pub verdict: RunVerdict,
}

/// A cell of the scenario on every board.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardRow<'a> {
    /// Model and axes as one line.
    pub label: &'a str,
    /// In the order of the boards; `None` where a board's run does not have it.
    pub cells: Vec<Option<&'a CellVerdict>>,
}

/// Judges the run of every board by itself.
pub fn judge_boards(boards: &Boards) -> BoardsVerdict {
    let judged = |(board, run): &(String, crate::record::Run)| BoardVerdict {
        board: board.clone(),
        verdict: judge(run),
    };
    let judged: Vec<BoardVerdict> = boards.runs.iter().map(judged).collect();
    let word = judged.iter().map(|board| board.verdict.word).max().unwrap_or(Word::Inconclusive);
    let said: Vec<String> =
        judged.iter().map(|board| format!("{} on {}", board.verdict.word, board.board)).collect();
    let noun = if judged.len() == 1 { "board" } else { "boards" };
    BoardsVerdict {
        format_version: FORMAT_VERSION,
        scenario: boards.record.scenario.clone(),
        word,
        exit_code: match judged.is_empty() {
            true => ExitCode::Inconclusive,
            false => ExitCode::strongest(judged.iter().map(|board| board.verdict.exit_code)),
        },
        headline: format!("{word}: {} {noun}: {}", judged.len(), said.join(", ")),
        boards: judged,
        report_path: boards.folder.join("report.html").display().to_string(),
    }
}

impl BoardsVerdict {
    /// What was compared with what: never one board with another.
    pub const COMPARED: &str = "Each board is judged by itself; none is compared with another.";

    /// Every cell, the worst of any board first. Cells are the same where the scenario gives them the same values: what their files
    /// hold may differ from board to board.
    pub fn rows(&self) -> Vec<BoardRow<'_>> {
        let mut rows: Vec<BoardRow<'_>> = Vec::new();
        for (column, board) in self.boards.iter().enumerate() {
            for cell in &board.verdict.cells {
                let is_same = |row: &BoardRow<'_>| {
                    let known = row.cells.iter().flatten().next();
                    known.is_some_and(|known| (&known.model, &known.axes) == (&cell.model, &cell.axes))
                };
                let row = match rows.iter().position(is_same) {
                    Some(at) => &mut rows[at],
                    None => {
                        rows.push(BoardRow { label: &cell.label, cells: vec![None; self.boards.len()] });
                        let last = rows.len() - 1;
                        &mut rows[last]
                    }
                };
                row.cells[column] = Some(cell);
            }
        }
        rows.sort_by_cached_key(|row| {
            let cells = || row.cells.iter().flatten();
            let margins = cells().filter_map(|cell| cell.leading_budget()?.margin_bytes);
            (
                Reverse(cells().map(|cell| cell.word).max()),
                margins.min().unwrap_or(i64::MAX),
                row.label.to_owned(),
            )
        });
        rows
    }
}

/// The table of cells with a column a board, what each board came to, and the path of the report.
pub fn boards_table(verdict: &BoardsVerdict) -> String {
    let columns: Vec<Column<'_>> = std::iter::once(("cell", false))
        .chain(verdict.boards.iter().map(|board| (board.board.as_str(), false)))
        .collect();
    let field = |cell: &Option<&CellVerdict>| {
        cell.map_or_else(|| "-".to_owned(), |cell| format!("{} {}", cell.word, peak_words(cell)))
    };
    let rows: Vec<Vec<String>> = verdict
        .rows()
        .iter()
        .map(|row| std::iter::once(row.label.to_owned()).chain(row.cells.iter().map(field)).collect())
        .collect();
    let mut text = if rows.is_empty() { String::new() } else { aligned(&columns, &rows) };
    for BoardVerdict { board, verdict } in &verdict.boards {
        let _ = write!(text, "\n{board}: {}\n{}\n", verdict.headline, verdict.compared);
        verdict.problems.iter().for_each(|problem| {
            let _ = writeln!(text, "warning: {board}: {problem}");
        });
    }
    let exit = verdict.exit_code;
    let _ = write!(
        text,
        "\n{}\n{}\nexit code {} ({})\n\nreport: {}\n",
        verdict.headline,
        BoardsVerdict::COMPARED,
        exit.code(),
        exit.meaning(),
        verdict.report_path
    );
    text
}

/// The peak that decides, with its unit.
pub fn peak_words(cell: &CellVerdict) -> String {
    let peak = cell.held_peak().measured();
    peak.map_or_else(
        || "not measured".to_owned(),
        |bytes| format!("{} MiB", peak_mib(*bytes, cell.held_lower_bound().is_some())),
    )
}
