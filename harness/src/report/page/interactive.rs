//! The series of a trial as data for the page's script, which draws it so that it can be zoomed.

use ledger::{Bytes, Micros};
use serde::Serialize;

use super::events::Event;
use crate::record::{RecordedTrial, Sample};
use crate::report::downsample;
use crate::report::svg::draw::shortened;
use crate::report::svg::series::Line;
use crate::report::text::tame;
use crate::verdict::evidence::LONGEST_GAP_AT_AN_EDGE;

/// Columns of time of which the first, lowest, highest and last sample are kept: of cells that need a look, and of others.
const COLUMNS: usize = 400;
const COLUMNS_OF_PASSED: usize = 160;

/// Sizes are given in steps of so many bytes: less than the tenth of a MiB that is shown.
const STEP: u64 = 1 << 16;

/// What the script is given. Times are milliseconds; `t`, `a`, `f` and `s` each start at a value and go on by differences.
#[derive(Debug, Clone, Serialize)]
struct Data {
    /// Bytes of a step.
    step: u64,
    t: Vec<i64>,
    /// Anonymous pages, in steps.
    a: Vec<i64>,
    /// Pages of mapped files, in steps.
    f: Vec<i64>,
    /// Shared memory, in steps; empty where there is none.
    s: Vec<i64>,
    /// Name, start, end, and the exact peak in MiB.
    phases: Vec<(&'static str, u64, u64, Option<f64>)>,
    /// Name, MiB, and whether it fails.
    budgets: Vec<(String, f64, bool)>,
    /// Stretches in which nothing was seen.
    gaps: Vec<(u64, u64)>,
    /// When something changed hands.
    events: Vec<u64>,
}

/// The series of `trial` as JSON. `None` where there is none, or too little of it to draw.
pub(super) fn data(trial: &RecordedTrial, lines: &[Line], events: &[Event], closely: bool) -> Option<String> {
    let series = trial.series.measured()?;
    let whole: Vec<&Sample> = series.samples.iter().filter(|sample| sample.resident().is_some()).collect();
    let totals: Vec<(Micros, u64)> =
        whole.iter().filter_map(|sample| Some((sample.at, sample.resident()?.0))).collect();
    let steps = |bytes: Option<Bytes>| (bytes.unwrap_or_default().0 + STEP / 2) / STEP;
    let mut rows: Vec<[u64; 4]> = Vec::new();
    let columns = if closely { COLUMNS } else { COLUMNS_OF_PASSED };
    for place in downsample::kept(&totals, columns) {
        let sample = whole[place];
        let row = [sample.at.0 / 1000, steps(sample.anonymous), steps(sample.file), steps(sample.shared)];
        // Of a stretch on one level its two ends draw the same line.
        if let [.., before, last] = rows.as_mut_slice()
            && before[1..] == last[1..]
            && last[1..] == row[1..]
        {
            *last = row;
        } else {
            rows.push(row);
        }
    }
    if rows.len() < 2 {
        return None;
    }
    let column = |at: usize| {
        let mut before = 0;
        let difference = |row: &[u64; 4]| {
            let value = row[at] as i64;
            let change = value - before;
            before = value;
            change
        };
        rows.iter().map(difference).collect::<Vec<i64>>()
    };
    let ms = |at: Micros| at.0 / 1000;
    let tenths = |bytes: Bytes| (bytes.as_mib() * 10.0).round() / 10.0;
    let data = Data {
        step: STEP,
        t: column(0),
        a: column(1),
        f: column(2),
        s: if rows.iter().any(|row| row[3] > 0) { column(3) } else { Vec::new() },
        phases: trial
            .record
            .phases
            .iter()
            .map(|phase| {
                let peak = phase.peak_resident_bytes.measured().map(|bytes| tenths(*bytes));
                (phase.phase.name(), ms(phase.started_us), ms(phase.ended_us), peak)
            })
            .collect(),
        budgets: lines
            .iter()
            .map(|line| (shortened(&tame(&line.label), 40), tenths(line.limit), line.fails))
            .collect(),
        gaps: series.gaps(LONGEST_GAP_AT_AN_EDGE).map(|(from, to)| (ms(from), ms(to))).collect(),
        events: events.iter().map(|event| event.ms).collect(),
    };
    // Numbers and names: nothing in it can fail to be JSON.
    serde_json::to_string(&data).ok()
}
