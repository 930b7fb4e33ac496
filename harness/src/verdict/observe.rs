//! What one trial has to say about one budget.

use ledger::{BufferClass, Bytes, Phase};

use super::budget::{Amount, Budget, Limit, Subject};
use super::device::{self, DeviceEdge};
use super::{evidence, stack};
use crate::record::{Outcome, PhaseRecord, Question, Reading, RecordedTrial, TrialRecord};

/// The worst that a trial shows, and what it cannot show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// The largest amount, and the phase in which it was seen. No phase where it is the ledger's own peak.
    pub worst: Option<(Amount, Option<Phase>)>,
    /// Why this trial cannot clear the budget, whatever `worst` says.
    pub missing: Vec<String>,
    /// True where a peak that was judged is a lower bound.
    pub lower_bound: bool,
    /// What has to be added to the resident memory for an upper bound of the need.
    pub swapped: Bytes,
}

/// Reads `trial` for `budget`.
pub fn observe(trial: &RecordedTrial, budget: &Budget) -> Observation {
    let number = trial.record.trial;
    let mut seen = Observation::default();
    if let Some(ending) = ending(&trial.record) {
        seen.missing.push(format!("trial {number} {ending}"));
    }
    let readings: Vec<(Phase, Reading<Amount>)> = match budget.subject {
        Subject::Total | Subject::PhasePeak(_) => {
            seen.swapped = evidence::peak_swapped(trial);
            trial
                .record
                .phases
                .iter()
                .map(|phase| (phase.phase, whole(phase.peak_resident_bytes.clone())))
                .collect()
        }
        Subject::Device(_) => trial
            .record
            .phases
            .iter()
            .map(|phase| (phase.phase, whole(device::peak_in(trial, phase))))
            .collect(),
        Subject::HostAndDevice(_) => {
            seen.swapped = evidence::peak_swapped(trial);
            trial.record.phases.iter().map(|phase| (phase.phase, whole(held(trial, phase)))).collect()
        }
        Subject::Stack(_) => {
            seen.swapped = evidence::peak_swapped(trial);
            let of = |phase| match device::untold(trial, phase) {
                Some(why) => Reading::Unavailable(why),
                None => stack::held_in(trial, phase),
            };
            trial.record.phases.iter().map(|phase| (phase.phase, whole(of(phase)))).collect()
        }
        Subject::Class(class, _) => {
            let of = |phase| class_bytes(&trial.record, phase, class);
            trial.record.phases.iter().map(|phase| (phase.phase, of(phase))).collect()
        }
        // Growth is held against several readings, see `grown`.
        Subject::Growth(..) | Subject::Leak(_) | Subject::Drift => Vec::new(),
        Subject::ClassShare(class, _) => {
            let of = |phase| class_in_resident(&trial.record, phase, class);
            trial.record.phases.iter().map(|phase| (phase.phase, of(phase))).collect()
        }
    };
    let asked = match budget.subject {
        Subject::PhasePeak(phase) => Some(phase),
        Subject::Device(phase)
        | Subject::HostAndDevice(phase)
        | Subject::Stack(phase)
        | Subject::Class(_, phase)
        | Subject::ClassShare(_, phase)
        | Subject::Growth(_, _, phase)
        | Subject::Leak(phase) => phase,
        Subject::Total | Subject::Drift => None,
    };
    let bound_of = |phase: &PhaseRecord| match budget.subject {
        Subject::Total | Subject::PhasePeak(_) => evidence::lower_bound(trial, phase),
        Subject::Device(_) => device::lower_bound(trial, phase),
        Subject::HostAndDevice(_) | Subject::Stack(_) => device::held_lower_bound(trial, phase),
        Subject::Class(..)
        | Subject::ClassShare(..)
        | Subject::Growth(..)
        | Subject::Leak(_)
        | Subject::Drift => None,
    };
    let judged = trial.record.phases.iter().filter(|phase| asked.is_none_or(|asked| asked == phase.phase));
    // What is over a limit at least is over it; what is under it at least may not be.
    let bounds = judged.filter_map(|phase| {
        let why = bound_of(phase)?;
        Some(format!("trial {number}, {}: the peak is a lower bound: {why}", phase.phase))
    });
    let bounds: Vec<String> = bounds.collect();
    seen.lower_bound = !bounds.is_empty();
    seen.missing.extend(bounds);
    let mut entered = false;
    for (phase, reading) in readings {
        if asked.is_some_and(|asked| asked != phase) {
            continue;
        }
        entered = true;
        match reading {
            Reading::Measured(amount) => seen.take(amount, Some(phase), budget),
            Reading::Unavailable(_) if asked.is_none() && may_be_silent(phase, budget.subject) => {}
            Reading::Unavailable(why) => seen.missing.push(format!("trial {number}, {phase}: {why}")),
        }
    }
    if let (Subject::Class(class, None), Reading::Measured(ledger)) = (budget.subject, &trial.record.ledger) {
        let of_class = || ledger.entries.iter().filter(|entry| entry.class == class);
        let bytes: Bytes = of_class().map(|entry| entry.peak).sum();
        let is_told = of_class().next().is_some() || untold(&trial.record).is_none();
        if is_told && seen.worst.is_none_or(|(worst, _)| bytes > worst.bytes) {
            seen.worst = Some((Amount { bytes, of: bytes }, None));
        }
    }
    if !entered {
        let phase = asked.map_or("any phase".to_owned(), |phase| phase.to_string());
        seen.missing.push(format!("trial {number} did not reach {phase}"));
    }
    seen
}

