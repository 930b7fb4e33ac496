//! `sweep plan`: what every cell will need, without running it.

use std::collections::BTreeMap;
use std::path::Path;

use ledger::{BufferClass, Bytes, Millis, Phase, Tokens};
use serde::Serialize;

use super::arguments::PlanArguments;
use super::print::table;
use super::{CliError, Printer, scenario_path};
use crate::engines::{EngineError, EngineProvider, Forecast, StreamingForecast, forecast_of};
use crate::record::{BudgetLimit, BudgetSubject, CellId, CellRecord, ExcludedCell, LeverRecord, Shard};
use crate::scenario::{Cell, RunOrder, Scenario, load};
use crate::sweep::{divide, trial_time};
use crate::verdict::ExitCode;

/// Version of the JSON form.
const FORMAT_VERSION: u32 = 1;

/// Columns of cells that stand side by side on a screen.
const CELLS_A_TABLE: usize = 6;

#[derive(Serialize)]
struct PlannedRun {
    format_version: u32,
    scenario: String,
    /// The part of the scenario that is shown, where it is not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<Shard>,
    cells: Vec<PlannedCell>,
    /// Cells whose target does not say what it will need.
    unplanned: Vec<UnplannedCell>,
    excluded: Vec<ExcludedCell>,
    /// The word of the scenario.
    order: &'static str,
    /// Ids of cells in the order in which their trials run.
    trials: Vec<TrialInOrder>,
    /// Builds and trials together; `None` where one of them cannot be foretold.
    total_ms: Option<Millis>,
}

#[derive(Serialize)]
struct TrialInOrder {
    cell: CellId,
    trial: u32,
}

#[derive(Serialize)]
struct UnplannedCell {
    cell: CellRecord,
    why: &'static str,
}

#[derive(Serialize)]
struct PlannedCell {
    cell: CellRecord,
    /// The phase that needs most.
    peak_phase: Phase,
    /// Tokens in the cache when it does.
    context_tokens: Tokens,
    by_class_bytes: BTreeMap<BufferClass, Bytes>,
    total_bytes: Bytes,
    /// Every buffer by the ledger's key, fully committed: not all of them are held at once.
    buffer_bytes: BTreeMap<String, Bytes>,
    /// What is not in it, because the target does not say it before it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<&'static str>,
    /// What of it is in a device's own memory, where anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_bytes: Option<Bytes>,
    /// What weight streaming does, where the cell asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    streaming: Option<StreamingForecast>,
    /// The smallest total that fails a budget for this cell.
    budget_bytes: Option<Bytes>,
    /// The lever that this cell tries, where it tries one alone.
    lever: Option<PlannedLever>,
    trial_ms: Option<Millis>,
    build_ms: Option<Millis>,
}

#[derive(Serialize)]
struct PlannedLever {
    axis: String,
    base: String,
    value: String,
    /// The total of this cell less that of its base.
    expected_bytes: i64,
}

/// Prints the plan of a scenario.
pub(super) fn plan(
    arguments: &PlanArguments,
    engines: &dyn EngineProvider,
    printer: &Printer,
) -> Result<ExitCode, CliError> {
    let path = scenario_path(&arguments.scenario);
    let scenario = load(&path)?;
    let mut expansion = scenario.expand();
    if let Some(shard) = arguments.shard {
        let mut shards = divide(&scenario, &expansion.cells, engines, shard)?.into_iter();
        expansion.cells.retain(|_| shards.next() == Some(shard));
    }
    let (mut cells, mut unplanned) = (Vec::new(), Vec::new());
    for cell in &expansion.cells {
        let of_cell = |error: EngineError| EngineError {
            what: format!("cell {}: {}", cell.describe(), error.what),
            ..error
        };
        match forecast_of(&cell.form) {
            None => cells.push(planned(&scenario, cell, engines.forecast(cell).map_err(of_cell)?)),
            Some(foretold) => match foretold.map_err(of_cell)? {
                Ok(forecast) => cells.push(planned(&scenario, cell, forecast)),
                Err(why) => unplanned.push(UnplannedCell { cell: cell.record(), why }),
            },
        }
    }
    let bases = scenario.bases();
    let levers: Vec<Option<PlannedLever>> = cells.iter().map(|cell| lever_of(cell, &cells, &bases)).collect();
    for (cell, lever) in cells.iter_mut().zip(levers) {
        cell.lever = lever;
    }
    let visits = scenario.visits(&expansion.cells).into_iter();
    let trials: Vec<TrialInOrder> =
        visits.map(|(at, trial)| TrialInOrder { cell: expansion.cells[at].id.clone(), trial }).collect();
    let rests = scenario.cooldown.map_or(0.0, |cooldown| cooldown.lasts.as_secs_f64() * 1000.0)
        * trials.len().saturating_sub(1) as f64;
    let total_ms = total_time(&cells, scenario.trials)
        .filter(|_| unplanned.is_empty())
        .map(|Millis(ms)| Millis(ms + rests));
    let run = PlannedRun {
        format_version: FORMAT_VERSION,
        scenario: scenario.name.clone(),
        shard: arguments.shard,
        cells,
        unplanned,
        excluded: expansion.excluded,
        order: scenario.order.name(),
        trials,
        total_ms,
    };
    if arguments.json {
        printer.json(&run)?
    } else {
        printer.text(&text(&run, &path, scenario.trials, &bases))?
    }
    Ok(ExitCode::Pass)
}

