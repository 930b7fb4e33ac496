//! `sweep baseline`.

use std::fmt::Write;
use std::path::PathBuf;

use super::arguments::{BaselineArguments, BaselineVerb, PromoteArguments};
use super::judge::find;
use super::print::table;
use super::{CliError, Printer};
use crate::baseline::{Baseline, CellStatus, LockState, Unfit, status, unfit};
use crate::record::Run;
use crate::verdict::relative::{ComparedCell, changes_table, compare};
use crate::verdict::{ExitCode, judge};

/// Promotes, compares or lists.
pub(super) fn baseline(verb: &BaselineVerb, printer: &Printer) -> Result<ExitCode, CliError> {
    match verb {
        BaselineVerb::Promote(arguments) => promote(arguments, printer),
        BaselineVerb::Diff(arguments) => diff(arguments, printer),
        BaselineVerb::Status(arguments) => show_status(arguments, printer),
    }
}

/// The run that is meant, the board's name and the board's file.
fn meant(arguments: &BaselineArguments) -> Result<(Run, String, PathBuf), CliError> {
    let run = Run::load(&find(arguments.run.as_deref(), &arguments.output)?)?;
    let board = arguments.board.clone().or_else(|| run.board_name()).unwrap_or_else(|| "unknown".to_owned());
    let plain = board.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if !plain || board.is_empty() || board.starts_with('.') {
        return Err(CliError::BoardName(board));
    }
    let path = arguments.baselines.join(format!("{board}.json"));
    Ok((run, board, path))
}

/// The same, with the baseline, which must be there.
fn existing(arguments: &BaselineArguments) -> Result<(Run, Baseline), CliError> {
    let (run, board, path) = meant(arguments)?;
    if !path.exists() {
        return Err(CliError::NoBaseline { board, path: path.display().to_string() });
    }
    Ok((run, Baseline::read(&path)?))
}

fn promote(arguments: &PromoteArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let (mut run, board, path) = meant(&arguments.baseline)?;
    let mut baseline = match path.exists() {
        true => Baseline::read(&path)?,
        false => Baseline::new(board),
    };
    let changes = compared(&run, &baseline);
    match arguments.baseline.json {
        true => printer.json(&changes)?,
        false => printer.text(&differences(&changes))?,
    }
    // What the run was held against when it ran is of no interest here, what it would replace is.
    run.baseline = Some(baseline.clone());
    if let Some(Unfit(reasons)) = unfit(&run, &judge(&run)).filter(|_| !arguments.force) {
        return Err(CliError::Unfit { reasons: reasons.join("; ") });
    }
    let taken = baseline.take_up(&run);
    if taken == 0 {
        return Err(CliError::Unfit { reasons: "no trial of it ran to its end undisturbed".to_owned() });
    }
    baseline.write(&path)?;
    let noun = if taken == 1 { "cell" } else { "cells" };
    printer.note(&format!("{}: {taken} {noun} of {} locked", path.display(), run.record.scenario.name));
    Ok(ExitCode::Pass)
}

fn diff(arguments: &BaselineArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let (run, baseline) = existing(arguments)?;
    let changes = compared(&run, &baseline);
    match arguments.json {
        true => printer.json(&changes)?,
        false => printer.text(&differences(&changes))?,
    }
    Ok(ExitCode::Pass)
}

fn compared(run: &Run, baseline: &Baseline) -> Vec<ComparedCell> {
    let cells = baseline.scenarios.get(&run.record.scenario.name).cloned().unwrap_or_default();
    compare(run, &cells, None)
}

/// Every cell with everything that changed in it.
fn differences(cells: &[ComparedCell]) -> String {
    let mut text = String::new();
    for ComparedCell { label, comparison, .. } in cells {
        let word = comparison.word.map_or_else(|| "new".to_owned(), |word| word.to_string());
        let _ = writeln!(text, "{label}: {word}");
        let changes = changes_table(comparison);
        for line in changes.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn show_status(arguments: &BaselineArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let (run, baseline) = existing(arguments)?;
    let cells = status(&baseline, &run);
    match arguments.json {
        true => printer.json(&cells)?,
        false => {
            let rows: Vec<Vec<String>> = cells.iter().map(row).collect();
            printer.text(&table(&rows))?;
        }
    }
    Ok(ExitCode::Pass)
}

fn row(cell: &CellStatus) -> Vec<String> {
    let state = match &cell.state {
        LockState::Locked => "locked".to_owned(),
        LockState::Stale { buffers: 1 } => "stale: 1 buffer differs".to_owned(),
        LockState::Stale { buffers } => format!("stale: {buffers} buffers differ"),
        LockState::Missing => "missing: the baseline does not have it".to_owned(),
        LockState::OtherFingerprint { differences } => {
            format!("another fingerprint: {}", differences.join("; "))
        }
        LockState::NotMeasured => "not measured: the run has no finished trial of it".to_owned(),
        LockState::Gone => "gone: the scenario does not have it any more".to_owned(),
    };
    vec![cell.cell.clone(), state]
}
