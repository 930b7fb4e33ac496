//! The verdict on a whole run.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::budget::Budget;
use super::cell::{CellVerdict, judge_cell};
use super::levers::{LeverResult, LeverWord, judge_levers};
use super::relative::{self, Comparison};
use super::{ExitCode, Word};
use crate::record::{
    CellId, ExcludedCell, LeverRecord, RECORDED_MACHINE, Reading, RecordedTrial, Run, Shard,
};

/// Version of the verdict's JSON form. It grows when a field changes its meaning or goes away.
pub const FORMAT_VERSION: u32 = 2;

/// What a run came to: `verdict.json`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RunVerdict {
    /// Version of this form.
    pub format_version: u32,
    /// The scenario's name.
    pub scenario: String,
    /// When the run started, RFC 3339.
    pub started_at: String,
    /// The board that it was measured on, as its baseline is called. `None` where the run was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
    /// The part of the scenario that was run, where other machines run the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// The worst word of all cells and budgets.
    pub word: Word,
    /// What the process answers.
    pub exit_code: ExitCode,
    /// The verdict in one sentence.
    pub headline: String,
    /// What was compared with what, in one sentence.
    pub compared: String,
    /// True where a number of this run depends on synthetic weights.
    pub synthetic_weights: bool,
    /// Every cell, worst first.
    pub cells: Vec<CellVerdict>,
    /// Every combination that the scenario leaves out, with its reason.
    pub skipped: Vec<SkippedCell>,
    /// Every budget of the scenario, in its order.
    pub budgets: Vec<BudgetSummary>,
    /// Every lever at each value that was tried, grouped by model.
    pub levers: Vec<LeverResult>,
    /// The board of the baseline that it was held against. `None` where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// What is wrong with the run as a whole.
    pub problems: Vec<String>,
    /// Where the report is, or will be.
    #[serde(skip)]
    pub report_path: String,
}

/// A combination that was not run on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SkippedCell {
    /// SKIPPED.
    pub word: Word,
    /// Axis values as one line.
    pub label: String,
    /// The scenario's reason.
    pub reason: String,
}

impl SkippedCell {
    fn of(excluded: &ExcludedCell) -> SkippedCell {
        let values: Vec<String> =
            excluded.axes.iter().map(|(name, value)| format!("{name} {value}")).collect();
        SkippedCell { word: Word::Skipped, label: values.join(", "), reason: excluded.why.clone() }
    }
}

/// One budget over all cells.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BudgetSummary {
    /// Its name.
    pub id: String,
    /// Its subject in words, or why it cannot be judged.
    pub subject: String,
    /// Its limits in words.
    pub limits: String,
    /// The cells that it is for, in words.
    pub when: String,
    /// Why it is there.
    pub why: String,
    /// Cells that it was held against.
    pub cells: usize,
    /// The worst result; INCONCLUSIVE where there is none.
    pub word: Word,
    /// The smallest margin in bytes, and the label of its cell.
    pub smallest_margin_bytes: Option<i64>,
    /// The cell of the smallest margin.
    pub tightest_cell: Option<String>,
}