fn planned(scenario: &Scenario, cell: &Cell, forecast: Forecast) -> PlannedCell {
    let context = scenario.phases.context(cell.settings.max_input_len);
    let peak = forecast.peak(scenario.phases.listed(), context, 1);
    let record = cell.record();
    let fails = scenario.budgets.iter().filter(|budget| record.matches(&budget.when));
    let fails = fails.filter_map(|budget| match (budget.subject, budget.fail) {
        (BudgetSubject::Total | BudgetSubject::HostAndDevice, Some(BudgetLimit::Bytes(limit))) => Some(limit),
        _ => None,
    });
    PlannedCell {
        peak_phase: peak.phase,
        context_tokens: context,
        total_bytes: peak.total,
        left_out: forecast.left_out,
        device_bytes: (peak.on_device > Bytes::ZERO).then_some(peak.on_device),
        by_class_bytes: peak.by_class,
        buffer_bytes: forecast.plan.buffers.iter().map(|buffer| (buffer.key(), buffer.bytes)).collect(),
        streaming: forecast.streaming,
        budget_bytes: fails.min(),
        trial_ms: forecast
            .rates
            .map(|rates| trial_time(&scenario.phases, cell.settings.max_input_len, rates)),
        build_ms: forecast.build_time,
        lever: None,
        cell: record,
    }
}

/// The axis that `cell` tries alone, and what that changes.
fn lever_of(cell: &PlannedCell, cells: &[PlannedCell], bases: &[(String, String)]) -> Option<PlannedLever> {
    bases.iter().find_map(|(axis, base)| {
        let lever = LeverRecord::of_axis(axis, base);
        let held_against = cells.iter().find(|base| lever.is_base_of(&base.cell, &cell.cell))?;
        lever.is_tried_by(&cell.cell, bases).then(|| PlannedLever {
            axis: axis.clone(),
            base: base.clone(),
            value: cell.cell.value(axis).unwrap_or_default().to_owned(),
            expected_bytes: cell.total_bytes.signed_difference(held_against.total_bytes),
        })
    })
}

/// Trials of every cell, and each engine's build once.
fn total_time(cells: &[PlannedCell], trials: u32) -> Option<Millis> {
    let mut builds: BTreeMap<String, f64> = BTreeMap::new();
    let mut total = 0.0;
    for cell in cells {
        total += cell.trial_ms?.0 * f64::from(trials);
        let engine = format!("{} {:?}", cell.cell.source, cell.cell.build);
        builds.insert(engine, cell.build_ms.map_or(0.0, |time| time.0));
    }
    Some(Millis(total + builds.values().sum::<f64>()))
}

