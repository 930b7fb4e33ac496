//! What a build says of a scenario. What goes wrong here is a reason to skip a commit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use ledger::Bytes;
use serde::{Deserialize, Serialize};

use crate::baseline::{cell_key, locked_cell};
use crate::history::{Noise, SeriesMetric, points_of};
use crate::record::{CellRecord, GateMetric, Run};
use crate::verdict::relative::class_of;

/// One cell of one build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    /// The metric's value: bytes, milliseconds, or tokens per second.
    pub(super) value: f64,
    /// Declared bytes by the ledger's key.
    pub(super) buffers: BTreeMap<String, Bytes>,
}

/// `sweep plan --json`, as far as it is read here.
#[derive(Deserialize)]
struct Plan {
    cells: Vec<PlannedCell>,
}

#[derive(Deserialize)]
struct PlannedCell {
    cell: CellRecord,
    /// Programs that are older than this field have classes alone.
    #[serde(default)]
    buffer_bytes: BTreeMap<String, Bytes>,
    by_class_bytes: BTreeMap<String, Bytes>,
}

/// The value of `metric` in every cell of `scenario` that has one, by the cell's key. Planned bytes are only asked for; everything
/// else is run, into a folder below `runs`.
pub(super) fn measure(
    program: &Path,
    scenario: &Path,
    metric: SeriesMetric,
    runs: &Path,
) -> Result<BTreeMap<String, Measured>, String> {
    match metric {
        SeriesMetric::Planned | SeriesMetric::Of(GateMetric::Planned(_)) => plan(program, scenario, metric),
        SeriesMetric::Of(_) => run(program, scenario, metric, runs),
    }
}

fn plan(program: &Path, scenario: &Path, metric: SeriesMetric) -> Result<BTreeMap<String, Measured>, String> {
    let output = Command::new(program).arg("plan").arg(scenario).arg("--json").output();
    let output = output.map_err(|error| format!("start {}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("sweep plan: {}", last_line(&output.stderr)));
    }
    let plan: Plan =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("sweep plan: {error}"))?;
    let cells = plan.cells.into_iter().map(|cell| {
        let buffers = match cell.buffer_bytes.is_empty() {
            true => cell
                .by_class_bytes
                .iter()
                .map(|(class, bytes)| (format!("target/{class}/all"), *bytes))
                .collect(),
            false => cell.buffer_bytes,
        };
        let is_asked = |key: &str| match metric {
            SeriesMetric::Of(GateMetric::Planned(class)) => class_of(key) == class,
            _ => true,
        };
        let value: Bytes = buffers.iter().filter(|(key, _)| is_asked(key)).map(|(_, bytes)| *bytes).sum();
        (cell_key(&cell.cell), Measured { value: value.0 as f64, buffers })
    });
    Ok(cells.collect())
}

fn run(
    program: &Path,
    scenario: &Path,
    metric: SeriesMetric,
    runs: &Path,
) -> Result<BTreeMap<String, Measured>, String> {
    // The folder has one run, so that it is found whatever it is called.
    if runs.exists() {
        fs::remove_dir_all(runs).map_err(|error| format!("clear {}: {error}", runs.display()))?;
    }
    let output = Command::new(program).arg("run").arg(scenario).arg("--output").arg(runs).output();
    let output = output.map_err(|error| format!("start {}: {error}", program.display()))?;
    let made = fs::read_dir(runs).into_iter().flatten().flatten().next();
    let Some(made) = made else { return Err(format!("sweep run: {}", last_line(&output.stderr))) };
    let run = Run::load(&made.path()).map_err(|error| error.to_string())?;
    let declared: BTreeMap<String, BTreeMap<String, Bytes>> = run
        .record
        .cells
        .iter()
        .filter_map(|cell| Some((cell_key(cell), locked_cell(&run, cell)?.declared_bytes)))
        .collect();
    let points = points_of(&run).into_iter().filter(|point| point.metric == metric);
    let measured = points.map(|point| {
        let buffers = declared.get(&point.cell).cloned().unwrap_or_default();
        (point.cell, Measured { value: point.median, buffers })
    });
    let measured: BTreeMap<String, Measured> = measured.collect();
    match measured.is_empty() {
        true => Err(format!("no cell has a value for {metric}: {}", last_line(&output.stderr))),
        false => Ok(measured),
    }
}

/// True where `after` is another value than `before`, and not only noise.
pub(super) fn differs(metric: SeriesMetric, before: f64, after: f64) -> bool {
    let least = if metric.noise() == Noise::None { 0.0 } else { metric.noise().least_step() };
    (after - before).abs() > least * before.abs()
}

pub(super) fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it says nothing").to_owned()
}
