//! What a run has to say for a baseline.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes, Phase};

use super::{Baseline, Fingerprint, LockedCell, LockedTimes};
use crate::record::{CellRecord, PhaseRecord, RecordedTrial, RequestRecord, Run, TrialRecord};
use crate::verdict::evidence::peak_swapped;
use crate::verdict::statistics::median;
use crate::verdict::{ExitCode, RunVerdict, Word, device};

/// A cell by what tells it from others: model, target and axis values. Its id will not do, for that changes with the program.
pub fn cell_key(cell: &CellRecord) -> String {
    let mut words = vec![cell.model.clone()];
    if cell.target != "builtin" && cell.axes.iter().all(|(name, _)| name != "target") {
        words.push(format!("target={}", cell.target));
    }
    let axes = cell.axes.iter().filter(|(name, _)| name != "model");
    words.extend(axes.map(|(name, value)| format!("{name}={value}")));
    words.join(" ")
}

impl Baseline {
    /// Takes up every cell of `run` that has a finished trial, in place of what there was; cells that it does not have stay.
    /// Returns how many it took.
    pub fn take_up(&mut self, run: &Run) -> usize {
        let locked =
            run.record.cells.iter().filter_map(|cell| Some((cell_key(cell), locked_cell(run, cell)?)));
        let locked: Vec<(String, LockedCell)> = locked.collect();
        let taken = locked.len();
        self.scenarios.entry(run.record.scenario.name.clone()).or_default().extend(locked);
        taken
    }
}

/// What the finished trials of `cell` declared and measured; `None` where none finished undisturbed.
pub fn locked_cell(run: &Run, cell: &CellRecord) -> Option<LockedCell> {
    let finished: Vec<&RecordedTrial> =
        run.trials_of(&cell.id).filter(|trial| trial.record.is_finished()).collect();
    let first = finished.first()?;
    // Pages that were swapped out make resident memory too small a number.
    let whole = || finished.iter().copied().filter(|trial| peak_swapped(trial) == Bytes::ZERO);
    Some(LockedCell {
        run: run.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        fingerprint: Fingerprint::of(run, cell, &first.record),
        declared_bytes: declared(&finished),
        held_bytes: held(&finished),
        peak_resident_bytes: by_phase(whole(), |_, phase| phase.peak_resident_bytes.measured().copied()),
        peak_device_bytes: by_phase(whole(), |trial, phase| {
            device::peak_in(trial, phase).measured().copied().filter(|_| device::holds_memory(trial))
        }),
        times: times(&finished),
    })
}

/// Of every buffer the larger of what is planned and of what was ever held.
fn declared(trials: &[&RecordedTrial]) -> BTreeMap<String, Bytes> {
    let mut declared: BTreeMap<String, Bytes> = BTreeMap::new();
    for trial in trials.iter().map(|trial| &trial.record) {
        let planned = trial.plan.iter().flat_map(|plan| &plan.buffers);
        let planned = planned.map(|buffer| (buffer.key(), buffer.bytes));
        let entries = trial.ledger.measured().into_iter().flat_map(|ledger| &ledger.entries);
        for (key, bytes) in planned.chain(entries.map(|entry| (entry.key.clone(), entry.peak))) {
            let most = declared.entry(key).or_default();
            *most = bytes.max(*most);
        }
    }
    declared
}

/// The median by class at the end of each phase, what nobody owns among them; a class that a trial does not name holds nothing.
fn held(trials: &[&RecordedTrial]) -> BTreeMap<Phase, BTreeMap<BufferClass, Bytes>> {
    let mut phases = BTreeMap::new();
    for phase in Phase::ALL {
        let edges: Vec<BTreeMap<BufferClass, Bytes>> =
            trials.iter().filter_map(|trial| at_end(phase_of(&trial.record, phase)?)).collect();
        let classes =
            BufferClass::ALL.iter().filter(|class| edges.iter().any(|edge| edge.contains_key(class)));
        let middle = |class: &BufferClass| {
            let bytes = |edge: &BTreeMap<_, Bytes>| edge.get(class).map_or(0.0, |bytes| bytes.0 as f64);
            median(&edges.iter().map(bytes).collect::<Vec<f64>>()).map(|bytes| Bytes(bytes as u64))
        };
        let classes: BTreeMap<BufferClass, Bytes> =
            classes.filter_map(|class| Some((*class, middle(class)?))).collect();
        if !classes.is_empty() {
            phases.insert(phase, classes);
        }
    }
    phases
}

