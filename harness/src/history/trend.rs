//! Series out of the index, each of one fingerprint, with what the rules say of it.

use serde::Serialize;

use super::index::Row;
use super::{ChangePoint, GateLine, HistoryError, Index, SeriesMetric, change_points, gate_line};

/// Which series.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Only this scenario.
    pub scenario: Option<&'a str>,
    /// Only cells that have this in their name.
    pub cell: Option<&'a str>,
    /// Only this metric.
    pub metric: Option<SeriesMetric>,
}

/// One metric of one cell, run after run, under the same conditions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trend {
    /// The scenario.
    pub scenario: String,
    /// The cell, by model, target and axis values.
    pub cell: String,
    /// What.
    pub metric: SeriesMetric,
    /// Its unit: bytes are given as MiB on screens, and as bytes in `points`.
    pub unit: &'static str,
    /// The conditions, by the hash of the fingerprint.
    pub fingerprint: String,
    /// What differs from the conditions of the series before, in words; nothing for the first one.
    pub differences: Vec<String>,
    /// Values in the order of time.
    pub points: Vec<TrendPoint>,
    /// Where it went to another level.
    pub change_points: Vec<ChangePoint>,
    /// How large a step is more than usual.
    pub gate_line: GateLine,
    /// True where the last step is.
    pub last_step_is_over: bool,
}

/// One run of a series. Memory is in bytes, times are in milliseconds, rates in tokens per second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrendPoint {
    /// The run.
    pub run: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// The program's version.
    pub program_version: String,
    /// The program file's SHA-256; empty where the record does not say.
    pub program_sha256: String,
    /// The median of the trials.
    pub median: f64,
    /// The worst of them.
    pub worst: f64,
    /// How many there are.
    pub trials: u32,
}

impl Trend {
    /// Medians, in the order of time.
    pub fn medians(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.median).collect()
    }

    /// True where `other` is of the same metric of the same cell, under other conditions.
    pub fn continues(&self, other: &Trend) -> bool {
        (&self.scenario, &self.cell, self.metric) == (&other.scenario, &other.cell, other.metric)
    }

    /// `2026-05-27, program 0.1.0 (1a2b3c4d)`: when it first was at the level of `change`, and what measured it.
    pub fn since(&self, change: &ChangePoint) -> String {
        let Some(point) = self.points.get(change.at) else { return String::new() };
        let build = point.program_sha256.get(..8).map(|hash| format!(" ({hash})")).unwrap_or_default();
        let day = point.started_at.get(..10).unwrap_or(&point.started_at);
        format!("{day}, program {}{build}", point.program_version)
    }
}

/// Every series that is asked for: by scenario, cell and metric, and then by conditions, the earliest first.
pub fn trends(index: &Index, asked: Asked<'_>) -> Result<Vec<Trend>, HistoryError> {
    let metric = asked.metric.map(|metric| metric.to_string());
    let rows = index.rows(asked.scenario, asked.cell, metric.as_deref())?;
    let mut trends: Vec<Trend> = Vec::new();
    for row in rows {
        let metric: SeriesMetric = row.metric.parse().map_err(|what| index.malformed(what))?;
        let is_it = |trend: &&mut Trend| {
            (&trend.scenario, &trend.cell, trend.metric, &trend.fingerprint)
                == (&row.scenario, &row.cell, metric, &row.fingerprint)
        };
        match trends.iter_mut().rev().take_while(|trend| trend.cell == row.cell).find(is_it) {
            Some(trend) => trend.points.push(point(row)),
            None => {
                let earlier = trends.last().filter(|last| {
                    (&last.scenario, &last.cell, last.metric) == (&row.scenario, &row.cell, metric)
                });
                let differences = match earlier {
                    Some(earlier) => {
                        let before = index.fingerprint(&earlier.fingerprint)?;
                        before.differences(&index.fingerprint(&row.fingerprint)?)
                    }
                    None => Vec::new(),
                };
                trends.push(Trend {
                    scenario: row.scenario.clone(),
                    cell: row.cell.clone(),
                    metric,
                    unit: metric.unit(),
                    fingerprint: row.fingerprint.clone(),
                    differences,
                    points: vec![point(row)],
                    change_points: Vec::new(),
                    gate_line: gate_line(&[], metric.noise()),
                    last_step_is_over: false,
                });
            }
        }
    }
    for trend in &mut trends {
        let values = trend.medians();
        trend.change_points = change_points(&values, trend.metric.noise());
        // The step that is judged is no part of what is usual.
        let before = &values[..values.len().saturating_sub(1)];
        trend.gate_line = gate_line(before, trend.metric.noise());
        trend.last_step_is_over = match values.as_slice() {
            [.., was, is] => (is - was).abs() > trend.gate_line.relative_step * was.abs(),
            _ => false,
        };
    }
    Ok(trends)
}

fn point(row: Row) -> TrendPoint {
    TrendPoint {
        run: row.run,
        started_at: row.started_at,
        program_version: row.program_version,
        program_sha256: row.program_sha256,
        median: row.median,
        worst: row.worst,
        trials: row.trials,
    }
}
