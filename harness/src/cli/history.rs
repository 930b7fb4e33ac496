//! `sweep history`: what runs measured over time.

use std::fmt::Write;
use std::fs;

use super::arguments::{HistoryArguments, HistoryVerb, TrendArguments};
use super::print::table;
use super::{CliError, Printer};
use crate::history::{Asked, Index, Rebuilt, SeriesMetric, Trend, sparkline, trends};
use crate::record::GateMetric;
use crate::report::trends::{change_sentence, render};
use crate::verdict::ExitCode;

/// Runs that a line of blocks shows, the latest ones.
const BLOCKS: usize = 30;

/// Makes the index anew, or shows what is in it.
pub(super) fn history(verb: &HistoryVerb, printer: &Printer) -> Result<ExitCode, CliError> {
    match verb {
        HistoryVerb::Rebuild(arguments) => rebuild(arguments, printer),
        HistoryVerb::Trend(arguments) => trend(arguments, printer),
    }
}

fn rebuild(arguments: &HistoryArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let (_, rebuilt) = Index::rebuild(&arguments.index, &arguments.output)?;
    if arguments.json {
        printer.json(&rebuilt)?;
    } else {
        say_left_out(&rebuilt, printer);
        printer.line(&format!(
            "{}: {} of {}",
            arguments.index.display(),
            runs(rebuilt.runs),
            arguments.output.display()
        ))?;
    }
    Ok(ExitCode::Pass)
}

fn trend(arguments: &TrendArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let HistoryArguments { index, output, json } = &arguments.history;
    let (index, rebuilt) = Index::open(index, output)?;
    if !json {
        say_left_out(&rebuilt, printer);
    }
    let asked = Asked {
        scenario: arguments.scenario.as_deref(),
        cell: arguments.cell.as_deref(),
        metric: arguments.metric,
    };
    let mut found = trends(&index, asked)?;
    if arguments.metric.is_none() {
        // Classes are many: those that never moved say nothing.
        found = without_still_classes(found);
    }
    if found.is_empty() {
        let cell = arguments.cell.clone().unwrap_or_default();
        return Err(CliError::NoSeries { cell, folder: output.display().to_string() });
    }
    if let Some(path) = &arguments.html {
        let page = render(&found).map_err(|error| CliError::Output(error.to_string()))?;
        let unwritable = |source| CliError::Environment { what: "write the page of the history", source };
        fs::write(path, page).map_err(unwritable)?;
        printer.note(&format!("page: {}", path.display()));
    }
    match json {
        true => printer.json(&found)?,
        false => printer.text(&text(&found))?,
    }
    Ok(ExitCode::Pass)
}

fn say_left_out(rebuilt: &Rebuilt, printer: &Printer) {
    for (run, why) in &rebuilt.left_out {
        printer.note(&format!("left out: {run}: {why}"));
    }
}

fn runs(count: usize) -> String {
    format!("{count} {}", if count == 1 { "run" } else { "runs" })
}

/// Leaves out classes of which no series went to another level, under other conditions neither.
fn without_still_classes(found: Vec<Trend>) -> Vec<Trend> {
    let is_class = |metric| matches!(metric, SeriesMetric::Of(GateMetric::Class(_) | GateMetric::Planned(_)));
    let moved = |series: &[Trend]| series.iter().any(|trend| !trend.change_points.is_empty());
    let groups = found.chunk_by(Trend::continues);
    groups.filter(|series| !is_class(series[0].metric) || moved(series)).flatten().cloned().collect()
}

/// A table for each cell under each set of conditions, the latest conditions alone where there are several: a step between two
/// of them is none.
fn text(found: &[Trend]) -> String {
    let latest: Vec<(&Trend, usize)> =
        found.chunk_by(Trend::continues).filter_map(|series| Some((series.last()?, series.len()))).collect();
    let mut text = String::new();
    let same_cell = |one: &(&Trend, usize), other: &(&Trend, usize)| {
        (&one.0.scenario, &one.0.cell) == (&other.0.scenario, &other.0.cell)
    };
    for cell in latest.chunk_by(same_cell) {
        let (first, conditions) = cell[0];
        if !text.is_empty() {
            text.push('\n');
        }
        let earlier = match conditions {
            1 => String::new(),
            _ => format!(", and before under other conditions ({} sets)", conditions - 1),
        };
        let _ = writeln!(text, "{}: {}, {}{earlier}", first.scenario, first.cell, runs(first.points.len()));
        let head = ["metric", "unit", "first", "last", "last step", "gate line", "trend"].map(str::to_owned);
        let rows = cell.iter().map(|(trend, _)| row(trend));
        text.push_str(&table(&[head.to_vec()].into_iter().chain(rows).collect::<Vec<_>>()));
        for (trend, _) in cell {
            for change in &trend.change_points {
                let _ = writeln!(text, "{}: {}", trend.metric, change_sentence(trend, change));
            }
        }
    }
    text
}

fn row(trend: &Trend) -> Vec<String> {
    let values = trend.medians();
    let value = |of: Option<&f64>| of.map_or_else(String::new, |value| trend.metric.in_words(*value));
    let step = match values.as_slice() {
        [.., was, is] if *was != 0.0 => {
            let mark = if trend.last_step_is_over { " over" } else { "" };
            format!("{:+.1} %{mark}", (is - was) / was * 100.0)
        }
        _ => "-".to_owned(),
    };
    vec![
        trend.metric.to_string(),
        trend.unit.to_owned(),
        value(values.first()),
        value(values.last()),
        step,
        format!("{:.1} %", trend.gate_line.relative_step * 100.0),
        sparkline(&values, BLOCKS),
    ]
}