fn at_end(phase: &PhaseRecord) -> Option<BTreeMap<BufferClass, Bytes>> {
    let mut classes = phase.end.by_class_bytes.measured()?.clone();
    if let Some(stray) = phase.end.unaccounted_bytes.measured() {
        classes.insert(BufferClass::Unaccounted, Bytes(stray.max(&0).unsigned_abs()));
    }
    Some(classes)
}

fn phase_of(trial: &TrialRecord, phase: Phase) -> Option<&PhaseRecord> {
    trial.phases.iter().find(|record| record.phase == phase)
}

fn by_phase<'a>(
    trials: impl Iterator<Item = &'a RecordedTrial>,
    read: impl Fn(&RecordedTrial, &PhaseRecord) -> Option<Bytes>,
) -> BTreeMap<Phase, Vec<Bytes>> {
    let mut phases: BTreeMap<Phase, Vec<Bytes>> = BTreeMap::new();
    for trial in trials {
        for phase in &trial.record.phases {
            if let Some(bytes) = read(trial, phase) {
                phases.entry(phase.phase).or_default().push(bytes);
            }
        }
    }
    phases
}

fn times(trials: &[&RecordedTrial]) -> LockedTimes {
    let of = |time: fn(&TrialRecord) -> Option<f64>| {
        trials.iter().filter_map(|trial| time(&trial.record)).collect::<Vec<f64>>()
    };
    LockedTimes {
        load_ms: of(TrialRecord::load_ms),
        time_to_first_token_ms: of(TrialRecord::time_to_first_token_ms),
        time_per_output_token_ms: of(TrialRecord::time_per_output_token_ms),
    }
}

impl TrialRecord {
    /// How long the phase `load` took.
    pub fn load_ms(&self) -> Option<f64> {
        let load = phase_of(self, Phase::Load)?;
        Some(load.ended_us.0.checked_sub(load.started_us.0)? as f64 / 1000.0)
    }

    /// The median time to first token of its requests in `prefill`.
    pub fn time_to_first_token_ms(&self) -> Option<f64> {
        self.median_of(|request| {
            let first =
                request.time_to_first_token_ms.measured().filter(|_| request.phase == Phase::Prefill)?;
            Some(first.0)
        })
    }

    /// The median time per output token of its requests: tokens of one request are not independent, trials are.
    pub fn time_per_output_token_ms(&self) -> Option<f64> {
        self.median_of(|request| Some(request.time_per_output_token_ms.measured()?.0))
    }

    fn median_of(&self, time: impl Fn(&RequestRecord) -> Option<f64>) -> Option<f64> {
        median(&self.requests.iter().filter_map(time).collect::<Vec<f64>>())
    }
}

/// Why a run should not become a baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit(pub Vec<String>);

/// Why `run` should not become a baseline, by its `verdict`; `None` where it may.
pub fn unfit(run: &Run, verdict: &RunVerdict) -> Option<Unfit> {
    let mut reasons = Vec::new();
    if !run.record.is_complete() {
        reasons.push("the run did not come to its end".to_owned());
    }
    // Other conditions are a reason for a new baseline, not against one.
    let fine = |word: Word| matches!(word.exit_code(), ExitCode::Pass | ExitCode::Incomparable);
    let failing = verdict.cells.iter().filter(|cell| !fine(cell.word));
    reasons.extend(failing.map(|cell| {
        let why = cell.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{} is {}{why}", cell.label, cell.word)
    }));
    (!reasons.is_empty()).then_some(Unfit(reasons))
}
