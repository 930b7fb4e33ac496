//! A peak that came and went within a phase, and that the target's own ledger does not know.

use ledger::{Bytes, MemoryKind, Micros};

use crate::number::mib;
use crate::record::{PhaseRecord, RecordedTrial};

/// Less is what programs do all the time: reading a file, growing a table.
const LEAST: Bytes = Bytes::mib(64);

/// What each phase of `trial` held at its peak beyond both of its ends, in words, where nobody owns 64 MiB of it.
pub fn transients(trial: &RecordedTrial) -> Vec<String> {
    let phases = &trial.record.phases;
    let before = std::iter::once(None).chain(phases.iter().map(Some));
    phases.iter().zip(before).filter_map(|(phase, before)| transient(trial, phase, before)).collect()
}

fn transient(trial: &RecordedTrial, phase: &PhaseRecord, before: Option<&PhaseRecord>) -> Option<String> {
    let peak = *phase.peak_resident_bytes.measured()?;
    let resident = |phase: &PhaseRecord| phase.end.resident.measured().map(|resident| resident.total());
    let after = resident(phase)?;
    let edge = before.and_then(resident).unwrap_or_default().max(after);
    let height = peak.saturating_sub(edge);
    let stray = height.saturating_sub(owned(trial, phase));
    (stray >= LEAST).then(|| {
        format!(
            "in {} {} MiB came and went within the phase and are in no buffer of the target's ledger: the peak of {} MiB {}",
            phase.phase,
            mib(stray),
            mib(peak),
            seen_for(trial, phase, Bytes(edge.0 + height.0 / 2))
        )
    })
}

/// What the ledger held more at the phase's peak than at its end.
fn owned(trial: &RecordedTrial, phase: &PhaseRecord) -> Bytes {
    let ledger = trial.record.ledger.measured();
    let peak = ledger.and_then(|ledger| ledger.at_peak_in(MemoryKind::Host, phase.phase));
    let Some(peak) = peak else { return Bytes::ZERO };
    let classes = phase.end.host_classes();
    let held = |class| classes.measured().and_then(|classes| classes.get(class)).copied().unwrap_or_default();
    peak.by_class.iter().map(|(class, bytes)| bytes.saturating_sub(held(class))).sum()
}

/// For how long more than `level` was held, as far as samples tell.
fn seen_for(trial: &RecordedTrial, phase: &PhaseRecord, level: Bytes) -> String {
    let samples = trial.series.measured().into_iter();
    let above = samples
        .flat_map(|series| series.between(phase.started_us, phase.ended_us))
        .filter(|sample| sample.resident().is_some_and(|bytes| bytes > level))
        .map(|sample| sample.at);
    let above: Vec<Micros> = above.collect();
    match (above.first(), above.last()) {
        (Some(first), Some(last)) if above.len() > 1 => {
            format!(
                "was above half of that in {} samples, {} ms apart",
                above.len(),
                (last.0 - first.0) / 1000
            )
        }
        (Some(_), _) => "was above half of that in one sample".to_owned(),
        _ => "fell between two samples; the kernel's high-water mark saw it".to_owned(),
    }
}