/// Judges every cell of `run` by every budget that is for it.
pub fn judge(run: &Run) -> RunVerdict {
    let record = &run.record;
    let mut budgets: Vec<Budget> = Vec::new();
    let mut problems: Vec<String> = Vec::new();
    for budget in &record.budgets {
        match Budget::check(budget) {
            Ok(budget) => budgets.push(budget),
            Err(error) => problems.push(error.to_string()),
        }
    }
    let invalid_budgets = !problems.is_empty();
    let mut comparisons: BTreeMap<CellId, Comparison> = BTreeMap::new();
    if let Some(baseline) = &run.baseline {
        let cells = baseline.scenarios.get(&record.scenario.name).cloned().unwrap_or_default();
        let compared = relative::compare(run, &cells, None).into_iter();
        comparisons.extend(compared.map(|cell| (cell.cell, cell.comparison)));
    }
    let mut cells: Vec<CellVerdict> = record
        .cells
        .iter()
        .map(|cell| judge_cell(run, cell, &budgets, comparisons.remove(&cell.id)))
        .collect();
    cells.sort_by_cached_key(|cell| {
        let margin = cell.leading_budget().and_then(|result| result.margin_bytes).unwrap_or(i64::MAX);
        (Reverse(cell.word), margin, cell.label.clone())
    });
    // What is for cells of other shards alone is judged where these are.
    let is_for_others = |budget: &Budget| record.elsewhere().any(|cell| budget.is_for(cell));
    let budgets: Vec<BudgetSummary> = budgets
        .iter()
        .map(|budget| (budget, summarise(budget, &cells)))
        .filter(|(budget, summary)| summary.cells > 0 || !is_for_others(budget))
        .map(|(_, summary)| summary)
        .collect();
    let unmatched: Vec<&BudgetSummary> = budgets.iter().filter(|budget| budget.cells == 0).collect();
    problems.extend(unmatched.iter().map(|budget| {
        format!(
            "the budget `{}` is for no cell of this run ({}), so it was never judged",
            budget.id, budget.when
        )
    }));
    let levers = judge_levers(run, &cells);
    // In a shard, the cell that tries it or the base may be another's.
    let is_of_shards = |lever: &LeverRecord| {
        let mut all = record.elsewhere().chain(&record.cells);
        record.shard.is_some() && all.any(|cell| lever.is_tried_by(cell, &record.bases))
    };
    let untried = record
        .levers
        .iter()
        .filter(|lever| levers.iter().all(|result| result.axis != lever.axis) && !is_of_shards(lever));
    let untried: Vec<String> = untried
        .map(|lever| {
            format!("the lever `{}` is tried by no cell of this run, so it was never judged", lever.axis)
        })
        .collect();
    problems.extend(
        run.unreadable
            .iter()
            .map(|trial| format!("trial {} of {}: {}", trial.trial, trial.cell.0, trial.why)),
    );
    let strays =
        run.trials.iter().filter(|trial| record.cells.iter().all(|cell| cell.id != trial.record.cell.id));
    problems.extend(strays.map(|trial| {
        format!(
            "trial {} is of cell {}, which this run does not have",
            trial.record.trial, trial.record.cell.id.0
        )
    }));

    let mixed = mixed_environments(run);
    let mut codes: Vec<ExitCode> = cells.iter().flat_map(|cell| cell.exit_codes.iter().copied()).collect();
    let mut words: Vec<Word> = cells.iter().map(|cell| cell.word).collect();
    words.extend(levers.iter().map(|lever| lever.word.word()).filter(|word| *word >= Word::Inconclusive));
    if invalid_budgets || !unmatched.is_empty() || !untried.is_empty() {
        words.push(Word::Inconclusive);
    }
    problems.extend(untried);
    if !mixed.is_empty() {
        words.push(Word::Inconclusive);
        codes.push(ExitCode::Incomparable);
    }
    problems.extend(mixed);
    if is_of_recorded_machine(run) {
        problems.push(
            "the machine's own files were those of a recorded one: nothing here was measured on that board"
                .to_owned(),
        );
    }
    if !run.unreadable.is_empty() {
        words.push(Word::Incomplete);
    }
    for shard in record.missing_shards() {
        problems.push(format!(
            "shard {shard} is missing: `sweep run {} --shard {shard}` makes it",
            record.scenario.name
        ));
        words.push(Word::Incomplete);
    }
    if run.account.is_some() {
        words.push(Word::NoBudget);
    } else if cells.is_empty() && record.shard.is_some() {
        words.push(Word::Pass);
    } else if cells.is_empty() {
        problems.push("the run has no cells".to_owned());
        words.push(Word::Inconclusive);
    }
    codes.extend(words.iter().map(|word| word.exit_code()));
    // A run that was asked to stop says so, whatever its cells that were not run would say.
    codes.extend((record.exit_code == Some(ExitCode::Interrupted.code())).then_some(ExitCode::Interrupted));
    let exit_code = ExitCode::strongest(codes);
    let word = words.into_iter().max().unwrap_or(Word::Inconclusive);
    RunVerdict {
        format_version: FORMAT_VERSION,
        scenario: record.scenario.name.clone(),
        started_at: record.started_at.clone(),
        board: run.board_name(),
        shard: record.shard.as_ref().map(|record| record.shard),
        word,
        exit_code,
        headline: match (&run.account, &record.shard) {
            (Some(account), _) => format!("{word}: {}", account.finding()),
            (None, Some(shard)) if cells.is_empty() => {
                format!("{word}: shard {} has no cells, so there was nothing to run", shard.shard)
            }
            (None, shard) => {
                let alone = shard.as_ref().map(|shard| format!("; this is shard {} alone", shard.shard));
                headline(word, &cells, &budgets, &levers) + &alone.unwrap_or_default()
            }
        },
        compared: compared(run, &cells, &budgets, &levers),
        synthetic_weights: cells.iter().any(|cell| cell.synthetic_weights),
        skipped: record.excluded.iter().map(SkippedCell::of).collect(),
        cells,
        budgets,
        levers,
        baseline: run.baseline.as_ref().map(|baseline| baseline.board.clone()),
        problems,
        report_path: run.folder.join("report.html").display().to_string(),
    }
}

