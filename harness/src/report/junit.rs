//! `junit.xml`: a suite for each cell with a test case for each budget, so that every CI shows which one failed.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::quality::FIGURES;
use super::text::tame;
use crate::verdict::{
    BoardVerdict, BoardsVerdict, BudgetResult, CellVerdict, Comparison, ExitCode, LeverResult, LeverWord,
    RunVerdict, Word,
};

/// The report as text. It has no times: the same verdict gives the same bytes.
pub fn junit(verdict: &RunVerdict) -> Result<String, SerializeError> {
    let mut report = Report::new(tame(&verdict.scenario));
    report.add_test_suites(suites(verdict));
    report.to_string()
}

/// The report of several boards: the name of a suite begins with that of its board.
pub fn junit_of_boards(verdict: &BoardsVerdict) -> Result<String, SerializeError> {
    let mut report = Report::new(tame(&verdict.scenario));
    for BoardVerdict { board, verdict } in &verdict.boards {
        report.add_test_suites(suites(verdict).into_iter().map(|mut suite| {
            suite.name = format!("{board}: {}", suite.name.as_str()).into();
            suite.add_property(("board", board.as_str()));
            suite
        }));
    }
    report.to_string()
}

fn suites(verdict: &RunVerdict) -> Vec<TestSuite> {
    let mut suites: Vec<TestSuite> = verdict.cells.iter().map(suite).collect();
    if !verdict.levers.is_empty() {
        let mut suite = TestSuite::new("levers");
        suite.add_test_cases(verdict.levers.iter().map(lever));
        suites.push(suite);
    }
    suites
}

fn suite(cell: &CellVerdict) -> TestSuite {
    let mut suite = TestSuite::new(tame(&cell.label));
    suite.add_property(("cell", cell.cell.0.as_str()));
    for figure in FIGURES.iter().filter(|_| cell.quality.is_some()) {
        suite.add_property((figure.key, figure.property(cell).as_str()));
    }
    suite.add_test_case(trials(cell));
    suite.add_test_cases(cell.budgets.iter().map(|result| budget(cell, result)));
    suite.add_test_cases(cell.comparison.iter().map(|comparison| baseline(cell, comparison)));
    suite
}

/// Whether the cell needs more than its baseline.
fn baseline(cell: &CellVerdict, comparison: &Comparison) -> TestCase {
    let reason = comparison.reason.as_deref().unwrap_or_default();
    let status = match comparison.word {
        None | Some(Word::Skipped) => TestCaseStatus::skipped(),
        Some(word @ Word::Regression) => {
            let mut status = not_passed(NonSuccessKind::Failure, word.text(), reason);
            if let Some(responsible) = comparison.responsible() {
                status.set_description(tame(&format!("responsible: {responsible}\n")));
            }
            status
        }
        Some(word) if word.exit_code() == ExitCode::Pass => TestCaseStatus::success(),
        Some(word) => not_passed(NonSuccessKind::Error, word.text(), reason),
    };
    case("baseline", cell, status)
}

/// Whether the cell could be measured at all.
fn trials(cell: &CellVerdict) -> TestCase {
    let is_bad = cell.word.is_incomplete() || !cell.inconclusive_trials.is_empty();
    let status = match is_bad {
        true => {
            not_passed(NonSuccessKind::Error, cell.word.text(), cell.reason.as_deref().unwrap_or_default())
        }
        false => TestCaseStatus::success(),
    };
    case("trials", cell, status)
}

fn budget(cell: &CellVerdict, result: &BudgetResult) -> TestCase {
    let reason = result.reason.as_deref().unwrap_or_default();
    let status = match result.word {
        Word::Pass | Word::Warn => TestCaseStatus::success(),
        Word::NoBudget => TestCaseStatus::skipped(),
        Word::Fail => {
            let mut status = not_passed(NonSuccessKind::Failure, result.word.text(), reason);
            status.set_description(tame(&in_full(result)));
            status
        }
        // What was not measured did not pass.
        word => not_passed(NonSuccessKind::Error, word.text(), reason),
    };
    let mut case = case(&format!("{}: {}", result.id, result.subject), cell, status);
    if result.word == Word::Warn {
        case.set_system_out(tame(reason));
    }
    case
}

fn in_full(result: &BudgetResult) -> String {
    let limit = result.decisive().map_or_else(String::new, |limit| format!("limit: {limit}\n"));
    let measured = result.measured.measured().map_or_else(String::new, |amount| {
        format!("measured: {} MiB\n", crate::number::peak_mib(amount.bytes, result.is_lower_bound))
    });
    let Some(behind) = &result.responsible else { return measured + &limit };
    let share = behind.share_in_words().map_or_else(String::new, |share| format!(", {share}"));
    let buffer = behind.buffer.as_ref().map_or_else(String::new, |buffer| {
        let formula = buffer.formula.as_deref().unwrap_or("not in the plan");
        format!("buffer: {} ({formula})\n", buffer.name)
    });
    format!("{measured}{limit}responsible: {}{share}\n{buffer}", behind.class)
}

fn lever(lever: &LeverResult) -> TestCase {
    let reason = lever.reason.as_deref().unwrap_or_default();
    let status = match lever.word {
        LeverWord::Works | LeverWord::Inert => TestCaseStatus::success(),
        LeverWord::Fails => not_passed(NonSuccessKind::Failure, lever.word.text(), reason),
        LeverWord::Inconclusive => not_passed(NonSuccessKind::Error, lever.word.text(), reason),
    };
    let mut case = TestCase::new(tame(&lever.label()), status);
    case.set_classname(tame(&lever.group));
    case
}

fn case(name: &str, cell: &CellVerdict, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(tame(name), status);
    case.set_classname(tame(&cell.label));
    case
}

fn not_passed(kind: NonSuccessKind, word: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word).set_message(tame(message));
    status
}