impl Observation {
    fn take(&mut self, amount: Amount, phase: Option<Phase>, budget: &Budget) {
        let is_worse = match (self.worst, budget.decisive()) {
            (None, _) => true,
            (Some((worst, _)), Some(Limit::ShareBillionths(_))) => {
                u128::from(amount.bytes.0) * u128::from(worst.of.0)
                    > u128::from(worst.bytes.0) * u128::from(amount.of.0)
            }
            (Some((worst, _)), _) => amount.bytes > worst.bytes,
        };
        if is_worse {
            self.worst = Some((amount, phase));
        }
    }
}

/// How a trial that did not complete ended, as the end of a sentence. A target that ended by itself has the last word.
pub fn ending(trial: &TrialRecord) -> Option<String> {
    match &trial.outcome {
        Outcome::Completed => None,
        Outcome::OutOfMemory { phase, evidence } => Some(format!("ran out of memory in {phase}: {evidence}")),
        Outcome::GuardKill { phase, available_bytes, least_bytes } => Some(format!(
            "was stopped in {phase} by the guard over the machine's memory: {available_bytes} were available, and {least_bytes} must be"
        )),
        Outcome::CoResidentEnded { phase, name, signal, exit_code } => Some(match (signal, exit_code) {
            (Some(signal), _) => format!("lost its co-resident {name} in {phase}, ended by signal {signal}"),
            (None, Some(code)) => {
                format!("lost its co-resident {name} in {phase}, which exited with code {code}")
            }
            (None, None) => format!("lost its co-resident {name} in {phase}"),
        }),
        Outcome::TimedOut { phase, limit_ms } => {
            Some(format!("was stopped in {phase}, which took longer than its {:.0} s", limit_ms.0 / 1000.0))
        }
        Outcome::Crashed { phase, signal, exit_code } => Some(match (signal, exit_code) {
            (Some(signal), _) => format!("was ended in {phase} by signal {signal}"),
            (None, Some(code)) => format!("exited in {phase} with code {code}{}", trial.last_words()),
            (None, None) => format!("ended in {phase}"),
        }),
        Outcome::Failed { phase, message } => Some(format!("failed in {phase}: {message}")),
        Outcome::Interrupted => Some("was interrupted".to_owned()),
    }
}

/// Phases in which a missing reading is no gap: in `unload` the process goes away while it is looked at, and in `idle`
/// no engine is there to give account of itself.
fn may_be_silent(phase: Phase, subject: Subject) -> bool {
    match subject {
        Subject::Total | Subject::PhasePeak(_) => phase == Phase::Unload,
        Subject::Device(_)
        | Subject::HostAndDevice(_)
        | Subject::Stack(_)
        | Subject::Class(..)
        | Subject::ClassShare(..)
        | Subject::Growth(..)
        | Subject::Leak(_)
        | Subject::Drift => {
            matches!(phase, Phase::Idle | Phase::Unload)
        }
    }
}

fn held(trial: &RecordedTrial, phase: &PhaseRecord) -> Reading<Bytes> {
    device::untold(trial, phase).map_or_else(|| device::held_in(trial, phase), Reading::Unavailable)
}

fn whole(reading: Reading<Bytes>) -> Reading<Amount> {
    reading.map(|bytes| Amount { bytes, of: bytes })
}

/// Bytes of `class` at the end of `phase`. What the ledger claims without being resident counts as much as what is
/// resident without being claimed: `unaccounted` is judged by its magnitude, that of host and device together.
pub(super) fn class_bytes(trial: &TrialRecord, phase: &PhaseRecord, class: BufferClass) -> Reading<Amount> {
    let device = DeviceEdge::of(phase);
    let bytes = if class == BufferClass::Unaccounted {
        let of_device = device.as_ref().and_then(|device| device.unaccounted_bytes.measured());
        let of_device = Bytes(of_device.map_or(0, |bytes| bytes.unsigned_abs()));
        match &phase.end.unaccounted_bytes {
            Reading::Measured(bytes) => Bytes(bytes.unsigned_abs()) + of_device,
            Reading::Unavailable(why) => return Reading::Unavailable(why.clone()),
        }
    } else {
        match &phase.end.by_class_bytes {
            Reading::Measured(by_class) => match (by_class.get(&class), untold(trial)) {
                (Some(bytes), _) => *bytes,
                (None, None) => Bytes::ZERO,
                (None, Some(why)) => return Reading::Unavailable(format!("{class}: {why}")),
            },
            Reading::Unavailable(why) => return Reading::Unavailable(why.clone()),
        }
    };
    let used = device.map_or(Bytes::ZERO, |device| device.used_bytes);
    let of = phase.end.resident.measured().map_or(bytes, |resident| resident.total() + used);
    Reading::Measured(Amount { bytes, of })
}

/// Why a class that the target's account does not name is not nothing.
fn untold(trial: &TrialRecord) -> Option<String> {
    trial.no_answer(&Question::OtherClasses)
}

fn class_in_resident(trial: &TrialRecord, phase: &PhaseRecord, class: BufferClass) -> Reading<Amount> {
    match &phase.end.resident {
        Reading::Unavailable(why) => Reading::Unavailable(why.clone()),
        Reading::Measured(resident) if resident.total() == Bytes::ZERO => {
            Reading::Unavailable("nothing was resident".to_owned())
        }
        Reading::Measured(_) => class_bytes(trial, phase, class),
    }
}