/// Trials that were measured in another environment than the first one that says in which: nothing is held against
/// both without a word.
fn mixed_environments(run: &Run) -> Vec<String> {
    let stated = || {
        run.trials
            .iter()
            .filter_map(|RecordedTrial { record, .. }| Some((record, record.environment.as_ref()?)))
    };
    let Some((first, base)) = stated().next() else { return Vec::new() };
    let differing = stated().filter_map(|(trial, environment)| {
        let differences = base.differences(environment);
        (!differences.is_empty()).then(|| {
            format!(
                "trial {} of {} and trial {} of {} were measured in different environments ({}), so they cannot be compared; \
                 run the scenario with --fresh",
                first.trial,
                first.cell.id.0,
                trial.trial,
                trial.cell.id.0,
                differences.join("; ")
            )
        })
    });
    differing.collect()
}

/// True where a recorded machine stood for the board: processes are real, and the board is not.
fn is_of_recorded_machine(run: &Run) -> bool {
    let mut environments = run.trials.iter().filter_map(|trial| trial.record.environment.as_ref());
    environments.any(|environment| environment.facts.contains_key(RECORDED_MACHINE))
}

fn summarise(budget: &Budget, cells: &[CellVerdict]) -> BudgetSummary {
    let results = || {
        cells.iter().flat_map(|cell| {
            let own = cell
                .budgets
                .iter()
                .filter(|result| result.id == budget.id && result.subject == budget.subject);
            own.map(|result| (result, cell.label.as_str()))
        })
    };
    let tightest = results().filter_map(|(result, label)| Some((result.margin_bytes?, label))).min();
    let limit = |name: &str, limit: Option<super::budget::Limit>| {
        limit.map(|limit| format!("{name} above {}", budget.limit_in_words(limit)))
    };
    let limits: Vec<String> =
        [limit("warns", budget.warn), limit("fails", budget.fail)].into_iter().flatten().collect();
    BudgetSummary {
        id: budget.id.clone(),
        subject: budget.subject.to_string(),
        limits: limits.join(", "),
        when: budget.when.to_string(),
        why: budget.why.clone(),
        cells: results().count(),
        word: results().map(|(result, _)| result.word).max().unwrap_or(Word::Inconclusive),
        smallest_margin_bytes: tightest.map(|(margin, _)| margin),
        tightest_cell: tightest.map(|(_, label)| label.to_owned()),
    }
}

