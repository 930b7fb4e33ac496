//! The device of a cell: what it is, what was held of it, and how that went over time.

use serde::Serialize;

use crate::number::{Shown, at_most, cell as shown, mib, peak_mib, signed_mib};
use crate::record::{Reading, RecordedTrial};
use crate::report::svg::device_series::{Seen, device_series, seen};
use crate::report::svg::series::Line;
use crate::verdict::CellVerdict;
use crate::verdict::budget::{Limit, Subject};
use crate::verdict::device::{self, DeviceVerdict};
use crate::verdict::evidence::LowerBounds;

/// The chart of device memory over time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DeviceTimeline {
    svg: String,
    /// What the area is; `None` where there is none.
    area: Option<&'static str>,
    /// Why nothing is drawn but peaks.
    why: Option<String>,
    /// Phase, and the most that was seen in it.
    rows: Vec<(&'static str, Shown)>,
}

/// The device in one line: name, architecture, driver, and whose its memory is.
pub(super) fn description(device: &DeviceVerdict) -> String {
    let Some(report) = &device.report else {
        return "a device that the target says nothing of".to_owned();
    };
    let memory = if report.unified {
        format!("shares {} MiB with the host: each byte counts once", mib(report.total))
    } else {
        format!("{} MiB of its own", mib(report.total))
    };
    format!("{}, {}, {}; {memory}", report.name, report.architecture, report.driver)
}

/// What is said of the device among a cell's facts.
pub(super) fn facts(cell: &CellVerdict) -> Vec<(&'static str, Shown, &'static str)> {
    let Some(device) = &cell.device else { return Vec::new() };
    let mut facts = vec![(
        "Peak on the device",
        shown(&device.peak_bytes, |bytes| peak_mib(*bytes, cell.peak_lower_bounds.on_device())),
        "MiB",
    )];
    if device.is_unified() {
        facts.push((
            "Host and device",
            shown(&device.held_peak_bytes, |bytes| peak_mib(*bytes, cell.held_lower_bound().is_some())),
            "MiB",
        ));
    }
    let budgets = [
        (Subject::Device(None), "Device budget", "Device margin"),
        (Subject::HostAndDevice(None), "Budget on both", "Margin on both"),
    ];
    for (subject, limit, margin) in budgets {
        let Some(result) = cell.tightest(subject) else { continue };
        if let Some(Limit::Bytes(bytes)) = result.decisive() {
            facts.push((limit, Shown::plain(mib(bytes)), "MiB"));
        }
        if let Some(bytes) = result.margin_bytes {
            let mark = at_most(result.is_lower_bound);
            facts.push((margin, Shown::plain(mark.to_owned() + &signed_mib(bytes)), "MiB"));
        }
    }
    facts
}

impl DeviceTimeline {
    /// `None` where `trial` holds no memory of a device.
    pub(super) fn of(cell: &CellVerdict, trial: &RecordedTrial) -> Option<DeviceTimeline> {
        if !device::holds_memory(trial) {
            return None;
        }
        let lines = super::cell::lines(cell, Subject::Device(None));
        let drawn = seen(trial);
        let peak = device::peak(trial);
        let finding = format!(
            "Device memory of {}, trial {}, over time: the most that was seen is {}{}.",
            cell.label,
            trial.record.trial,
            peak.map_or_else(
                || "not known".to_owned(),
                |(phase, bytes)| {
                    format!("{} MiB, in {phase}", peak_mib(bytes, LowerBounds::of(trial).on_device()))
                }
            ),
            against(&lines, peak.map(|(_, bytes)| bytes))
        );
        Some(DeviceTimeline {
            svg: device_series(trial, &lines, &finding),
            area: match drawn {
                Seen::Process => Some("of the target's processes (NVML)"),
                Seen::Growth => Some("taken on all devices since the start, other processes included (NVML)"),
                Seen::Nothing => None,
            },
            why: match (&trial.device_series, drawn) {
                (Reading::Unavailable(why), _) => Some(uncounted(trial).unwrap_or(why.as_str()).to_owned()),
                (Reading::Measured(_), Seen::Nothing) => Some("no reading of it could be taken".to_owned()),
                (Reading::Measured(_), _) => None,
            },
            rows: trial
                .record
                .phases
                .iter()
                .map(|phase| {
                    let is_bound = device::lower_bound(trial, phase).is_some();
                    (
                        phase.phase.name(),
                        shown(&device::peak_in(trial, phase), |bytes| peak_mib(*bytes, is_bound)),
                    )
                })
                .collect(),
        })
    }
}

/// Why the driver does not count the target's memory at a phase edge.
fn uncounted(trial: &RecordedTrial) -> Option<&str> {
    trial.record.phases.iter().filter(|phase| phase.end.device.is_some()).find_map(|phase| {
        match &phase.end.gpu_bytes {
            Reading::Unavailable(why) => Some(why.as_str()),
            Reading::Measured(_) => None,
        }
    })
}

/// How the peak stands to the tightest failing limit, as the end of a sentence.
pub(super) fn against(lines: &[Line], peak: Option<ledger::Bytes>) -> String {
    let tightest = lines.iter().filter(|line| line.fails).map(|line| line.limit).min();
    match (peak, tightest) {
        (Some(peak), Some(limit)) if peak > limit => format!(", above the budget of {} MiB", mib(limit)),
        (Some(_), Some(limit)) => format!(", within the budget of {} MiB", mib(limit)),
        _ => String::new(),
    }
}
