//! Device memory over time, under the same phases as the chart of resident memory.

use ledger::{Bytes, Micros};

use super::series::{Curve, Drawn, Line, Peak, over_time};
use crate::record::{DeviceSample, DeviceSeries, RecordedTrial};
use crate::verdict::device;

/// Times the usual interval without a reading from which on nothing counts as seen.
const INTERVALS: u64 = 5;

/// What the area of the chart is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Memory of the target's processes.
    Process,
    /// What is taken on all devices, less what was when the trial began: other processes are in it.
    Growth,
    /// Nothing: there are the peaks of the phases alone.
    Nothing,
}

/// What can be drawn of `trial`.
pub fn seen(trial: &RecordedTrial) -> Seen {
    let Some(series) = trial.device_series.measured() else { return Seen::Nothing };
    if series.samples.iter().any(|sample| sample.used.is_some_and(|bytes| bytes.0 > 0)) {
        Seen::Process
    } else if series.samples.iter().any(|sample| sample.taken.is_some()) {
        Seen::Growth
    } else {
        Seen::Nothing
    }
}

/// The chart, saying `finding`.
pub fn device_series(trial: &RecordedTrial, lines: &[Line], finding: &str) -> String {
    let phases = &trial.record.phases;
    let series = trial.device_series.measured();
    let peaks = phases.iter().filter_map(|phase| {
        let bytes = *device::peak_in(trial, phase).measured()?;
        let is_lower_bound = device::lower_bound(trial, phase).is_some();
        Some(Peak { from: phase.started_us, to: phase.ended_us, bytes, is_lower_bound })
    });
    let drawn = Drawn {
        curves: series.map(|series| curve(series, seen(trial))).into_iter().collect(),
        gaps: series.map(gaps).unwrap_or_default(),
        peaks: peaks.collect(),
        last: series.and_then(|series| series.samples.last()).map(|sample| sample.at),
    };
    over_time(&drawn, phases, lines, finding)
}

fn curve(series: &DeviceSeries, seen: Seen) -> Curve {
    let before = series.samples.iter().find_map(|sample| sample.taken).unwrap_or_default();
    let value = |sample: &DeviceSample| match seen {
        Seen::Process => sample.used,
        Seen::Growth => sample.taken.map(|taken| taken.saturating_sub(before)),
        Seen::Nothing => None,
    };
    let points = series.samples.iter().filter_map(|sample| Some((sample.at, value(sample)?)));
    ("a-device", points.collect::<Vec<(Micros, Bytes)>>())
}

/// Stretches without a reading: how often there should be one follows from how often there is.
fn gaps(series: &DeviceSeries) -> Vec<(Micros, Micros)> {
    let pairs = || series.samples.windows(2).map(|pair| (pair[0].at, pair[1].at));
    let mut intervals: Vec<u64> = pairs().map(|(from, to)| to.0 - from.0).collect();
    intervals.sort_unstable();
    let usual = intervals.get(intervals.len() / 2).copied().unwrap_or_default();
    pairs().filter(|(from, to)| to.0 - from.0 > usual.saturating_mul(INTERVALS)).collect()
}
