//! What people read of several boards: a page and a summary with a column a board. Each board's own page lies in the folder of its run.

use std::fmt::Write;

use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::page::{self, Badge, PLAIN_STYLE, anchor, content_security_policy, fingerprint_facts};
use super::quality::FIGURES;
use super::summary::{part, plain, sign};
use super::svg::icon::icon;
use crate::number::{Shown, at_most, cell as shown, signed_mib};
use crate::record::{Boards, Run};
use crate::verdict::{BoardRow, BoardVerdict, BoardsVerdict, CellVerdict, LeverResult, Word, peak_words};

/// Cells that the summary lists.
const CELLS: usize = 100;

/// `summary.md`: the cells with a column a board, then what each board came to.
pub fn summary(boards: &Boards, verdict: &BoardsVerdict) -> String {
    let mut out = String::new();
    let code = verdict.exit_code;
    let _ = writeln!(
        out,
        "## {} {}\n\n{} Exit code {}, {}.",
        sign(verdict.word),
        plain(&verdict.headline),
        BoardsVerdict::COMPARED,
        code.code(),
        code.meaning()
    );
    let rows = verdict.rows();
    if !rows.is_empty() {
        let titles: String =
            verdict.boards.iter().map(|board| format!(" {} |", plain(&board.board))).collect();
        let _ = write!(out, "\n| Cell |{titles}\n|---|{}\n", "---|".repeat(verdict.boards.len()));
    }
    for BoardRow { label, cells } in rows.iter().take(CELLS) {
        let fields: String =
            cells.iter().map(|cell| format!(" {} |", cell.map_or_else(|| "–".to_owned(), field))).collect();
        let _ = writeln!(out, "| {} |{fields}", plain(label));
    }
    if rows.len() > CELLS {
        let _ = write!(out, "\nand {} more, in the report\n", rows.len() - CELLS);
    }
    for ((name, run), board) in boards.runs.iter().zip(&verdict.boards) {
        out.push('\n');
        part(&mut out, &format!("{}: ", plain(name)), run, &board.verdict);
    }
    out
}

fn field(cell: &CellVerdict) -> String {
    format!("{} {} {}, {}", sign(cell.word), cell.word, peak_words(cell), budget_words(cell))
}

/// What is left of the budget that says most.
fn budget_words(cell: &CellVerdict) -> String {
    let lead = cell.leading_budget();
    match lead.and_then(|result| Some((result.margin_bytes?, at_most(result.is_lower_bound)))) {
        Some((margin, mark)) => format!("{mark}{} MiB left", signed_mib(margin)),
        None => "no margin".to_owned(),
    }
}

/// `report.html`. The same runs give the same bytes.
pub fn render(boards: &Boards, verdict: &BoardsVerdict) -> Result<String, minijinja::Error> {
    let page = Page {
        policy: content_security_policy(PLAIN_STYLE, ""),
        style: PLAIN_STYLE,
        scenario: &verdict.scenario,
        badge: verdict.word.into(),
        mark: icon(verdict.word, 26),
        headline: after_word(&verdict.headline),
        compared: BoardsVerdict::COMPARED,
        exit_code: verdict.exit_code.code(),
        exit_meaning: verdict.exit_code.meaning(),
        synthetic: verdict.boards.iter().any(|board| board.verdict.synthetic_weights),
        boards: boards
            .runs
            .iter()
            .zip(&verdict.boards)
            .map(|((_, run), board)| one_board(run, board))
            .collect(),
        rows: verdict.rows().iter().map(|row| page_row(row, verdict)).collect(),
        levers: lever_rows(verdict),
    };
    page::environment()?.get_template("boards.html")?.render(Value::from(Serde(&page)))
}

/// What the template is given.
#[derive(Serialize)]
struct Page<'a> {
    policy: String,
    style: &'static str,
    scenario: &'a str,
    badge: Badge,
    mark: String,
    headline: &'a str,
    compared: &'static str,
    exit_code: u8,
    exit_meaning: &'static str,
    synthetic: bool,
    boards: Vec<OneBoard<'a>>,
    rows: Vec<PageRow<'a>>,
    levers: Vec<LeverRow<'a>>,
}

