//! Plan, ledger and what is measured at each phase edge, as a table.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes, CountedBy, MemoryKind};
use serde::Serialize;

use crate::number::{Shown, cell, grouped, mib, peak_mib, signed_mib};
use crate::record::{DeviceReading, PhaseRecord, Reading, RecordedTrial, TrialRecord};
use crate::report::svg::palette::Kind;
use crate::verdict::device::{self, DeviceEdge};
use crate::verdict::evidence::{self, planned_of};

/// The table: for each memory a row a class, and under them what is measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Accounts {
    phases: Vec<&'static str>,
    groups: Vec<Group>,
    /// True where the second group is a device's.
    on_device: bool,
    /// Every reason behind an `n/a`, once.
    unread: Vec<String>,
}

/// One memory.
#[derive(Debug, Clone, Serialize)]
struct Group {
    /// Which, where there are two.
    name: Option<&'static str>,
    classes: Vec<ClassRow>,
    sums: Vec<SumRow>,
}

#[derive(Debug, Clone, Serialize)]
struct ClassRow {
    name: &'static str,
    swatch: String,
    /// Plan and ledger of each phase.
    edges: Vec<(Shown, Shown)>,
}

#[derive(Debug, Clone, Serialize)]
struct SumRow {
    name: &'static str,
    strong: bool,
    edges: Vec<Shown>,
}

impl Accounts {
    pub(super) fn of(trial: &RecordedTrial) -> Accounts {
        let phases = &trial.record.phases;
        let host =
            |name| Group { name, classes: classes(&trial.record, MemoryKind::Host), sums: host_sums(trial) };
        let holds_memory = device::holds_memory(trial);
        let is_named = phases.iter().any(|phase| !phase.end.device_class_bytes.is_empty());
        let groups = if holds_memory {
            let on_device = Group {
                name: Some("On the device"),
                classes: classes(&trial.record, MemoryKind::Device),
                sums: device_sums(trial),
            };
            vec![host(Some("In host memory")), on_device]
        } else {
            let mut all = host(is_named.then_some("In host memory"));
            all.sums
                .push(row("GPU", false, phases, &|phase| cell(&phase.end.gpu_bytes, |bytes| mib(*bytes))));
            // Buffers that a log names, and nobody counts.
            let on_device = is_named.then(|| Group {
                name: Some("On the device, by the target's log"),
                classes: classes(&trial.record, MemoryKind::Device),
                sums: Vec::new(),
            });
            std::iter::once(all).chain(on_device).collect()
        };
        let names = phases.iter().map(|phase| phase.phase.name()).collect();
        let mut accounts = Accounts { phases: names, on_device: holds_memory, groups, unread: Vec::new() };
        accounts.collect_reasons();
        accounts
    }

    fn collect_reasons(&mut self) {
        let mut by_reason: Vec<(&str, Vec<&str>, Vec<&str>)> = Vec::new();
        for row in self.groups.iter().flat_map(|group| &group.sums) {
            for (phase, shown) in self.phases.iter().zip(&row.edges) {
                let Some(why) = shown.why.as_deref() else { continue };
                if by_reason.iter().all(|(known, ..)| *known != why) {
                    by_reason.push((why, Vec::new(), Vec::new()));
                }
                let Some((_, rows, phases)) = by_reason.iter_mut().find(|(known, ..)| *known == why) else {
                    continue;
                };
                if !rows.contains(&row.name) {
                    rows.push(row.name);
                }
                if !phases.contains(phase) {
                    phases.push(phase);
                }
            }
        }
        let sentence = |(why, rows, phases): &(&str, Vec<&str>, Vec<&str>)| {
            let what = if rows.len() > 3 { format!("{} readings", rows.len()) } else { rows.join(", ") };
            format!("{what} after {}: {why}", phases.join(", "))
        };
        let unread = by_reason.iter().map(sentence).collect();
        self.unread = unread;
    }
}

