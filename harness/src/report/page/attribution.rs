//! Which classes stand behind a peak, in host memory or on a device.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes, MemoryKind, Phase};

use crate::record::{PhaseRecord, RecordedTrial, TrialRecord};
use crate::report::svg::palette::Kind;
use crate::verdict::device::{self, DeviceEdge};

/// The peak of a trial in one kind of memory, and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attribution {
    /// The phase whose edge the classes are from.
    pub edge: Phase,
    /// The phase of the peak.
    pub peak_phase: Phase,
    /// The peak: exact in host memory, the most that was seen on a device.
    pub peak: Bytes,
    /// Bytes of each class at that edge, in the order of charts; only those that hold something.
    pub classes: Vec<(BufferClass, Bytes)>,
    /// Measured at that edge minus all classes. `None` where nobody but the target counts.
    pub unaccounted: Option<i64>,
    /// The peak minus what was measured at the edge.
    pub remainder: i64,
}

impl Attribution {
    /// Looks at the edge of the phase with the peak, or, where that was not attributed, at the attributed edge with the
    /// most memory. `None` where there is no peak or no such edge.
    pub(super) fn of(trial: &RecordedTrial, memory: MemoryKind) -> Option<Attribution> {
        Attribution::among(trial, memory, |_| true)
    }

    /// The same within one phase.
    pub(super) fn in_phase(trial: &RecordedTrial, memory: MemoryKind, phase: Phase) -> Option<Attribution> {
        Attribution::among(trial, memory, |record| record.phase == phase)
    }

    fn among(
        trial: &RecordedTrial,
        memory: MemoryKind,
        counts: impl Fn(&PhaseRecord) -> bool,
    ) -> Option<Attribution> {
        if memory == MemoryKind::Device && !device::holds_memory(trial) {
            return None;
        }
        let record = &trial.record;
        let peak_of = |phase: &&PhaseRecord| match memory {
            MemoryKind::Host => phase.peak_resident_bytes.measured().copied(),
            MemoryKind::Device => device::peak_in(trial, phase).measured().copied(),
        };
        let peaks = record.phases.iter().rev().filter(|phase| counts(phase) && peak_of(phase).is_some());
        let peak_phase = peaks.max_by_key(peak_of)?;
        let attributed = || record.phases.iter().filter_map(|phase| Some((phase, Edge::of(phase, memory)?)));
        let (edge, Edge { measured, classes, unaccounted }) = attributed()
            .find(|(phase, _)| phase.phase == peak_phase.phase)
            .or_else(|| attributed().max_by_key(|(_, edge)| edge.measured))?;
        let peak = peak_of(&peak_phase)?;
        let mut classes = classes;
        let mut remainder = peak.signed_difference(measured);
        let mut unaccounted = unaccounted;
        if edge.phase == peak_phase.phase
            && let Some(released) = released_since_peak(record, memory, edge.phase, &classes)
        {
            for (class, released) in released {
                *classes.entry(class).or_insert(Bytes::ZERO) += released;
                remainder -= released.signed_difference(Bytes::ZERO);
            }
            // The target's own ledger speaks of the peak itself: what is left there belongs to nobody.
            if let Some(unaccounted) = &mut unaccounted {
                *unaccounted += std::mem::take(&mut remainder);
            }
        }
        Some(Attribution {
            edge: edge.phase,
            peak_phase: peak_phase.phase,
            peak,
            classes: classes.into_iter().filter(|(_, bytes)| bytes.0 > 0).collect(),
            unaccounted,
            remainder,
        })
    }

    /// The parts as bars of one colour each; parts below nothing are left out.
    pub(super) fn parts(&self) -> Vec<(Kind, Bytes)> {
        let positive = |bytes: i64| Bytes(bytes.max(0).unsigned_abs());
        let mut parts: Vec<(Kind, Bytes)> =
            self.classes.iter().map(|(class, bytes)| (Kind::Class(*class), *bytes)).collect();
        parts.push((Kind::Class(BufferClass::Unaccounted), positive(self.unaccounted.unwrap_or_default())));
        parts.push((Kind::Released, positive(self.remainder)));
        parts.retain(|(_, bytes)| bytes.0 > 0);
        parts
    }

    /// Bytes of `class`, `unaccounted` with its sign. `None` where it holds nothing, or is not known.
    pub(super) fn of_class(&self, class: BufferClass) -> Option<i64> {
        if class == BufferClass::Unaccounted {
            return self.unaccounted;
        }
        let own = self.classes.iter().find(|(other, _)| *other == class);
        own.map(|(_, bytes)| bytes.signed_difference(Bytes::ZERO))
    }

    /// The largest class.
    pub(super) fn largest(&self) -> Option<(BufferClass, Bytes)> {
        self.classes.iter().copied().max_by_key(|(_, bytes)| *bytes)
    }

    /// What the remainder is, in words.
    pub(super) fn remainder_words(&self) -> String {
        if self.edge == self.peak_phase {
            format!("held at the peak and released before {} ended", self.edge)
        } else {
            format!("the peak was in {}, the last ledger is from the end of {}", self.peak_phase, self.edge)
        }
    }
}

/// What each class held more at its phase's peak, by the target's own ledger, than when the phase ended.
fn released_since_peak(
    trial: &TrialRecord,
    memory: MemoryKind,
    phase: Phase,
    at_edge: &BTreeMap<BufferClass, Bytes>,
) -> Option<BTreeMap<BufferClass, Bytes>> {
    let peak = trial.ledger.measured()?.at_peak_in(memory, phase)?;
    let held = |class: &BufferClass| at_edge.get(class).copied().unwrap_or_default();
    Some(peak.by_class.iter().map(|(class, bytes)| (*class, bytes.saturating_sub(held(class)))).collect())
}

/// A phase edge with an owner for its bytes.
struct Edge {
    measured: Bytes,
    classes: BTreeMap<BufferClass, Bytes>,
    unaccounted: Option<i64>,
}

impl Edge {
    fn of(phase: &PhaseRecord, memory: MemoryKind) -> Option<Edge> {
        Some(match memory {
            MemoryKind::Host => Edge {
                measured: phase.end.resident.measured()?.total(),
                classes: phase.end.host_classes().measured()?.clone(),
                unaccounted: Some(*phase.end.unaccounted_bytes.measured()?),
            },
            MemoryKind::Device => {
                let edge = DeviceEdge::of(phase)?;
                Edge {
                    measured: edge.used_bytes,
                    classes: phase.end.device.as_ref()?.by_class_bytes.clone(),
                    unaccounted: edge.unaccounted_bytes.measured().copied(),
                }
            }
        })
    }
}
