//! The class behind an overage, and the buffer: the one that exceeds its plan by most, else the largest.

use ledger::{BufferClass, Bytes, MemoryKind, Phase, Role};
use schemars::JsonSchema;
use serde::Serialize;

use super::buffers::{BufferGroup, buffer_groups};
use super::device::DeviceEdge;
use super::evidence;
use crate::number::{grouped, mib};
use crate::record::{PhaseRecord, TrialRecord, schema};

/// Part of resident memory from which on an excess over the plan explains more than sheer size does.
const TELLING_PART: u64 = 33;

/// A class that a reader should look at first.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Responsible {
    /// The class.
    #[schemars(with = "schema::ClassName")]
    pub class: BufferClass,
    /// What it held at the phase edge that was looked at.
    #[schemars(with = "schema::Bytes")]
    pub bytes: Bytes,
    /// By how much that is more than planned, where there is a plan.
    pub over_plan_bytes: Option<i64>,
    /// The phase edge.
    #[schemars(with = "schema::PhaseName")]
    pub phase: Phase,
    /// The part of the overage that this excess explains, from 0 to 1. `None` where the class is as large as planned, or
    /// nothing is over.
    pub overage_share: Option<f64>,
    /// The buffer of that class. `None` where neither plan nor ledger names one.
    pub buffer: Option<ResponsibleBuffer>,
}

/// Buffers of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResponsibleBuffer {
    /// Target or draft.
    #[schemars(with = "schema::Role")]
    pub role: Role,
    /// Their name, with a star for the layer's number.
    pub name: String,
    /// The most that they held together.
    #[schemars(with = "schema::Bytes")]
    pub bytes: Bytes,
    /// By how much that is more than the plan allows, where there is a ledger.
    pub over_plan_bytes: Option<i64>,
    /// The size in words; `None` where nobody planned them.
    pub formula: Option<String>,
}

impl ResponsibleBuffer {
    /// The buffer of `class` that exceeds its plan by most, else the largest.
    fn of(trial: &TrialRecord, class: BufferClass) -> Option<ResponsibleBuffer> {
        let groups = buffer_groups(trial);
        let of_class = || groups.iter().filter(|group| group.class == class);
        let excess = |group: &&BufferGroup<'_>| group.over_plan().filter(|excess| *excess > 0);
        let group = of_class()
            .filter(|group| excess(group).is_some())
            .max_by_key(excess)
            .or_else(|| of_class().next())?;
        Some(ResponsibleBuffer {
            role: group.role,
            name: group.name.clone(),
            bytes: group.bytes(),
            over_plan_bytes: group.over_plan(),
            formula: group.planned.map(|planned| planned.formula.clone()),
        })
    }
}

impl Responsible {
    /// One line for people.
    pub fn sentence(&self) -> String {
        let size = format!("{} holds {} MiB after {}", self.class, mib(self.bytes), self.phase);
        match (self.over_plan_bytes, &self.buffer) {
            (Some(excess), buffer) if excess > 0 => {
                let size = format!("{size}, {} MiB more than planned", mib(Bytes(excess.unsigned_abs())));
                match buffer {
                    Some(buffer) if buffer.over_plan_bytes > Some(0) => {
                        format!("{size}, in the buffer {}", buffer.name)
                    }
                    _ => size,
                }
            }
            _ => size,
        }
    }

    /// What part of the overage this is, in words.
    pub fn share_in_words(&self) -> Option<String> {
        let share = self.overage_share?;
        Some(format!("{} % of the overage", grouped(share * 100.0, 0)))
    }
}

/// Which classes can be behind an overage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Those in one kind of memory.
    Memory(MemoryKind),
    /// Those of host and device together.
    Both,
    /// One class alone.
    Class(BufferClass),
}

/// Looks for the class behind an overage of `overage` in `phase`. Where that phase's edge was not attributed, the
/// edge with the most resident memory that was stands in.
pub fn responsible(
    trial: &TrialRecord,
    phase: Option<Phase>,
    overage: Bytes,
    among: Among,
) -> Option<Responsible> {
    let attributed = |record: &&PhaseRecord| record.end.by_class_bytes.measured().is_some();
    let resident = |record: &&PhaseRecord| record.end.resident.measured().map(|resident| resident.total());
    let edge = trial
        .phases
        .iter()
        .filter(attributed)
        .find(|record| Some(record.phase) == phase)
        .or_else(|| trial.phases.iter().filter(attributed).max_by_key(resident))?;
    let only = match among {
        Among::Class(class) => Some(class),
        Among::Both | Among::Memory(_) => None,
    };
    let (of_host, of_device) = (&edge.end.unaccounted_bytes, DeviceEdge::of(edge));
    let of_device = of_device.as_ref().map(|device| &device.unaccounted_bytes);
    let (held, unaccounted, planned) = match among {
        Among::Memory(MemoryKind::Host) => (
            edge.end.host_classes().measured()?.clone(),
            vec![of_host],
            evidence::planned_of(trial, MemoryKind::Host, edge.phase),
        ),
        Among::Memory(MemoryKind::Device) => (
            edge.end.device.as_ref()?.by_class_bytes.clone(),
            of_device.into_iter().collect(),
            evidence::planned_of(trial, MemoryKind::Device, edge.phase),
        ),
        Among::Both | Among::Class(_) => (
            edge.end.by_class_bytes.measured()?.clone(),
            [of_host].into_iter().chain(of_device).collect(),
            evidence::planned_in(trial, edge.phase),
        ),
    };
    let mut classes: Vec<(BufferClass, Bytes)> = held.into_iter().collect();
    let strays = unaccounted.into_iter().filter_map(|reading| reading.measured());
    let strays = strays.filter(|bytes| **bytes > 0 || only == Some(BufferClass::Unaccounted));
    let stray: Bytes = strays.map(|bytes| Bytes(bytes.unsigned_abs())).sum();
    if stray > Bytes::ZERO || only == Some(BufferClass::Unaccounted) {
        classes.push((BufferClass::Unaccounted, stray));
    }
    if let Some(only) = only {
        classes.retain(|(class, _)| *class == only);
    }
    let over_plan = |class: BufferClass, bytes: Bytes| match (&planned, class) {
        // Code, heap and driver are measured, never planned: their size is no excess.
        (_, BufferClass::Program | BufferClass::Driver | BufferClass::DeviceContext) | (None, _) => None,
        (Some(planned), class) => {
            Some(bytes.signed_difference(planned.get(&class).copied().unwrap_or_default()))
        }
    };
    let describe = |(class, bytes): (BufferClass, Bytes)| Responsible {
        class,
        bytes,
        over_plan_bytes: over_plan(class, bytes),
        phase: edge.phase,
        overage_share: None,
        buffer: None,
    };
    let total: Bytes = classes.iter().map(|(_, bytes)| *bytes).sum();
    let telling = overage.min(Bytes(total.0 / TELLING_PART)).max(Bytes(1));
    let candidates = || classes.iter().copied().map(describe);
    let found = candidates()
        .filter(|one| one.over_plan_bytes.is_some_and(|excess| excess >= telling.0 as i64))
        .max_by_key(|one| one.over_plan_bytes)
        .or_else(|| candidates().max_by_key(|one| one.bytes))?;
    let excess = found.over_plan_bytes.filter(|excess| *excess > 0 && overage > Bytes::ZERO);
    Some(Responsible {
        overage_share: excess.map(|excess| (excess as f64 / overage.0 as f64).min(1.0)),
        buffer: ResponsibleBuffer::of(trial, found.class),
        ..found
    })
}