fn text(run: &PlannedRun, path: &Path, trials: u32, bases: &[(String, String)]) -> String {
    let mut text = format!(
        "{}{}: {} cells, {trials} trial(s) each. Predicted memory of the phase that needs most:\n",
        path.display(),
        run.shard.map_or_else(String::new, |shard| format!(", shard {shard}")),
        run.cells.len() + run.unplanned.len()
    );
    for cells in run.cells.chunks(CELLS_A_TABLE) {
        text.push('\n');
        text.push_str(&table(&rows(cells, bases)));
    }
    for cell in &run.cells {
        if let Some(left_out) = cell.left_out {
            let (target, id) = (&cell.cell.target, &cell.cell.id.0);
            text.push_str(&format!(
                "\nnot answered by {target}: {id} {}: {left_out}\n",
                cell.cell.describe()
            ));
        }
    }
    for unplanned in &run.unplanned {
        let (cell, why) = (&unplanned.cell, unplanned.why);
        text.push_str(&format!(
            "\nnot answered by {}: {} {}: {why}\n",
            cell.target,
            cell.id.0,
            cell.describe()
        ));
    }
    for excluded in &run.excluded {
        let axes: Vec<String> = excluded.axes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        text.push_str(&format!("\nexcluded: {} ({})", axes.join(" "), excluded.why));
    }
    if !run.excluded.is_empty() {
        text.push('\n');
    }
    text.push_str(&order_in_words(run));
    text.push_str(&format!("\nestimated time: {}\n", time(run.total_ms)));
    text
}

/// The cells of the first blocks, in the order in which they run. Nothing where it is that of the table.
fn order_in_words(run: &PlannedRun) -> String {
    const BLOCKS: usize = 3;
    if run.order != RunOrder::BlockedRandom.name() {
        return format!("\norder: {}\n", run.order);
    }
    let blocks: Vec<&[TrialInOrder]> = run.trials.chunk_by(|a, b| a.trial == b.trial).collect();
    let mut text = format!("\norder: {}\n", run.order);
    for block in blocks.iter().take(BLOCKS) {
        let ids: Vec<&str> = block.iter().map(|next| next.cell.0.as_str()).collect();
        let trial = block.first().map_or(0, |next| next.trial);
        text.push_str(&format!("  trial {trial}: {}\n", ids.join(" ")));
    }
    if blocks.len() > BLOCKS {
        text.push_str(&format!("  and {} trials more of each cell\n", blocks.len() - BLOCKS));
    }
    text
}

fn rows(cells: &[PlannedCell], bases: &[(String, String)]) -> Vec<Vec<String>> {
    let row = |title: &str, value: &dyn Fn(&PlannedCell) -> String| {
        std::iter::once(title.to_owned()).chain(cells.iter().map(value)).collect::<Vec<String>>()
    };
    let mut rows = vec![row("cell", &|cell| cell.cell.id.0.clone())];
    let mut axes: Vec<&String> = Vec::new();
    for (axis, _) in cells.iter().flat_map(|cell| &cell.cell.axes) {
        if !axes.contains(&axis) {
            axes.push(axis);
        }
    }
    for axis in axes {
        rows.push(row(axis, &|cell| cell.cell.value(axis).unwrap_or_default().to_owned()));
    }
    if cells.iter().any(|cell| cell.cell.name.is_some()) {
        let name = |cell: &PlannedCell| cell.cell.name.as_ref().map_or("", |name| &name.name).to_owned();
        rows.push(row("name", &name));
    }
    if !bases.is_empty() {
        rows.push(row("lever", &|cell| stands_for(cell, bases)));
    }
    rows.push(row("phase", &|cell| cell.peak_phase.to_string()));
    rows.push(row("context", &|cell| format!("{} tokens", cell.context_tokens.0)));
    for class in BufferClass::ALL {
        if cells.iter().any(|cell| cell.by_class_bytes.contains_key(class)) {
            let size = |cell: &PlannedCell| {
                cell.by_class_bytes.get(class).map_or(String::new(), |bytes| mib(*bytes))
            };
            rows.push(row(class.name(), &size));
        }
    }
    rows.push(row("total", &|cell| mib(cell.total_bytes)));
    if cells.iter().any(|cell| cell.device_bytes.is_some()) {
        rows.push(row("on the device", &|cell| cell.device_bytes.map_or(String::new(), mib)));
    }
    if cells.iter().any(|cell| cell.lever.is_some()) {
        let change = |cell: &PlannedCell| {
            cell.lever.as_ref().map_or(String::new(), |lever| signed(lever.expected_bytes))
        };
        rows.push(row("against base", &change));
    }
    if cells.iter().any(|cell| cell.streaming.is_some()) {
        let mut push = |title: &str, of: fn(&StreamingForecast) -> Bytes| {
            let size = |cell: &PlannedCell| cell.streaming.as_ref().map_or(String::new(), |it| mib(of(it)));
            rows.push(row(title, &size));
        };
        push("streamable", |streaming| streaming.streamable_bytes);
        push("smallest budget", |streaming| streaming.floor_bytes);
        push("weights and ring", |streaming| streaming.resident_bytes);
        push("streamed a token", |streaming| streaming.streamed_bytes_per_token);
    }
    rows.push(row("budget", &|cell| cell.budget_bytes.map_or("none".to_owned(), mib)));
    rows.push(row("trial", &|cell| time(cell.trial_ms)));
    rows.push(row("build", &|cell| cell.build_ms.map_or("cached".to_owned(), |at| time(Some(at)))));
    rows
}

