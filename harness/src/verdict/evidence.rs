//! What a trial's numbers are worth: the plan against the ledger, the ledger against the kernel, the sampler against
//! the clock.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ledger::{BufferClass, Bytes, LedgerEntry, Lifetime, MemoryKind, Micros, Phase, PlannedBuffer, Tokens};
use schemars::JsonSchema;
use serde::Serialize;

use super::device::{self, DeviceEdge};
use super::transient::transients;
use crate::number::mib;
use crate::record::{
    HELD_TOKENS, Outcome, PhaseRecord, Question, Reading, RecordedTrial, RequestRecord, Series, TrialRecord,
    schema,
};

/// A gap in the series above which the moments around a phase edge count as unseen.
pub const LONGEST_GAP_AT_AN_EDGE: Micros = Micros(50_000);

/// How far the series may exceed the kernel's high-water mark before it is worth a word: the kernel counts resident
/// pages in batches per processor, which on 16 processors with 4 KiB pages comes to 2 MiB a counter.
const COUNTER_SLACK: Bytes = Bytes::mib(4);

/// Tokens that the longest sequence of `phase` held: prompt for prefill, prompt and output for decode, none elsewhere.
/// `None` where sequences were open and no request tells how long they were.
pub fn context_in(trial: &TrialRecord, phase: Phase) -> Option<Tokens> {
    let context = |request: &RequestRecord| match phase {
        Phase::Prefill => request.prompt_tokens,
        _ => Tokens(request.prompt_tokens.0.saturating_add(request.completion_tokens.0)),
    };
    if !matches!(phase, Phase::Prefill | Phase::Decode) {
        return Some(Tokens(0));
    }
    // A stream that was begun in prefill and has more than its first token went on through decode.
    let goes_on = |request: &RequestRecord| {
        phase == Phase::Decode && request.phase == Phase::Prefill && request.completion_tokens.0 > 1
    };
    let held = trial.requests.iter().filter(|request| request.phase == phase || goes_on(request));
    held.map(context).max()
}

/// What the plan holds in `phase` with its longest sequence, by class. `None` where there is no plan, or no request
/// that tells the length.
pub fn planned_in(trial: &TrialRecord, phase: Phase) -> Option<BTreeMap<BufferClass, Bytes>> {
    Some(trial.plan.as_ref()?.by_class(phase, context_in(trial, phase)?))
}

/// The same in one kind of memory.
pub fn planned_of(
    trial: &TrialRecord,
    memory: MemoryKind,
    phase: Phase,
) -> Option<BTreeMap<BufferClass, Bytes>> {
    Some(trial.plan.as_ref()?.in_memory(memory).by_class(phase, context_in(trial, phase)?))
}

/// The most that the plan holds in any phase that the trial entered, each at its own context.
pub fn planned_peak(trial: &TrialRecord) -> Reading<Bytes> {
    if trial.plan.is_none() {
        return Reading::Unavailable(no_plan(trial));
    }
    let mut most = None;
    for phase in &trial.phases {
        let Some(planned) = planned_in(trial, phase.phase) else {
            let why = format!("no request of {} was finished, so its length is not known", phase.phase);
            return Reading::Unavailable(why);
        };
        most = most.max(Some(planned.values().copied().sum()));
    }
    most.map_or_else(|| Reading::Unavailable("no phase was recorded".to_owned()), Reading::Measured)
}

/// Why there is no plan.
fn no_plan(trial: &TrialRecord) -> String {
    trial.no_answer(&Question::MemoryPlan).unwrap_or_else(|| "the target gave no plan".to_owned())
}

