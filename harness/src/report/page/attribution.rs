//! Which classes stand behind a peak.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes, Lifetime, Phase};

use crate::record::{PhaseRecord, TrialRecord};
use crate::report::svg::palette::Kind;

/// The peak of a trial, and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attribution {
    /// The phase whose edge the classes are from.
    pub edge: Phase,
    /// The phase of the peak.
    pub peak_phase: Phase,
    /// The exact peak.
    pub peak: Bytes,
    /// Bytes of each class at that edge, in the order of charts; only those that hold something.
    pub classes: Vec<(BufferClass, Bytes)>,
    /// Resident at that edge minus all classes.
    pub unaccounted: i64,
    /// The peak minus what was resident at the edge.
    pub remainder: i64,
}

impl Attribution {
    /// Looks at the edge of the phase with the peak, or, where that was not attributed, at the attributed edge with the
    /// most resident memory. `None` where there is no peak or no such edge.
    pub(super) fn of(trial: &TrialRecord) -> Option<Attribution> {
        let peak_of = |phase: &&PhaseRecord| phase.peak_resident_bytes.measured().copied();
        let peak_phase =
            trial.phases.iter().rev().filter(|phase| peak_of(phase).is_some()).max_by_key(peak_of)?;
        let attributed = || trial.phases.iter().filter_map(|phase| Some((phase, edge_of(phase)?)));
        let (edge, (resident, classes, unaccounted)) = attributed()
            .find(|(phase, _)| phase.phase == peak_phase.phase)
            .or_else(|| attributed().max_by_key(|(_, (resident, ..))| *resident))?;
        let peak = peak_phase.peak_resident_bytes.measured().copied()?;
        let mut classes = classes.clone();
        let mut remainder = peak.signed_difference(resident);
        if edge.phase == Phase::Prefill && peak_phase.phase == Phase::Prefill {
            for (class, bytes) in chunk_buffers(trial, &classes) {
                *classes.entry(class).or_insert(Bytes::ZERO) += bytes;
                remainder -= bytes.signed_difference(Bytes::ZERO);
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
        parts.push((Kind::Class(BufferClass::Unaccounted), positive(self.unaccounted)));
        parts.push((Kind::Released, positive(self.remainder)));
        parts.retain(|(_, bytes)| bytes.0 > 0);
        parts
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

/// What the ledger saw at most of each buffer that lives for a prompt chunk: it is gone by the time that the phase ends. Nothing
/// where the edge was read while chunks were still in hand.
fn chunk_buffers(
    trial: &TrialRecord,
    at_edge: &BTreeMap<BufferClass, Bytes>,
) -> BTreeMap<BufferClass, Bytes> {
    let mut held = BTreeMap::new();
    let in_hand = at_edge.get(&BufferClass::PrefillWorkspace).is_some_and(|bytes| bytes.0 > 0);
    let (Some(plan), Some(ledger), false) = (&trial.plan, trial.ledger.measured(), in_hand) else {
        return held;
    };
    let peaks: BTreeMap<&str, Bytes> =
        ledger.entries.iter().map(|entry| (entry.key.as_str(), entry.peak)).collect();
    for buffer in plan.buffers.iter().filter(|buffer| buffer.lifetime == Lifetime::PerPrefillChunk) {
        if let Some(peak) = peaks.get(buffer.key().as_str()) {
            *held.entry(buffer.class).or_insert(Bytes::ZERO) += *peak;
        }
    }
    held
}

type Edge<'a> = (Bytes, &'a BTreeMap<BufferClass, Bytes>, i64);

fn edge_of(phase: &PhaseRecord) -> Option<Edge<'_>> {
    let resident = phase.end.resident.measured()?.total();
    Some((resident, phase.end.by_class_bytes.measured()?, *phase.end.unaccounted_bytes.measured()?))
}
