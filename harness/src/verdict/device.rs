//! Device memory of a trial: who counts it, its peaks, and what host and device hold together.
//!
//! No driver keeps a high-water mark, so the peak of a phase is the most that was seen: by the series, at the phase's
//! end, or by the target's own ledger, which sees every allocation.

use ledger::{Bytes, CountedBy, DeviceReport, MemoryKind, Micros, Phase};
use schemars::JsonSchema;
use serde::Serialize;

use super::evidence::{self, LONGEST_GAP_AT_AN_EDGE};
use crate::number::mib;
use crate::record::{
    DeviceReading, DeviceSample, DeviceSeries, PhaseRecord, Reading, RecordedTrial, TrialRecord, schema,
};

/// Difference of two counts of the same process, read a moment apart, that is worth a word.
const COUNTERS_DIFFER: Bytes = Bytes::mib(4);

/// Device memory at a phase edge.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DeviceEdge {
    /// What the target uses of it.
    #[schemars(with = "schema::Bytes")]
    pub used_bytes: Bytes,
    /// Who says so.
    #[schemars(with = "schema::CountedBy")]
    pub counted_by: CountedBy,
    /// Used less context and buffers.
    #[schemars(with = "schema::Reading<i64>")]
    pub unaccounted_bytes: Reading<i64>,
}

impl DeviceEdge {
    /// `None` where the target says of no device.
    pub fn of(phase: &PhaseRecord) -> Option<DeviceEdge> {
        let DeviceReading { report, .. } = phase.end.device.as_ref()?;
        let (used_bytes, counted_by) = report.used(&phase.end.gpu_bytes);
        let unaccounted_bytes = report.unaccounted_of(used_bytes, counted_by);
        Some(DeviceEdge { used_bytes, counted_by, unaccounted_bytes })
    }
}

/// What a cell's worst trial held of a device.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DeviceVerdict {
    /// The device, as the target last described it. `None` where the target says nothing, and the driver alone does.
    #[schemars(with = "Option<schema::DeviceReport>")]
    pub report: Option<DeviceReport>,
    /// The most that was seen of it in any phase.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub peak_bytes: Reading<Bytes>,
    /// The phase of that peak.
    #[schemars(with = "Option<schema::PhaseName>")]
    pub peak_phase: Option<Phase>,
    /// Host and device together: the most of any phase, each at its own peak, so that it is an upper bound. On unified memory,
    /// where both are the same chips, no byte is in it twice: the driver's part that is resident is the host's.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub held_peak_bytes: Reading<Bytes>,
}

impl DeviceVerdict {
    /// `None` where `trial` holds no memory of a device.
    pub fn of(trial: &RecordedTrial) -> Option<DeviceVerdict> {
        if !holds_memory(trial) {
            return None;
        }
        let peak = peak(trial);
        let unseen = || "no reading of device memory was taken".to_owned();
        Some(DeviceVerdict {
            report: report(&trial.record).cloned(),
            peak_bytes: peak
                .map_or_else(|| Reading::Unavailable(unseen()), |(_, bytes)| Reading::Measured(bytes)),
            peak_phase: peak.map(|(phase, _)| phase),
            held_peak_bytes: held_peak(trial).map_or_else(
                || Reading::Unavailable("no phase has both peaks".to_owned()),
                |(_, bytes)| Reading::Measured(bytes),
            ),
        })
    }

    /// True where the device has no memory of its own.
    pub fn is_unified(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.unified)
    }
}

/// What the target last said of its device.
pub fn report(trial: &TrialRecord) -> Option<&DeviceReport> {
    trial.phases.iter().rev().find_map(|phase| Some(&phase.end.device.as_ref()?.report))
}

/// True where the target holds memory of a device, by its own word or by the driver's.
pub fn holds_memory(trial: &RecordedTrial) -> bool {
    let at_an_edge = |phase: &PhaseRecord| {
        phase.end.device.is_some() || phase.end.gpu_bytes.measured().is_some_and(|bytes| bytes.0 > 0)
    };
    let in_series = |series: &DeviceSeries| series.peak(Micros(0), Micros(u64::MAX)) > Some(Bytes::ZERO);
    trial.record.phases.iter().any(at_an_edge) || trial.device_series.measured().is_some_and(in_series)
}

/// The most device memory that was seen in `phase`.
pub fn peak_in(trial: &RecordedTrial, phase: &PhaseRecord) -> Reading<Bytes> {
    let at_edge = match DeviceEdge::of(phase) {
        Some(edge) => Some(edge.used_bytes),
        None => phase.end.gpu_bytes.measured().copied(),
    };
    let series = trial.device_series.measured();
    let sampled = series.and_then(|series| series.peak(phase.started_us, phase.ended_us));
    match [at_edge, sampled, by_ledger(trial, phase)].into_iter().flatten().max() {
        Some(bytes) => Reading::Measured(bytes),
        None => phase.end.gpu_bytes.clone(),
    }
}

