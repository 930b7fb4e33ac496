//! What one run says of one metric of one cell.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{BufferClass, Bytes};

use super::SeriesMetric;
use crate::baseline::{Fingerprint, cell_key, locked_cell};
use crate::record::{CellRecord, GateMetric, RecordedTrial, RequestRecord, Run};
use crate::verdict::device;
use crate::verdict::evidence::peak_swapped;
use crate::verdict::relative::class_of;
use crate::verdict::statistics::median;

/// One value of a series. Memory is in bytes, times are in milliseconds, rates in tokens per second.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The cell, by [`cell_key`].
    pub cell: String,
    /// What.
    pub metric: SeriesMetric,
    /// What it was measured in and with.
    pub fingerprint: Fingerprint,
    /// The median of the trials.
    pub median: f64,
    /// The worst of the trials: the highest, of a rate the lowest.
    pub worst: f64,
    /// Trials that have a value.
    pub trials: u32,
}

/// Every metric of every cell of `run` that its finished trials have a value for.
pub fn points_of(run: &Run) -> Vec<Point> {
    run.record.cells.iter().flat_map(|cell| of_cell(run, cell)).collect()
}

fn of_cell(run: &Run, cell: &CellRecord) -> Vec<Point> {
    let Some(locked) = locked_cell(run, cell) else { return Vec::new() };
    let finished: Vec<&RecordedTrial> =
        run.trials_of(&cell.id).filter(|trial| trial.record.is_finished()).collect();
    let mut values: Vec<(SeriesMetric, Vec<f64>)> = Vec::new();

    // What is declared is one value, however many trials there are.
    let mut declared: BTreeMap<BufferClass, Bytes> = BTreeMap::new();
    for (key, bytes) in &locked.declared_bytes {
        *declared.entry(class_of(key)).or_default() += *bytes;
    }
    let every = |bytes: Bytes| vec![bytes.0 as f64; finished.len()];
    if !declared.is_empty() {
        values.push((SeriesMetric::Planned, every(declared.values().copied().sum())));
    }
    let planned = |(class, bytes): (&BufferClass, &Bytes)| {
        (SeriesMetric::Of(GateMetric::Planned(*class)), every(*bytes))
    };
    values.extend(declared.iter().map(planned));

    let held: BTreeSet<BufferClass> = locked.held_bytes.values().flat_map(BTreeMap::keys).copied().collect();
    values.extend(held.into_iter().map(|class| {
        let most = finished.iter().filter_map(|trial| held_at_most(trial, class));
        (SeriesMetric::Of(GateMetric::Class(class)), most.map(|bytes| bytes.0 as f64).collect())
    }));

    // Pages that were swapped out make memory too small a number.
    let whole: Vec<&RecordedTrial> =
        finished.iter().copied().filter(|trial| peak_swapped(trial) == Bytes::ZERO).collect();
    let mut of = |metric: GateMetric, trials: &[&RecordedTrial], value: fn(&RecordedTrial) -> Option<f64>| {
        let found = trials.iter().filter_map(|trial| value(trial)).collect();
        values.push((SeriesMetric::Of(metric), found));
    };
    of(GateMetric::Peak, &whole, |trial| Some(trial.record.peak_resident()?.0 as f64));
    of(GateMetric::Device, &whole, device_at_most);
    of(GateMetric::LoadTime, &finished, |trial| trial.record.load_ms());
    of(GateMetric::Ttft, &finished, |trial| trial.record.time_to_first_token_ms());
    of(GateMetric::PrefillRate, &finished, |trial| rate(trial, RequestRecord::prefill_tokens_per_second));
    of(GateMetric::DecodeRate, &finished, |trial| rate(trial, RequestRecord::decode_tokens_per_second));

    let point = |(metric, values): (SeriesMetric, Vec<f64>)| {
        let worse = if metric.is_rate() { f64::min } else { f64::max };
        Some(Point {
            cell: cell_key(cell),
            metric,
            fingerprint: locked.fingerprint.clone(),
            median: median(&values)?,
            worst: values.iter().copied().reduce(worse)?,
            trials: u32::try_from(values.len()).unwrap_or(u32::MAX),
        })
    };
    values.into_iter().filter_map(point).collect()
}

/// The most that `class` held at the end of any phase.
fn held_at_most(trial: &RecordedTrial, class: BufferClass) -> Option<Bytes> {
    let ends = trial.record.phases.iter().map(|phase| &phase.end);
    let held = ends.filter_map(|end| match class {
        BufferClass::Unaccounted => {
            end.unaccounted_bytes.measured().map(|stray| Bytes(stray.max(&0).unsigned_abs()))
        }
        class => Some(end.by_class_bytes.measured()?.get(&class).copied().unwrap_or_default()),
    });
    held.max()
}

fn device_at_most(trial: &RecordedTrial) -> Option<f64> {
    let peaks =
        trial.record.phases.iter().filter_map(|phase| device::peak_in(trial, phase).measured().copied());
    peaks.max().filter(|_| device::holds_memory(trial)).map(|bytes| bytes.0 as f64)
}

fn rate(trial: &RecordedTrial, of: fn(&RequestRecord) -> Option<f64>) -> Option<f64> {
    median(&trial.record.requests.iter().filter_map(of).collect::<Vec<f64>>())
}