#[derive(Serialize)]
struct OneBoard<'a> {
    badge: Badge,
    name: &'a str,
    headline: &'a str,
    compared: &'a str,
    machine: String,
    fingerprint: String,
    problems: &'a [String],
}

#[derive(Serialize)]
struct PageRow<'a> {
    label: &'a str,
    /// In the order of the boards.
    cells: Vec<Option<PageCell<'a>>>,
}

#[derive(Serialize)]
struct PageCell<'a> {
    badge: Badge,
    board: &'a str,
    anchor: String,
    peak: Shown,
    budget: String,
    /// Title, value and unit; nothing where nobody asked.
    quality: Vec<(&'static str, Shown, &'static str)>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct LeverRow<'a> {
    group: &'a str,
    change: String,
    /// In the order of the boards.
    boards: Vec<Option<LeverCell>>,
}

#[derive(Serialize)]
struct LeverCell {
    badge: Badge,
    expected: Shown,
    measured: Shown,
}

/// A headline without the word, which stands beside it.
fn after_word(headline: &str) -> &str {
    headline.split_once(": ").map_or(headline, |(_, rest)| rest)
}

fn one_board<'a>(run: &Run, board: &'a BoardVerdict) -> OneBoard<'a> {
    let facts = fingerprint_facts(run);
    let fact = |name: &str| {
        let found = facts.iter().find(|(known, _)| *known == name);
        found.map_or_else(|| "not recorded".to_owned(), |(_, value)| value.clone())
    };
    OneBoard {
        badge: board.verdict.word.into(),
        name: &board.board,
        headline: after_word(&board.verdict.headline),
        compared: &board.verdict.compared,
        machine: fact("Machine"),
        fingerprint: fact("Fingerprint"),
        problems: &board.verdict.problems,
    }
}

fn page_row<'a>(row: &BoardRow<'a>, verdict: &'a BoardsVerdict) -> PageRow<'a> {
    let cell = |(cell, board): (&Option<&'a CellVerdict>, &'a BoardVerdict)| {
        let cell = (*cell)?;
        let figures = FIGURES.iter().filter(|_| cell.quality.is_some());
        Some(PageCell {
            badge: cell.word.into(),
            board: &board.board,
            anchor: anchor(cell),
            peak: shown(cell.held_peak(), |_| peak_words(cell)),
            budget: budget_words(cell),
            quality: figures.map(|figure| (figure.title, figure.shown(cell), figure.unit)).collect(),
            reason: cell.reason.as_deref().filter(|_| cell.word > Word::Pass),
        })
    };
    PageRow { label: row.label, cells: row.cells.iter().zip(&verdict.boards).map(cell).collect() }
}

/// Levers by what they are of and what they change, in the order in which they first come.
fn lever_rows(verdict: &BoardsVerdict) -> Vec<LeverRow<'_>> {
    let mut rows: Vec<LeverRow<'_>> = Vec::new();
    for (column, board) in verdict.boards.iter().enumerate() {
        for lever in &board.verdict.levers {
            let change = lever.label();
            let at = rows.iter().position(|row| (row.group, &row.change) == (lever.group.as_str(), &change));
            let at = at.unwrap_or_else(|| {
                let boards = verdict.boards.iter().map(|_| None).collect();
                rows.push(LeverRow { group: &lever.group, change, boards });
                rows.len() - 1
            });
            rows[at].boards[column] = Some(lever_cell(lever));
        }
    }
    rows
}

fn lever_cell(lever: &LeverResult) -> LeverCell {
    let [expected, measured] =
        [&lever.expected_bytes, &lever.measured_bytes].map(|bytes| shown(bytes, |bytes| signed_mib(*bytes)));
    LeverCell { badge: lever.word.into(), expected, measured }
}
