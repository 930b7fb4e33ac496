//! Which classes stand behind a peak.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes, Phase};

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
        let mut unaccounted = unaccounted;
        if edge.phase == peak_phase.phase
            && let Some(released) = released_since_peak(trial, edge.phase, &classes)
        {
            for (class, released) in released {
                *classes.entry(class).or_insert(Bytes::ZERO) += released;
                remainder -= released.signed_difference(Bytes::ZERO);
            }
            // The target's own ledger speaks of the peak itself: what is left there belongs to nobody.
            unaccounted += remainder;
            remainder = 0;
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

/// What each class held more at its phase's peak, by the target's own ledger, than when the phase ended.
fn released_since_peak(
    trial: &TrialRecord,
    phase: Phase,
    at_edge: &BTreeMap<BufferClass, Bytes>,
) -> Option<BTreeMap<BufferClass, Bytes>> {
    let peak = trial.ledger.measured()?.at_peak_of(phase)?;
    let held = |class: &BufferClass| at_edge.get(class).copied().unwrap_or_default();
    Some(peak.by_class.iter().map(|(class, bytes)| (*class, bytes.saturating_sub(held(class)))).collect())
}

type Edge<'a> = (Bytes, &'a BTreeMap<BufferClass, Bytes>, i64);

fn edge_of(phase: &PhaseRecord) -> Option<Edge<'_>> {
    let resident = phase.end.resident.measured()?.total();
    Some((resident, phase.end.by_class_bytes.measured()?, *phase.end.unaccounted_bytes.measured()?))
}