/// Bytes by which plan and ledger disagree, over all buffers, without letting one cancel another. 0 B is the promise.
///
/// A buffer that grows with its sequence may hold what the longest sequence needs with or without its last token,
/// which needs no place when nothing follows it. How many sequences were open together is not known: what belongs to a
/// further one, or to its part of a step, may be there or not.
pub fn plan_mismatch(trial: &TrialRecord) -> Reading<Bytes> {
    let unavailable = |why: &str| Reading::Unavailable(why.to_owned());
    let Some(plan) = &trial.plan else { return Reading::Unavailable(no_plan(trial)) };
    let ledger = match &trial.ledger {
        Reading::Measured(ledger) => ledger,
        Reading::Unavailable(why) => return unavailable(&format!("no ledger by buffer: {why}")),
    };
    if trial.outcome != Outcome::Completed {
        return unavailable("the trial did not run to its end");
    }
    let mut entries: BTreeMap<&str, &LedgerEntry> =
        ledger.entries.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let mut mismatch = Bytes::ZERO;
    for buffer in &plan.buffers {
        let key = buffer.key();
        let allocated = entries.remove(key.as_str()).map_or(Bytes::ZERO, |entry| entry.peak);
        let allowed = planned_range(trial, buffer);
        mismatch += match allocated < *allowed.start() {
            true => *allowed.start() - allocated,
            false => allocated.saturating_sub(*allowed.end()),
        };
    }
    mismatch += entries.values().map(|unplanned| unplanned.peak).sum();
    Reading::Measured(mismatch)
}

/// The sizes that the plan allows `buffer` to reach in `trial`, from the least to the most.
pub fn planned_range(trial: &TrialRecord, buffer: &PlannedBuffer) -> RangeInclusive<Bytes> {
    let longest = |tokens: fn(&RequestRecord) -> u32| {
        Tokens(trial.requests.iter().map(tokens).max().unwrap_or_default())
    };
    let contexts = match buffer.lifetime {
        Lifetime::PerPrefillChunk => {
            let prompt = longest(|request| request.prompt_tokens.0);
            prompt..=prompt
        }
        // The last token of a sequence needs no place when nothing follows it, and a stream that is held open runs on.
        _ => {
            let context =
                longest(|request| request.prompt_tokens.0.saturating_add(request.completion_tokens.0));
            Tokens(context.0.saturating_sub(1))..=Tokens(context.0.saturating_add(HELD_TOKENS.0))
        }
    };
    let (least, most) = match &buffer.growth {
        // A step of no tokens cannot be divided by; the buffer then counts as committed at once.
        Some(growth) if growth.tokens.0 > 0 && buffer.lifetime == Lifetime::PerStep => {
            (growth.committed(growth.tokens, buffer.page).min(buffer.bytes), buffer.bytes)
        }
        Some(growth) if growth.tokens.0 > 0 => (
            growth.committed(*contexts.start(), buffer.page).min(buffer.bytes),
            growth.committed(*contexts.end(), buffer.page).min(buffer.bytes),
        ),
        _ => (buffer.bytes, buffer.bytes),
    };
    let least = if buffer.sequence == 0 { least } else { Bytes::ZERO };
    least..=most
}

/// What a phase edge leaves without an owner.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EdgeAccount {
    /// The phase that ended.
    #[schemars(with = "schema::PhaseName")]
    pub phase: Phase,
    /// Resident memory at its end.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub resident_bytes: Reading<Bytes>,
    /// Resident minus the sum of all classes in host memory.
    #[schemars(with = "schema::Reading<i64>")]
    pub unaccounted_bytes: Reading<i64>,
    /// The same of the device, where the target runs on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceEdge>,
}

impl EdgeAccount {
    fn of(phase: &PhaseRecord) -> EdgeAccount {
        let resident_bytes = match &phase.end.resident {
            Reading::Measured(resident) => Reading::Measured(resident.total()),
            Reading::Unavailable(why) => Reading::Unavailable(why.clone()),
        };
        EdgeAccount {
            phase: phase.phase,
            resident_bytes,
            unaccounted_bytes: phase.end.unaccounted_bytes.clone(),
            device: DeviceEdge::of(phase),
        }
    }

    /// The unaccounted part of resident memory, with its sign. With a device that was counted from without, the unaccounted
    /// parts of both, by magnitude, of what both hold.
    pub fn share(&self) -> Option<f64> {
        let resident = self.resident_bytes.measured().filter(|bytes| bytes.0 > 0)?;
        let host = *self.unaccounted_bytes.measured()?;
        let of_device = self.device.as_ref().and_then(|device| {
            Some((device.used_bytes, device.unaccounted_bytes.measured()?.unsigned_abs()))
        });
        Some(match of_device {
            Some((used, unaccounted)) => {
                (host.unsigned_abs() + unaccounted) as f64 / (*resident + used).0 as f64
            }
            None => host as f64 / resident.0 as f64,
        })
    }
}

