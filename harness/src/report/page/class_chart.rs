//! The chart of all cells, by class.

use ledger::{Bytes, MemoryKind};
use serde::Serialize;

use super::attribution::Attribution;
use super::falls::{both, limit};
use super::overview::worst_trial;
use crate::number::{mib, peak_mib};
use crate::record::{Reading, RecordedTrial, Run};
use crate::report::svg::class_bars::{Bar, Lane, class_bars};
use crate::report::svg::palette::Kind;
use crate::verdict::budget::Subject;
use crate::verdict::{CellVerdict, RunVerdict};

/// The chart with the table behind it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ClassChart {
    svg: String,
    legend: Vec<(String, &'static str)>,
    /// How host and device are told apart, where there is a device.
    memories: Option<&'static str>,
    /// Columns after the cell: one a kind.
    columns: Vec<&'static str>,
    /// Cell and its values, the peak last.
    rows: Vec<(String, Vec<String>)>,
}

pub(super) fn class_chart(run: &Run, verdict: &RunVerdict) -> ClassChart {
    let bars: Vec<Bar> = verdict.cells.iter().map(|cell| bar(cell, worst_trial(run, cell))).collect();
    let parts = |lane: &Lane| [lane.parts.clone(), lane.device_parts.clone()];
    let all = || bars.iter().flat_map(|bar| &bar.lanes).flat_map(parts).flatten();
    let kinds: Vec<Kind> = Kind::all().filter(|kind| all().any(|(own, _)| own == *kind)).collect();
    let rows = bars.iter().zip(&verdict.cells).flat_map(|(bar, cell)| rows(bar, cell, &kinds)).collect();
    let has = |unified: bool| {
        verdict
            .cells
            .iter()
            .filter_map(|cell| cell.device.as_ref())
            .any(|device| device.is_unified() == unified)
    };
    ClassChart {
        svg: class_bars(&bars, &finding(run, verdict)),
        legend: kinds.iter().map(|kind| (kind.swatch(), kind.name())).collect(),
        memories: if has(true) {
            Some(
                "Host and device share one memory here: the host's part of a bar is left of the line, the device's right of it, and the budget is on both.",
            )
        } else if has(false) {
            Some("Two memories a cell: the host's above, the device's below, each with its own budget.")
        } else {
            None
        },
        columns: kinds.iter().map(|kind| kind.name()).collect(),
        rows,
    }
}

/// One row a memory, with the values of each kind and the peak.
fn rows(bar: &Bar, cell: &CellVerdict, kinds: &[Kind]) -> Vec<(String, Vec<String>)> {
    let row = |name: String, parts: &[(Kind, Bytes)], peak: Option<Bytes>, is_bound: bool| {
        let part = |kind: &Kind| parts.iter().find(|(own, _)| own == kind);
        let values = kinds
            .iter()
            .map(|kind| part(kind).map_or_else(|| "–".to_owned(), |(_, bytes)| mib(*bytes)))
            .chain([peak.map_or_else(|| "n/a".to_owned(), |bytes| peak_mib(bytes, is_bound))]);
        (name, values.collect())
    };
    let bounds = &cell.peak_lower_bounds;
    let sum = |parts: &[(Kind, Bytes)]| Some(parts.iter().map(|(_, bytes)| *bytes).sum());
    match bar.lanes.as_slice() {
        [lane] if lane.device_parts.is_empty() => {
            vec![row(cell.label.clone(), &lane.parts, lane.peak, lane.is_lower_bound)]
        }
        [lane] => vec![
            row(format!("{}, host", cell.label), &lane.parts, sum(&lane.parts), bounds.in_host()),
            row(
                format!("{}, device", cell.label),
                &lane.device_parts,
                sum(&lane.device_parts),
                bounds.on_device(),
            ),
        ],
        lanes => lanes
            .iter()
            .zip(["host", "device"])
            .map(|(lane, memory)| {
                row(format!("{}, {memory}", cell.label), &lane.parts, lane.peak, lane.is_lower_bound)
            })
            .collect(),
    }
}

fn bar(cell: &CellVerdict, trial: Option<&RecordedTrial>) -> Bar {
    let found = |memory| Attribution::of(trial?, memory);
    let bounds = &cell.peak_lower_bounds;
    let host = || Lane {
        is_lower_bound: bounds.in_host(),
        ..lane(found(MemoryKind::Host), &cell.peak_resident_bytes, limit(cell, Subject::Total))
    };
    let lanes = match &cell.device {
        None => vec![host()],
        Some(device) if device.is_unified() => {
            let parts = trial.and_then(|trial| both(trial, true));
            let (on_host, on_device) = parts.map_or((None, None), |(host, device)| (Some(host), device));
            let whole = lane(on_host, cell.held_peak(), limit(cell, Subject::HostAndDevice(None)));
            vec![Lane {
                device_parts: on_device.map(|found| found.parts()).unwrap_or_default(),
                is_lower_bound: cell.held_lower_bound().is_some(),
                ..whole
            }]
        }
        Some(device) => {
            let limit = limit(cell, Subject::Device(None));
            let on_device = lane(found(MemoryKind::Device), &device.peak_bytes, limit);
            vec![host(), Lane { is_lower_bound: bounds.on_device(), ..on_device }]
        }
    };
    Bar { model: cell.model.clone(), axes: cell.variant.clone(), word: cell.word.to_string(), lanes }
}

fn lane(found: Option<Attribution>, peak: &Reading<Bytes>, limit: Option<Bytes>) -> Lane {
    let parts = match (found, peak.measured()) {
        (Some(found), _) => found.parts(),
        (None, Some(peak)) => vec![(Kind::Released, *peak)],
        (None, None) => Vec::new(),
    };
    Lane {
        silent: parts.is_empty().then(|| match peak {
            Reading::Unavailable(why) => why.clone(),
            Reading::Measured(_) => "nothing was held".to_owned(),
        }),
        parts,
        device_parts: Vec::new(),
        peak: peak.measured().copied(),
        is_lower_bound: false,
        limit,
    }
}

fn finding(run: &Run, verdict: &RunVerdict) -> String {
    let on_a_device = verdict.cells.iter().any(|cell| cell.device.is_some());
    let what = if on_a_device { "Host and device memory" } else { "Resident memory" };
    let over = |cell: &&CellVerdict| {
        let whole = cell.budgets.iter().filter(|result| result.subject.is_whole());
        whole.filter_map(|result| result.margin_bytes).any(|margin| margin < 0)
    };
    let over = verdict.cells.iter().filter(over).count();
    let highest = verdict.cells.iter().filter_map(|cell| Some((cell.held_peak().measured()?, cell)));
    let Some((peak, cell)) = highest.max_by_key(|(peak, _)| **peak) else {
        return format!("{what} of each cell by class: no peak was measured.");
    };
    let memory = if cell.device.is_some() { MemoryKind::Device } else { MemoryKind::Host };
    let found = worst_trial(run, cell).and_then(|trial| Attribution::of(trial, memory));
    let largest = found
        .and_then(|found| found.largest())
        .map_or_else(String::new, |(class, bytes)| format!(", of which {class} is {} MiB", mib(bytes)));
    format!(
        "{what} of each cell at its peak, stacked by class. {over} of {} cells reach beyond their budget line. \
         The highest is {} with {} MiB{largest}.",
        verdict.cells.len(),
        cell.label,
        peak_mib(*peak, cell.held_lower_bound().is_some())
    )
}
