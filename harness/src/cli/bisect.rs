//! `sweep bisect`.

use std::fmt::Write;

use super::arguments::BisectArguments;
use super::{CliError, Printer, scenario_path};
use crate::bisect::{Bisected, Question, bisect as search};
use crate::verdict::ExitCode;

/// Finds the commit that moved a measurement.
pub(super) fn bisect(arguments: &BisectArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let question = Question {
        good: arguments.good.clone(),
        bad: arguments.bad.clone(),
        repository: arguments.repo.clone(),
        scenario: scenario_path(&arguments.scenario),
        metric: arguments.metric,
        cell: arguments.cell.clone(),
        build: arguments.build.clone(),
        program: arguments.program.clone(),
        work: arguments.work.clone(),
    };
    let found = search(&question, &|line| printer.note(line))?;
    match arguments.json {
        true => printer.json(&found)?,
        false => printer.text(&text(&found))?,
    }
    Ok(ExitCode::Pass)
}

fn text(found: &Bisected) -> String {
    let mut text = format!("first bad commit: {} {}\n", found.first_bad, found.subject);
    if !found.skipped_before.is_empty() {
        let _ = writeln!(text, "or one before it that was skipped: {}", found.skipped_before.join(", "));
    }
    let [before, after] = [found.before, found.after].map(|value| found.metric.in_words(value));
    let _ = writeln!(text, "{}: {} {before} → {after} {}", found.cell, found.metric, found.metric.unit());
    for change in &found.buffers {
        let _ = writeln!(text, "  {}", change.sentence());
    }
    text
}