/// What a cell is there for: the lever that it tries, or the base, or several values at once.
fn stands_for(cell: &PlannedCell, bases: &[(String, String)]) -> String {
    if let Some(lever) = &cell.lever {
        return lever.axis.clone();
    }
    let is_base = bases.iter().all(|(axis, base)| cell.cell.value(axis) == Some(base));
    if is_base { "base".to_owned() } else { "several".to_owned() }
}

/// A change in the unit of the table, with its sign.
fn signed(bytes: i64) -> String {
    format!("{:+.1} MiB", bytes as f64 / (1 << 20) as f64)
}

/// One unit for a whole table, so that columns can be compared by eye.
fn mib(bytes: Bytes) -> String {
    format!("{:.1} MiB", bytes.as_mib())
}

fn time(time: Option<Millis>) -> String {
    match time {
        None => "unknown".to_owned(),
        Some(Millis(ms)) if ms >= 120_000.0 => format!("{:.0} min", ms / 60_000.0),
        Some(Millis(ms)) => format!("{:.0} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(source: &str, trial_ms: Option<f64>) -> PlannedCell {
        PlannedCell {
            cell: CellRecord {
                id: crate::record::CellId(source.to_owned()),
                model: "m".to_owned(),
                name: None,
                axes: Vec::new(),
                settings: BTreeMap::new(),
                build: BTreeMap::new(),
                source: source.to_owned(),
                synthetic_weights: true,
                target: "builtin".to_owned(),
            },
            peak_phase: Phase::Load,
            context_tokens: Tokens(1),
            buffer_bytes: BTreeMap::new(),
            by_class_bytes: BTreeMap::new(),
            total_bytes: Bytes::ZERO,
            left_out: None,
            device_bytes: None,
            streaming: None,
            budget_bytes: None,
            trial_ms: trial_ms.map(Millis),
            lever: None,
            build_ms: Some(Millis(1000.0)),
        }
    }

    #[test]
    fn builds_count_once_and_an_unknown_time_is_not_zero() {
        let cells = [cell("a", Some(10.0)), cell("a", Some(20.0)), cell("b", Some(30.0))];
        assert_eq!(total_time(&cells, 2), Some(Millis(2120.0)));
        assert_eq!(total_time(&[cell("a", Some(10.0)), cell("b", None)], 1), None);
    }

    #[test]
    fn each_cell_says_which_lever_it_stands_for_and_what_that_changes() {
        let bases =
            [("mtp", "false"), ("lmHead", "int8")].map(|(axis, base)| (axis.to_owned(), base.to_owned()));
        let planned = |values: [&str; 2], mib: u64| {
            let mut planned = cell("a", None);
            let axes = bases.iter().zip(values);
            planned.cell.axes = axes.map(|((axis, _), value)| (axis.clone(), value.to_owned())).collect();
            planned.total_bytes = Bytes::mib(mib);
            planned
        };
        let mut cells = [
            planned(["false", "int8"], 2700),
            planned(["true", "int8"], 2785),
            planned(["false", "int4"], 2400),
            planned(["true", "int4"], 2485),
        ];
        let levers: Vec<_> = cells.iter().map(|cell| lever_of(cell, &cells, &bases)).collect();
        for (cell, lever) in cells.iter_mut().zip(levers) {
            cell.lever = lever;
        }
        let rows = rows(&cells, &bases);
        let row = |title: &str| rows.iter().find(|row| row[0] == title).map(|row| row[1..].join(" | "));
        assert_eq!(row("lever").as_deref(), Some("base | mtp | lmHead | several"));
        assert_eq!(row("against base").as_deref(), Some(" | +85.0 MiB | -300.0 MiB | "));
        assert_eq!(row("mtp").as_deref(), Some("false | true | false | true"));
    }
}
