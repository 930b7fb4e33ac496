//! What the peak of a cell is made of: one fall for each of its memories.

use ledger::{BufferClass, Bytes, MemoryKind};
use serde::Serialize;

use super::attribution::Attribution;
use crate::number::{mib, peak_mib, signed_mib};
use crate::record::RecordedTrial;
use crate::report::svg::palette::Kind;
use crate::report::svg::waterfall::{Fall, Step, waterfall};
use crate::verdict::budget::Subject;
use crate::verdict::device;
use crate::verdict::evidence::LowerBounds;
use crate::verdict::{BudgetResult, CellVerdict};

/// The chart with what stands around it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Falls {
    trial: u32,
    svg: String,
    /// The edges that the classes are from, in words.
    edges: String,
    /// What is not attributed, in words.
    remainder: String,
    /// The numbers of the chart.
    rows: Vec<FallRow>,
}

#[derive(Debug, Clone, Serialize)]
struct FallRow {
    name: String,
    size: String,
    /// What the parts so far come to.
    reached: String,
    /// True for what they all come to.
    sum: bool,
}

fn rows(falls: &[Fall]) -> Vec<FallRow> {
    let mut rows = Vec::new();
    for fall in falls {
        let mut reached = fall.from.signed_difference(Bytes::ZERO);
        for step in &fall.steps {
            reached += step.bytes;
            let is_bound = fall.is_lower_bound && reached == fall.peak.signed_difference(Bytes::ZERO);
            let level = peak_mib(Bytes(reached.max(0).unsigned_abs()), is_bound);
            rows.push(FallRow {
                name: step.name.clone(),
                size: signed_mib(step.bytes),
                reached: level,
                sum: false,
            });
        }
        let peak = peak_mib(fall.peak, fall.is_lower_bound);
        let limit = fall.limit.map_or_else(String::new, |limit| format!(", budget {}", mib(limit)));
        let name = format!("{}{limit}", fall.peak_name);
        rows.push(FallRow { name, size: String::new(), reached: peak, sum: true });
    }
    rows
}

impl Falls {
    pub(super) fn of(cell: &CellVerdict, trial: &RecordedTrial) -> Option<Falls> {
        let unified = cell.device.as_ref().is_some_and(|device| device.is_unified());
        let (host, on_device) = both(trial, unified)?;
        let bounds = LowerBounds::of(trial);
        let mut falls = vec![Fall {
            heading: on_device.is_some().then(|| "Host memory".to_owned()),
            peak_name: "peak resident",
            is_lower_bound: bounds.in_host(),
            limit: limit(cell, Subject::Total),
            ..fall(&host)
        }];
        let mut edges = host.edge.name().to_owned();
        if let Some(on_device) = &on_device {
            let name = cell.device.as_ref().and_then(|device| Some(device.report.as_ref()?.name.as_str()));
            let name = name.unwrap_or("the device");
            let device = fall(on_device);
            falls.push(match unified {
                true => Fall {
                    heading: Some(format!("{name}, in the same memory")),
                    from: host.peak,
                    peak: host.peak + on_device.peak,
                    peak_name: "host and device",
                    is_lower_bound: bounds.in_host() || bounds.on_device(),
                    limit: limit(cell, Subject::HostAndDevice(None)),
                    ..device
                },
                false => Fall {
                    heading: Some(format!("{name}, in memory of its own")),
                    peak_name: "peak on the device",
                    is_lower_bound: bounds.on_device(),
                    limit: limit(cell, Subject::Device(None)),
                    ..device
                },
            });
            if on_device.edge != host.edge {
                edges = format!("{edges} (host) and of {} (device)", on_device.edge);
            }
        }
        Some(Falls {
            trial: trial.record.trial,
            rows: rows(&falls),
            svg: waterfall(&falls, &finding(cell, &bounds, &host, on_device.as_ref())),
            edges,
            remainder: match &on_device {
                Some(device) if device.remainder_words() != host.remainder_words() => format!(
                    "in host memory {}; on the device {}",
                    host.remainder_words(),
                    device.remainder_words()
                ),
                _ => host.remainder_words(),
            },
        })
    }
}

/// The peaks of both memories; on unified memory those of the phase in which they are the most together.
pub(super) fn both(trial: &RecordedTrial, unified: bool) -> Option<(Attribution, Option<Attribution>)> {
    let phase = if unified { device::held_peak(trial).map(|(phase, _)| phase) } else { None };
    let of = |memory| match phase {
        Some(phase) => Attribution::in_phase(trial, memory, phase),
        None => Attribution::of(trial, memory),
    };
    Some((of(MemoryKind::Host)?, of(MemoryKind::Device)))
}

/// The decisive limit on `subject`, the tightest of several.
pub(super) fn limit(cell: &CellVerdict, subject: Subject) -> Option<Bytes> {
    cell.tightest(subject).and_then(BudgetResult::decisive).map(|limit| limit.bytes_of(Bytes::ZERO))
}

fn fall(found: &Attribution) -> Fall {
    let of = |kind: Kind, bytes| Step { name: kind.name().to_owned(), kind, bytes };
    let step =
        |(class, bytes): &(BufferClass, Bytes)| of(Kind::Class(*class), bytes.signed_difference(Bytes::ZERO));
    let mut steps: Vec<Step> = found.classes.iter().map(step).collect();
    if let Some(bytes) = found.unaccounted {
        steps.push(of(Kind::Class(BufferClass::Unaccounted), bytes));
    }
    if found.remainder != 0 {
        steps.push(of(Kind::Released, found.remainder));
    }
    Fall { steps, peak: found.peak, ..Fall::default() }
}

fn finding(
    cell: &CellVerdict,
    bounds: &LowerBounds,
    host: &Attribution,
    on_device: Option<&Attribution>,
) -> String {
    let largest = |found: &Attribution| {
        let mut largest = found.classes.clone();
        largest.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let parts: Vec<String> =
            largest.iter().take(3).map(|(class, bytes)| format!("{class} {} MiB", mib(*bytes))).collect();
        let unaccounted = found
            .unaccounted
            .map_or_else(|| "not known".to_owned(), |bytes| format!("{} MiB", signed_mib(bytes)));
        format!("The largest: {}. Unaccounted: {unaccounted}.", parts.join(", "))
    };
    let of_host = format!(
        "The peak of {}, {} MiB, by class. {}",
        cell.label,
        peak_mib(host.peak, bounds.in_host()),
        largest(host)
    );
    match on_device {
        None => of_host,
        Some(found) => {
            format!(
                "{of_host} The peak on the device, {} MiB, by class. {}",
                peak_mib(found.peak, bounds.on_device()),
                largest(found)
            )
        }
    }
}