/// The accounts of every phase edge of a trial.
pub fn edge_accounts(trial: &TrialRecord) -> Vec<EdgeAccount> {
    trial.phases.iter().map(EdgeAccount::of).collect()
}

/// The highest sample of the series, and whether it may have been higher between two samples.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SampledPeak {
    /// The highest sample.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub peak_bytes: Reading<Bytes>,
    /// Phases at whose start or end the sampler was blind for more than 50 ms. Where there is one, the peak of the
    /// series is a lower bound; the kernel's high-water mark is exact all the same.
    #[schemars(with = "Vec<schema::PhaseName>")]
    pub blind_at: Vec<Phase>,
}

/// The peak of the series of `trial`.
pub fn sampled_peak(trial: &RecordedTrial) -> SampledPeak {
    let series = match &trial.series {
        Reading::Measured(series) => series,
        Reading::Unavailable(why) => {
            return SampledPeak { peak_bytes: Reading::Unavailable(why.clone()), blind_at: Vec::new() };
        }
    };
    let peak_bytes = match series.peak_resident(Micros(0), Micros(u64::MAX)) {
        Some(bytes) => Reading::Measured(bytes),
        None => Reading::Unavailable("no sample has all three parts of resident memory".to_owned()),
    };
    SampledPeak { peak_bytes, blind_at: blind_phases(&trial.record, series) }
}

fn blind_phases(trial: &TrialRecord, series: &Series) -> Vec<Phase> {
    let mut gaps: Vec<(Micros, Micros)> = series.gaps(LONGEST_GAP_AT_AN_EDGE).collect();
    // Before the first sample and after the last one nothing was seen either. The target ends in `unload`, so that
    // the end of the series is expected there.
    if let (Some(first), Some(start)) = (series.samples.first(), trial.phases.first())
        && first.at.0 > start.started_us.0.saturating_add(LONGEST_GAP_AT_AN_EDGE.0)
    {
        gaps.push((start.started_us, first.at));
    }
    if let Some(last) = series.samples.last() {
        gaps.push((Micros(last.at.0.saturating_add(LONGEST_GAP_AT_AN_EDGE.0)), Micros(u64::MAX)));
    }
    let unseen = |edge: Micros| gaps.iter().any(|(from, to)| (from.0..=to.0).contains(&edge.0));
    let seen_to_its_end = |phase: &PhaseRecord| phase.phase == Phase::Unload || !unseen(phase.ended_us);
    let blind = trial.phases.iter().filter(|phase| unseen(phase.started_us) || !seen_to_its_end(phase));
    blind.map(|phase| phase.phase).collect()
}

/// Why the peak resident memory of `phase` is a lower bound. `None` where it is the kernel's mark, read while the process was
/// there, which no gap of the sampler touches, and where a process that was meant to end was watched until it did.
pub fn lower_bound(trial: &RecordedTrial, phase: &PhaseRecord) -> Option<String> {
    if phase.peak_resident_bytes.measured().is_none() || phase.end.resident.measured().is_some() {
        return None;
    }
    if ended_unread(phase) {
        return Some("its process ended before the kernel's mark could be read".to_owned());
    }
    let watched = trial.series.measured().is_some_and(|series| {
        let last = series.samples.last().map_or(Micros(0), |sample| sample.at);
        let is_over = |(from, to): &(Micros, Micros)| *from <= phase.ended_us && *to >= phase.started_us;
        let reaches_the_end = last.0.saturating_add(LONGEST_GAP_AT_AN_EDGE.0) >= phase.ended_us.0;
        reaches_the_end && !series.gaps(LONGEST_GAP_AT_AN_EDGE).any(|gap| is_over(&gap))
    });
    (!watched).then(|| "the sampler saw nothing for more than 50 ms while its process ended".to_owned())
}

/// True where the process ended in a phase that is not meant to end it: what stands there as its peak was seen by the sampler.
pub fn ended_unread(phase: &PhaseRecord) -> bool {
    phase.phase != Phase::Unload
        && phase.peak_resident_bytes.measured().is_some()
        && phase.end.resident.measured().is_none()
}

/// Why peaks are lower bounds, in words; empty where they are not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LowerBounds {
    /// Of resident memory.
    pub host: Vec<String>,
    /// Of device memory.
    pub device: Vec<String>,
}