fn classes(trial: &TrialRecord, memory: MemoryKind) -> Vec<ClassRow> {
    let planned: Vec<Classes> = trial
        .phases
        .iter()
        .map(|phase| match planned_of(trial, memory, phase.phase) {
            Some(plan) => Reading::Measured(plan),
            None => Reading::Unavailable(String::new()),
        })
        .collect();
    let ledgers: Vec<Classes> = trial.phases.iter().map(|phase| ledger_of(phase, memory)).collect();
    let holds = |side: &Classes, class: BufferClass| {
        side.measured().and_then(|classes| classes.get(&class)).is_some_and(|bytes| bytes.0 > 0)
    };
    let held = |class: &BufferClass| planned.iter().chain(&ledgers).any(|side| holds(side, *class));
    let row = |class: BufferClass| ClassRow {
        name: class.name(),
        swatch: Kind::Class(class).swatch(),
        edges: planned.iter().zip(&ledgers).map(|(plan, ledger)| edge(class, plan, ledger)).collect(),
    };
    BufferClass::ALL.iter().copied().filter(held).map(row).collect()
}

type Classes = Reading<BTreeMap<BufferClass, Bytes>>;

/// The ledger in one memory; on a device that is not there yet, nothing.
fn ledger_of(phase: &PhaseRecord, memory: MemoryKind) -> Classes {
    match (memory, &phase.end.device) {
        (MemoryKind::Host, _) => phase.end.host_classes(),
        (MemoryKind::Device, Some(device)) => Reading::Measured(device.by_class_bytes.clone()),
        (MemoryKind::Device, None) => {
            let named = || phase.end.device_class_bytes.clone();
            phase.end.by_class_bytes.clone().map(|_| named())
        }
    }
}

fn edge(class: BufferClass, plan: &Classes, ledger: &Classes) -> (Shown, Shown) {
    let or_nothing = |bytes: Option<&Bytes>| match bytes {
        Some(bytes) if bytes.0 > 0 => mib(*bytes),
        _ => "–".to_owned(),
    };
    let is_measured_only =
        matches!(class, BufferClass::Program | BufferClass::Driver | BufferClass::DeviceContext);
    let planned = match plan {
        Reading::Measured(plan) if !is_measured_only => Shown::plain(or_nothing(plan.get(&class))),
        _ => Shown::plain(""),
    };
    (planned, cell(ledger, |ledger| or_nothing(ledger.get(&class))))
}

fn row(
    name: &'static str,
    strong: bool,
    phases: &[PhaseRecord],
    read: &dyn Fn(&PhaseRecord) -> Shown,
) -> SumRow {
    SumRow { name, strong, edges: phases.iter().map(read).collect() }
}

