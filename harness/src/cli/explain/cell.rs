//! `sweep explain CELL`: from its verdict to the buffer that is to blame.

use std::fmt::Write;

use ledger::{BufferClass, Bytes};

use crate::cli::arguments::ExplainArguments;
use crate::cli::judge::{find, load};
use crate::cli::print::table;
use crate::cli::{CliError, Printer};
use crate::number::{mib, signed_mib};
use crate::record::{RecordedTrial, Run};
use crate::verdict::relative::{changes_table, size};
use crate::verdict::{CellVerdict, ExitCode, judge};

/// Buffers of a class that are named one by one.
const BUFFERS: usize = 5;

/// Shows why a cell has its verdict.
pub(super) fn explain(arguments: &ExplainArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let run = load(&find(arguments.run.as_deref(), &arguments.output)?, arguments.baseline.as_deref())?;
    let verdict = judge(&run);
    let asked = &arguments.subject;
    let is_meant = |cell: &&CellVerdict| {
        cell.label == *asked
            || cell.name.as_ref() == Some(asked)
            || (!asked.is_empty() && cell.cell.0.starts_with(asked.as_str()))
    };
    let Some(cell) = verdict.cells.iter().find(is_meant) else {
        let known: Vec<&str> = verdict.cells.iter().map(|cell| cell.label.as_str()).collect();
        return Err(CliError::NoCell {
            cell: asked.clone(),
            run: run.folder.display().to_string(),
            known: known.join("; "),
        });
    };
    match arguments.json {
        true => printer.json(cell)?,
        false => printer.text(&text(&run, cell))?,
    }
    Ok(ExitCode::Pass)
}

fn text(run: &Run, cell: &CellVerdict) -> String {
    let mut text = format!("{}: {} ({})\n", cell.word, cell.label, cell.cell.0);
    if let Some(reason) = &cell.reason {
        let _ = writeln!(text, "{reason}");
    }
    for budget in &cell.budgets {
        let measured = budget.measured.measured().map(|amount| format!("{} MiB", mib(amount.bytes)));
        let limit = budget.decisive().map(|limit| format!(" of {limit}")).unwrap_or_default();
        let measured = measured.unwrap_or_else(|| "n/a".to_owned());
        let _ = writeln!(
            text,
            "\nbudget {}: {}: {} is {measured}{limit}",
            budget.id, budget.word, budget.subject
        );
        if let Some(behind) = &budget.responsible {
            let share = behind.share_in_words().map_or_else(String::new, |share| format!(", {share}"));
            let _ = writeln!(text, "  responsible: {}{share}: {}", behind.class, behind.sentence());
            if let Some(formula) = behind.buffer.as_ref().and_then(|buffer| buffer.formula.as_ref()) {
                let _ = writeln!(text, "  its size by the plan: {formula}");
            }
        }
    }
    if let Some(comparison) = &cell.comparison {
        let board = run.baseline.as_ref().map(|baseline| baseline.board.as_str()).unwrap_or_default();
        let word = comparison.word.map_or_else(|| "not compared".to_owned(), |word| word.to_string());
        let _ = writeln!(text, "\nagainst the baseline of {board}: {word}");
        if let Some(responsible) = comparison.responsible() {
            let _ = writeln!(text, "  responsible: {responsible}");
        }
        text.push_str(&changes_table(comparison));
    }
    let worst = run.trials_of(&cell.cell).find(|trial| Some(trial.record.trial) == cell.worst_trial);
    if let Some(trial) = worst {
        text.push_str(&classes(trial));
    }
    text
}

/// Classes at the phase edge that held most, the largest first, each with its largest buffers.
fn classes(trial: &RecordedTrial) -> String {
    let attributed = trial.record.phases.iter().filter_map(|phase| {
        let classes = phase.end.by_class_bytes.measured()?;
        Some((phase, classes, classes.values().copied().sum::<Bytes>()))
    });
    let Some((phase, held, _)) = attributed.max_by_key(|(.., total)| *total) else {
        return "\nno phase edge says what it held by class\n".to_owned();
    };
    let planned = crate::verdict::evidence::planned_in(&trial.record, phase.phase);
    let mut order: Vec<(BufferClass, Bytes)> = held.iter().map(|(class, bytes)| (*class, *bytes)).collect();
    order.sort_by_key(|(class, bytes)| (std::cmp::Reverse(*bytes), *class));
    let head = ["held MiB", "over plan MiB", "largest buffers"].map(str::to_owned);
    let mut rows = vec![[vec![format!("after {}", phase.phase)], head.to_vec()].concat()];
    for (class, bytes) in order {
        let over = planned.as_ref().filter(|_| !is_measured_only(class)).map(|planned| {
            signed_mib(bytes.signed_difference(planned.get(&class).copied().unwrap_or_default()))
        });
        rows.push(vec![
            class.to_string(),
            mib(bytes),
            over.unwrap_or_else(|| "-".to_owned()),
            largest(trial, class),
        ]);
    }
    format!("\n{}", table(&rows))
}

/// Classes that no plan has.
fn is_measured_only(class: BufferClass) -> bool {
    matches!(
        class,
        BufferClass::Program | BufferClass::Driver | BufferClass::DeviceContext | BufferClass::Unaccounted
    )
}

/// The largest buffers of a class, by what each ever held.
fn largest(trial: &RecordedTrial, class: BufferClass) -> String {
    let entries = trial.record.ledger.measured().into_iter().flat_map(|ledger| &ledger.entries);
    let mut entries: Vec<(&str, Bytes)> =
        entries.filter(|entry| entry.class == class).map(|entry| (entry.key.as_str(), entry.peak)).collect();
    entries.sort_by_key(|(key, bytes)| (std::cmp::Reverse(*bytes), *key));
    let more = entries.len().saturating_sub(BUFFERS);
    let named: Vec<String> =
        entries.iter().take(BUFFERS).map(|(key, bytes)| format!("{key} {}", size(*bytes))).collect();
    match (named.is_empty(), more) {
        (true, _) => "-".to_owned(),
        (false, 0) => named.join(", "),
        (false, more) => format!("{} and {more} more", named.join(", ")),
    }
}
