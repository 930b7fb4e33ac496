//! What the target and its co-residents held together.

use ledger::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use super::device;
use crate::record::{PhaseRecord, Reading, RecordedTrial, TrialRecord, schema};

/// The whole stack of a cell's worst trial.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StackVerdict {
    /// The most of any phase: the target's peaks, host and device, and those of its co-residents. They need not coincide, so that it
    /// is an upper bound.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub peak_bytes: Reading<Bytes>,
    /// The most resident memory of all of them that one sample saw at once. Not beyond `peak_bytes`, and without device memory.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub at_once_bytes: Reading<Bytes>,
    /// Each co-resident with its highest peak of any phase, in the order in which they started.
    #[schemars(with = "Vec<(String, schema::Reading<schema::Bytes>)>")]
    pub co_residents: Vec<(String, Reading<Bytes>)>,
}

impl StackVerdict {
    /// `None` where nothing ran beside the target.
    pub fn of(trial: &RecordedTrial) -> Option<StackVerdict> {
        let phases = || trial.record.phases.iter();
        let names: Vec<String> = phases()
            .find(|phase| !phase.co_residents.is_empty())?
            .co_residents
            .iter()
            .map(|co_resident| co_resident.name.clone())
            .collect();
        let peak_of = |name: &String| {
            let of_it = phases().flat_map(|phase| &phase.co_residents).filter(|it| it.name == *name);
            highest(of_it.map(|it| it.peak_resident_bytes.clone()))
        };
        let co_residents = names.into_iter().map(|name| (name.clone(), peak_of(&name))).collect();
        Some(StackVerdict {
            peak_bytes: highest(phases().map(|phase| held_in(trial, phase))),
            at_once_bytes: at_once(trial),
            co_residents,
        })
    }
}

/// What the target held in `phase`, host and device, and its co-residents: each at its own peak.
pub(super) fn held_in(trial: &RecordedTrial, phase: &PhaseRecord) -> Reading<Bytes> {
    match (device::held_in(trial, phase), beside(phase)) {
        (Reading::Measured(target), Reading::Measured(beside)) => Reading::Measured(target + beside),
        (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => Reading::Unavailable(why),
    }
}

/// The most that the co-residents held together in any phase, each at its own peak. `None` where there were none.
pub fn beside_peak(trial: &TrialRecord) -> Option<Bytes> {
    let phases = trial.phases.iter().filter(|phase| !phase.co_residents.is_empty());
    phases.filter_map(|phase| beside(phase).measured().copied()).max()
}

fn beside(phase: &PhaseRecord) -> Reading<Bytes> {
    let mut sum = Bytes::ZERO;
    for co_resident in &phase.co_residents {
        let parts = std::iter::once(&co_resident.peak_resident_bytes).chain(&co_resident.device_bytes);
        for part in parts {
            match part {
                Reading::Measured(bytes) => sum += *bytes,
                Reading::Unavailable(why) => {
                    return Reading::Unavailable(format!("the co-resident {}: {why}", co_resident.name));
                }
            }
        }
    }
    Reading::Measured(sum)
}

/// The most that a sample saw of the target and everything beside it.
fn at_once(trial: &RecordedTrial) -> Reading<Bytes> {
    let series = match &trial.series {
        Reading::Measured(series) => series,
        Reading::Unavailable(why) => return Reading::Unavailable(why.clone()),
    };
    let sums = series.samples.iter().filter_map(|sample| Some(sample.resident()? + sample.co_residents?));
    let never = || Reading::Unavailable("no sample saw all of them".to_owned());
    sums.max().map_or_else(never, Reading::Measured)
}

fn highest(readings: impl Iterator<Item = Reading<Bytes>>) -> Reading<Bytes> {
    let mut highest = Reading::Unavailable("it was never measured".to_owned());
    for reading in readings {
        match (&highest, &reading) {
            (Reading::Measured(known), Reading::Measured(bytes)) if bytes <= known => {}
            (_, Reading::Measured(_)) => highest = reading,
            _ => {}
        }
    }
    highest
}