fn host_sums(trial: &RecordedTrial) -> Vec<SumRow> {
    let row =
        |name, strong, read: &dyn Fn(&PhaseRecord) -> Shown| row(name, strong, &trial.record.phases, read);
    let share = |phase: &PhaseRecord| match (&phase.end.unaccounted_bytes, &phase.end.resident) {
        (Reading::Measured(bytes), Reading::Measured(resident)) if resident.total().0 > 0 => {
            Shown::plain(grouped(*bytes as f64 * 100.0 / resident.total().0 as f64, 2))
        }
        (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => {
            Shown { text: "n/a".to_owned(), why: Some(why.clone()) }
        }
        _ => Shown::plain("–"),
    };
    vec![
        row("ledger, all classes", false, &|phase| {
            cell(&phase.end.host_classes(), |ledger| mib(ledger.values().copied().sum()))
        }),
        row("measured resident", true, &|phase| cell(&phase.end.resident, |resident| mib(resident.total()))),
        row("unaccounted", false, &|phase| cell(&phase.end.unaccounted_bytes, |bytes| signed_mib(*bytes))),
        row("unaccounted, %", false, &share),
        row("peak within the phase", true, &|phase| {
            let is_bound = evidence::lower_bound(trial, phase).is_some();
            cell(&phase.peak_resident_bytes, |bytes| peak_mib(*bytes, is_bound))
        }),
        row("anonymous", false, &|phase| cell(&phase.end.resident, |resident| mib(resident.anonymous_bytes))),
        row("mapped files", false, &|phase| cell(&phase.end.resident, |resident| mib(resident.file_bytes))),
        row("shared memory", false, &|phase| {
            cell(&phase.end.resident, |resident| mib(resident.shared_bytes))
        }),
        row("proportional set", false, &|phase| cell(&phase.end.proportional_bytes, |bytes| mib(*bytes))),
        row("swapped out", false, &|phase| cell(&phase.end.swap_bytes, |bytes| mib(*bytes))),
    ]
}

/// What the witnesses say, the best one first, and how far they are apart.
fn device_sums(trial: &RecordedTrial) -> Vec<SumRow> {
    let row = |name, strong, read: &dyn Fn(&DeviceEdge, &DeviceReading, &PhaseRecord) -> Shown| {
        let of = |phase: &PhaseRecord| match (DeviceEdge::of(phase), &phase.end.device) {
            (Some(edge), Some(device)) => read(&edge, device, phase),
            _ => Shown::plain("–"),
        };
        row(name, strong, &trial.record.phases, &of)
    };
    let apart = |device: &DeviceReading, phase: &PhaseRecord| match (
        &phase.end.gpu_bytes,
        &device.report.used_by_process,
    ) {
        (Reading::Measured(outside), Reading::Measured(inside)) => {
            Shown::plain(signed_mib(outside.signed_difference(*inside)))
        }
        _ => Shown::plain("–"),
    };
    let share = |edge: &DeviceEdge| {
        cell(&edge.unaccounted_bytes, |bytes| {
            grouped(*bytes as f64 * 100.0 / edge.used_bytes.0.max(1) as f64, 2)
        })
    };
    let peak = |phase: &PhaseRecord| {
        let is_bound = device::lower_bound(trial, phase).is_some();
        cell(&device::peak_in(trial, phase), |bytes| peak_mib(*bytes, is_bound))
    };
    let seen = |phase: &PhaseRecord| cell(&phase.end.gpu_bytes, |bytes| mib(*bytes));
    let mut sums = vec![
        row("ledger and context", false, &|_, device, _| mib_of(device.report.owned())),
        row("used, by the best witness", true, &|edge, _, _| mib_of(edge.used_bytes)),
        row("unaccounted", false, &|edge, _, _| cell(&edge.unaccounted_bytes, |bytes| signed_mib(*bytes))),
        row("unaccounted, %", false, &|edge, _, _| share(edge)),
        self::row("peak within the phase", true, &trial.record.phases, &peak),
        row("the witness", false, &|edge, _, _| Shown::plain(short(edge.counted_by))),
        self::row("NVML, asked from without", false, &trial.record.phases, &seen),
        row("NVML, asked by the target", false, &|_, device, _| {
            cell(&device.report.used_by_process, |bytes| mib(*bytes))
        }),
        row("from without less by the target", false, &|_, device, phase| apart(device, phase)),
        row("taken since the start, all processes", false, &|_, device, _| {
            Shown::plain(signed_mib(device.report.free_at_start.signed_difference(device.report.free_now)))
        }),
    ];
    if device::report(&trial.record).is_some_and(|report| report.unified) {
        // The machine's own count is the one witness that is left there, and it counts everyone.
        let available = |phase: &PhaseRecord| cell(&phase.end.mem_available_bytes, |bytes| mib(*bytes));
        sums.push(self::row("available on the machine", false, &trial.record.phases, &available));
    }
    sums
}

fn mib_of(bytes: Bytes) -> Shown {
    Shown::plain(mib(bytes))
}

fn short(counted_by: CountedBy) -> &'static str {
    match counted_by {
        CountedBy::Process => "process",
        CountedBy::Device => "device",
        CountedBy::Ledger => "ledger",
    }
}
