//! `history.html`: how what was measured moved from run to run. One file without scripts.

use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::page::{self, PLAIN_STYLE, content_security_policy};
use super::svg::trend::trend as chart;
use crate::history::{ChangePoint, Trend};

/// A page of `trends`, as [`crate::history::trends`] orders them. The same trends give the same bytes.
pub fn render(trends: &[Trend]) -> Result<String, minijinja::Error> {
    let mut cells: Vec<Cell<'_>> = Vec::new();
    for series in trends.chunk_by(Trend::continues) {
        let first = &series[0];
        if cells.last().is_none_or(|last| (last.scenario, last.cell) != (&first.scenario, &first.cell)) {
            cells.push(Cell {
                scenario: &first.scenario,
                cell: &first.cell,
                moved: Vec::new(),
                level: Vec::new(),
            });
        }
        if let Some(cell) = cells.last_mut() {
            let metric = Metric::of(series);
            if metric.changes.is_empty() { &mut cell.level } else { &mut cell.moved }.push(metric);
        }
    }
    cells.sort_by_key(|cell| cell.moved.is_empty());
    let page = Page {
        policy: content_security_policy(PLAIN_STYLE, ""),
        style: PLAIN_STYLE,
        moved: cells.iter().filter(|cell| !cell.moved.is_empty()).count(),
        cells,
    };
    page::environment()?.get_template("history.html")?.render(Value::from(Serde(&page)))
}

/// What the template is given.
#[derive(Serialize)]
struct Page<'a> {
    policy: String,
    style: &'static str,
    /// Cells of which something went to another level.
    moved: usize,
    cells: Vec<Cell<'a>>,
}

#[derive(Serialize)]
struct Cell<'a> {
    scenario: &'a str,
    cell: &'a str,
    /// Metrics that went to another level.
    moved: Vec<Metric>,
    /// Those that did not.
    level: Vec<Metric>,
}

#[derive(Serialize)]
struct Metric {
    name: String,
    unit: &'static str,
    finding: String,
    svg: String,
    changes: Vec<String>,
    conditions: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    run: String,
    started_at: String,
    median: String,
    worst: String,
    trials: u32,
}

impl Metric {
    fn of(series: &[Trend]) -> Metric {
        let first = &series[0];
        let changes: Vec<String> = series
            .iter()
            .flat_map(|trend| trend.change_points.iter().map(|change| change_sentence(trend, change)))
            .collect();
        let row = |point: &crate::history::TrendPoint| Row {
            run: point.run.clone(),
            started_at: point.started_at.clone(),
            median: first.metric.in_words(point.median),
            worst: first.metric.in_words(point.worst),
            trials: point.trials,
        };
        let points = series.iter().flat_map(|trend| &trend.points);
        let count = points.clone().count();
        let finding = match changes.len() {
            0 => format!("{} over {count} runs: no change of level", first.metric),
            _ => format!("{} over {count} runs: {}", first.metric, changes.join("; ")),
        };
        Metric {
            name: first.metric.to_string(),
            unit: first.unit,
            svg: chart(series, &finding),
            finding,
            changes,
            conditions: series.iter().flat_map(|trend| trend.differences.clone()).collect(),
            rows: points.map(row).collect(),
        }
    }
}

/// `2,504.9 → 2,568.9 MiB (+2.6 %) since 2026-05-27, program 0.1.0`.
pub fn change_sentence(trend: &Trend, change: &ChangePoint) -> String {
    let [before, after] = [change.before, change.after].map(|value| trend.metric.in_words(value));
    let part = match change.before == 0.0 {
        true => String::new(),
        false => format!(" ({:+.1} %)", (change.after - change.before) / change.before * 100.0),
    };
    format!("{before} → {after} {}{part} since {}", trend.unit, trend.since(change))
}