impl LowerBounds {
    /// Of every phase of `trial`.
    pub fn of(trial: &RecordedTrial) -> LowerBounds {
        let mut all = LowerBounds::default();
        for phase in &trial.record.phases {
            let said =
                |what: &str, why: String| format!("the {what} of {} is a lower bound: {why}", phase.phase);
            all.host.extend(lower_bound(trial, phase).map(|why| said("peak", why)));
            all.device.extend(device::lower_bound(trial, phase).map(|why| said("device peak", why)));
        }
        all
    }

    /// True where the peak of resident memory is one.
    pub fn in_host(&self) -> bool {
        !self.host.is_empty()
    }

    /// True where the peak of device memory is one.
    pub fn on_device(&self) -> bool {
        !self.device.is_empty()
    }

    /// Every reason, those of the host first.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.host.iter().chain(&self.device)
    }
}

/// Sensors of the machine that could be read before and could not at the end of a phase: once each, with the first phase.
fn lost_sensors(trial: &TrialRecord) -> Vec<String> {
    let Some(floor) = &trial.floor else { return Vec::new() };
    let mut lost: Vec<(String, Phase)> = Vec::new();
    for phase in &trial.phases {
        for sensor in phase.end.conditions.lost_since(&floor.conditions) {
            if !lost.iter().any(|(known, _)| *known == sensor) {
                lost.push((sensor, phase.phase));
            }
        }
    }
    let said = |(sensor, phase)| format!("{sensor} could be read before and not at the end of {phase}");
    lost.into_iter().map(said).collect()
}

/// The most that the target had swapped out, by series and phase edges.
pub fn peak_swapped(trial: &RecordedTrial) -> Bytes {
    let at_edges = trial.record.phases.iter().filter_map(|phase| phase.end.swap_bytes.measured().copied());
    let in_series = trial.series.measured().and_then(Series::peak_swapped);
    at_edges.chain(in_series).max().unwrap_or_default()
}

/// What makes a number of this trial doubtful, in words, beside the warnings that the trial wrote itself.
pub fn doubts(trial: &RecordedTrial) -> Vec<String> {
    let number = trial.record.trial;
    let mut doubts: Vec<String> =
        trial.record.warnings.iter().map(|warning| format!("trial {number}: {warning}")).collect();
    doubts.extend(
        trial.record.disturbances.iter().map(|found| format!("trial {number} is inconclusive: {found}")),
    );
    doubts.extend(device::doubts(&trial.record));
    doubts.extend(lost_sensors(&trial.record).iter().map(|lost| format!("trial {number}: {lost}")));
    doubts.extend(transients(trial).iter().map(|found| format!("trial {number}: {found}")));
    doubts.extend(LowerBounds::of(trial).all().map(|bound| format!("trial {number}: {bound}")));
    let sampled = sampled_peak(trial);
    if !sampled.blind_at.is_empty() {
        let phases: Vec<&str> = sampled.blind_at.iter().map(|phase| phase.name()).collect();
        doubts.push(format!(
            "trial {number}: the sampler saw nothing for more than 50 ms at an edge of {}, so the highest sample is a \
             lower bound; the kernel's high-water mark is exact",
            phases.join(", ")
        ));
    }
    if let (Some(sampled), Some(exact)) = (sampled.peak_bytes.measured(), trial.record.peak_resident())
        && *sampled > exact + COUNTER_SLACK
    {
        doubts.push(format!(
            "trial {number}: the highest sample ({} MiB) exceeds the kernel's high-water mark ({} MiB)",
            mib(*sampled),
            mib(exact)
        ));
    }
    if let Reading::Unavailable(why) = &trial.series {
        doubts.push(format!("trial {number}: there is no series to draw: {why}"));
    }
    let swapped = peak_swapped(trial);
    if swapped > Bytes::ZERO {
        doubts.push(format!(
            "trial {number}: up to {} MiB were swapped out, so that resident memory understates the need",
            mib(swapped)
        ));
    }
    if let Reading::Measured(mismatch) = plan_mismatch(&trial.record)
        && mismatch > Bytes::ZERO
    {
        doubts.push(format!("trial {number}: plan and ledger disagree by {} B", mismatch.0));
    }
    doubts
}