fn headline(word: Word, cells: &[CellVerdict], budgets: &[BudgetSummary], levers: &[LeverResult]) -> String {
    let total = cells.len();
    let count = |word: Word| cells.iter().filter(|cell| cell.word == word).count();
    let saying = |word: Word| match word {
        Word::Oom => "out of memory",
        Word::Crash => "crashed",
        Word::Timeout => "timed out",
        Word::Failed => "answered with an error",
        Word::Interrupted => "interrupted",
        Word::Incomplete => "incomplete",
        Word::Fail => "over budget",
        Word::Regression => "worse than the baseline",
        Word::Incomparable => "measured under other conditions than the baseline",
        Word::Inconclusive => "inconclusive",
        Word::Warn => "with a warning",
        Word::Expected => "ended as expected",
        Word::Improved => "better than the baseline",
        Word::NoBudget => "without a budget",
        Word::Skipped => "skipped",
        Word::Pass => "within budget",
    };
    let parts: Vec<String> = Word::ALL
        .iter()
        .rev()
        .filter(|word| count(**word) > 0)
        .map(|word| format!("{} {}", count(*word), saying(*word)))
        .collect();
    let never_judged = budgets.iter().filter(|budget| budget.cells == 0).count();
    let cells_word = if total == 1 { "cell" } else { "cells" };
    let mut text = format!("{word}: {total} {cells_word}: {}", parts.join(", "));
    if parts.len() == 1 && total > 0 {
        text = match (total, cells.first().map(|cell| cell.word)) {
            (1, Some(one)) => format!("{word}: the one cell is {}", saying(one)),
            (_, Some(all)) => format!("{word}: all {total} cells {}", saying(all)),
            (_, None) => text,
        };
    }
    if never_judged > 0 {
        let noun = if never_judged == 1 { "budget was" } else { "budgets were" };
        text.push_str(&format!("; {never_judged} {noun} never judged"));
    }
    if !levers.is_empty() {
        text.push_str(&format!("; {}", levers_in_words(levers)));
    }
    text
}

/// How the levers did: `12 levers: 1 fails, 8 work, 3 inert`.
fn levers_in_words(levers: &[LeverResult]) -> String {
    let said = |word: LeverWord, one: &str, many: &str| {
        let count = levers.iter().filter(|lever| lever.word == word).count();
        (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
    };
    let parts: Vec<String> = [
        said(LeverWord::Fails, "fails", "fail"),
        said(LeverWord::Inconclusive, "inconclusive", "inconclusive"),
        said(LeverWord::Works, "works", "work"),
        said(LeverWord::Inert, "inert", "inert"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let noun = if levers.len() == 1 { "lever" } else { "levers" };
    format!("{} {noun}: {}", levers.len(), parts.join(", "))
}

fn compared(run: &Run, cells: &[CellVerdict], budgets: &[BudgetSummary], levers: &[LeverResult]) -> String {
    let others = match run.record.elsewhere().count() {
        0 => String::new(),
        1 => " 1 cell of the scenario is in another shard, and what needs it is judged after `sweep merge`."
            .to_owned(),
        n => format!(
            " {n} cells of the scenario are in other shards, and what needs them is judged after `sweep merge`."
        ),
    };
    let judged = budgets.iter().filter(|budget| budget.cells > 0).count();
    let trials = match run.record.trials_per_cell {
        1 => "the one trial of each cell".to_owned(),
        n => format!("the worst of {n} trials of each cell"),
    };
    let levers = match levers.len() {
        0 => String::new(),
        1 => " 1 lever, held against its plan.".to_owned(),
        n => format!(" {n} levers, each held against its plan."),
    };
    let baseline = match &run.baseline {
        None => "No baseline was compared.".to_owned(),
        Some(baseline) => {
            let held = |cell: &&CellVerdict| {
                cell.comparison.as_ref().is_some_and(|comparison| comparison.word.is_some())
            };
            let held = cells.iter().filter(held).count();
            let board = &baseline.board;
            format!("{held} of {} cells, held against the baseline of {board}.", cells.len())
        }
    };
    let compared = match judged {
        0 if levers.is_empty() && run.baseline.is_none() => {
            "No budget was compared, and no baseline.".to_owned()
        }
        0 => format!("No budget was compared.{levers} {baseline}"),
        1 => format!("1 budget, held against {trials}.{levers} {baseline}"),
        n => format!("{n} budgets, each held against {trials}.{levers} {baseline}"),
    };
    compared + &others
}

/// The measured value, for tables.
pub(super) fn shown<T>(reading: &Reading<T>, form: impl Fn(&T) -> String) -> String {
    reading.measured().map_or_else(|| "n/a".to_owned(), form)
}