/// Why the device peak of `phase` is a lower bound. `None` where the target's ledger, which misses no allocation, knows it, and
/// where no device is held.
pub fn lower_bound(trial: &RecordedTrial, phase: &PhaseRecord) -> Option<String> {
    if !holds_memory(trial) || peak_in(trial, phase).measured().is_none() || by_ledger(trial, phase).is_some()
    {
        return None;
    }
    let Reading::Measured(series) = &trial.device_series else {
        return Some("the device was read at the end of the phase alone".to_owned());
    };
    let near = |edge: Micros| {
        let reading = |sample: &DeviceSample| sample.used.is_some().then(|| sample.at.0.abs_diff(edge.0));
        series.samples.iter().filter_map(reading).min().is_some_and(|away| away <= LONGEST_GAP_AT_AN_EDGE.0)
    };
    let seen = near(phase.started_us) && near(phase.ended_us);
    (!seen).then(|| "no reading of the device was within 50 ms of an edge".to_owned())
}

/// The most that the target's own ledger held of the device in `phase`.
fn by_ledger(trial: &RecordedTrial, phase: &PhaseRecord) -> Option<Bytes> {
    let ledger = trial.record.ledger.measured()?;
    let context = report(&trial.record)?.context;
    Some(ledger.at_peak_in(MemoryKind::Device, phase.phase)?.total + context)
}

/// The phase with the most device memory, the first of several.
pub fn peak(trial: &RecordedTrial) -> Option<(Phase, Bytes)> {
    let peaks = trial.record.phases.iter().rev();
    let peaks = peaks.filter_map(|phase| Some((phase.phase, *peak_in(trial, phase).measured()?)));
    peaks.max_by_key(|(_, bytes)| *bytes)
}

/// Peak resident memory of `phase` and peak device memory of it together; the former alone where no device is held.
pub fn held_in(trial: &RecordedTrial, phase: &PhaseRecord) -> Reading<Bytes> {
    match &phase.peak_resident_bytes {
        Reading::Measured(resident) if holds_memory(trial) => {
            peak_in(trial, phase).map(|device| *resident + device)
        }
        resident => resident.clone(),
    }
}

/// Why what host and device held together in `phase` is a lower bound; `None` where it is not.
pub fn held_lower_bound(trial: &RecordedTrial, phase: &PhaseRecord) -> Option<String> {
    evidence::lower_bound(trial, phase).or_else(|| lower_bound(trial, phase))
}

/// Why it is not known whether the target holds memory of a device in `phase`; `None` where it is known.
pub fn untold(trial: &RecordedTrial, phase: &PhaseRecord) -> Option<String> {
    match (&trial.record.ledger, &phase.end.gpu_bytes) {
        // A target that gives account of itself and says of no device has none.
        (Reading::Measured(_), _) | (_, Reading::Measured(_)) => None,
        _ if holds_memory(trial) => None,
        (_, Reading::Unavailable(why)) => {
            Some(format!("nothing tells whether it holds device memory: {why}"))
        }
    }
}

/// The phase in which host and device held most together, the first of several; resident memory alone where no device is held.
pub fn held_peak(trial: &RecordedTrial) -> Option<(Phase, Bytes)> {
    let phases = trial.record.phases.iter().rev();
    let held = phases.filter_map(|phase| Some((phase.phase, *held_in(trial, phase).measured()?)));
    held.max_by_key(|(_, bytes)| *bytes)
}

/// What makes a number about the device doubtful, in words.
pub(super) fn doubts(trial: &TrialRecord) -> Vec<String> {
    let number = trial.trial;
    let edges = || trial.phases.iter().filter_map(|phase| Some((phase, DeviceEdge::of(phase)?)));
    let mut doubts = Vec::new();
    if let Some((phase, edge)) = edges().find(|(_, edge)| edge.counted_by != CountedBy::Process) {
        let why = match &phase.end.gpu_bytes {
            Reading::Unavailable(why) => why.as_str(),
            Reading::Measured(_) => "no reason is given",
        };
        let stand_in = match edge.counted_by {
            CountedBy::Device => "what all processes took since the start stands in",
            _ => "context and buffers by the target's ledger stand in, and nothing tells what is unaccounted",
        };
        doubts.push(format!("trial {number}: device memory is not counted by process ({why}): {stand_in}"));
    }
    let differ = edges().find_map(|(phase, _)| {
        let inside = phase.end.device.as_ref()?.report.used_by_process.measured()?;
        let outside = phase.end.gpu_bytes.measured()?;
        (inside.0.abs_diff(outside.0) > COUNTERS_DIFFER.0).then_some((phase.phase, *outside, *inside))
    });
    if let Some((phase, outside, inside)) = differ {
        doubts.push(format!(
            "trial {number}: after {phase} the driver counts {} MiB of the device when asked from without, and {} MiB when \
             the target asks",
            mib(outside),
            mib(inside)
        ));
    }
    doubts
}
