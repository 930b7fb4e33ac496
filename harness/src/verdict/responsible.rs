//! The class behind an overage: the one that exceeds its plan by most, else the largest.

use ledger::{BufferClass, Bytes, MemoryKind, Phase};
use serde::Serialize;

use super::device::DeviceEdge;
use super::evidence;
use crate::number::mib;
use crate::record::{PhaseRecord, TrialRecord};

/// Part of resident memory from which on an excess over the plan explains more than sheer size does.
const TELLING_PART: u64 = 33;

/// A class that a reader should look at first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Responsible {
    /// The class.
    pub class: BufferClass,
    /// What it held at the phase edge that was looked at.
    pub bytes: Bytes,
    /// By how much that is more than planned, where there is a plan.
    pub over_plan_bytes: Option<i64>,
    /// The phase edge.
    pub phase: Phase,
}

impl Responsible {
    /// One line for people.
    pub fn sentence(&self) -> String {
        let size = format!("{} holds {} MiB after {}", self.class, mib(self.bytes), self.phase);
        match self.over_plan_bytes {
            Some(excess) if excess > 0 => {
                format!("{size}, {} MiB more than planned", mib(Bytes(excess.unsigned_abs())))
            }
            _ => size,
        }
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
    };
    let total: Bytes = classes.iter().map(|(_, bytes)| *bytes).sum();
    let telling = overage.min(Bytes(total.0 / TELLING_PART)).max(Bytes(1));
    let candidates = || classes.iter().copied().map(describe);
    candidates()
        .filter(|one| one.over_plan_bytes.is_some_and(|excess| excess >= telling.0 as i64))
        .max_by_key(|one| one.over_plan_bytes)
        .or_else(|| candidates().max_by_key(|one| one.bytes))
}
