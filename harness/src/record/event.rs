//! The events of a trial, one JSON object a line, written as they happen.

use ledger::{LedgerSnapshot, MemoryPlan, Micros, Phase};
use serde::{Deserialize, Serialize};

use super::{
    CellRecord, CgroupReading, Disturbance, EnvironmentRecord, FloorRecord, Outcome, PhaseRecord, ProbeCard,
    QualityReading, Reading, RequestRecord, SamplerHealth, TargetRecord,
};

/// One line of `trials/<cell>-<trial>.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialEvent {
    /// Always the first line.
    Started {
        /// Version of this form.
        format_version: u32,
        /// The cell.
        cell: CellRecord,
        /// Which trial of the cell, from 0.
        trial: u32,
        /// RFC 3339.
        started_at: String,
    },
    /// What the trial is measured in, before the target starts.
    Environment(EnvironmentRecord),
    /// The machine before the target starts.
    Floor(Box<FloorRecord>),
    /// What is to be measured, and what it will not say.
    Target(TargetRecord),
    /// The target's process is there.
    TargetStarted {
        /// Its process id.
        pid: u32,
        /// Since the trial's start.
        at_us: Micros,
    },
    /// What measures this trial.
    Probes(Vec<ProbeCard>),
    /// A phase begins.
    PhaseStarted {
        /// Which.
        phase: Phase,
        /// Since the trial's start.
        at_us: Micros,
    },
    /// A phase is over, with everything read at its end.
    PhaseEnded(Box<PhaseRecord>),
    /// A request is over.
    Request(RequestRecord),
    /// The target's own plan.
    Plan(MemoryPlan),
    /// The target's own ledger, as read at a phase edge. The last one counts.
    Ledger(Reading<LedgerSnapshot>),
    /// Something that makes a number doubtful.
    Warning(String),
    /// Something from outside that the target was measured under: the trial decides nothing.
    Disturbed(Disturbance),
    /// What the kernel counted in the trial's own memory cgroup, where it has one.
    Cgroup(CgroupReading),
    /// What the configuration costs in quality, measured after its phases.
    Quality(Reading<QualityReading>),
    /// The sampler has stopped.
    Sampler(SamplerHealth),
    /// Always the last line.
    Ended {
        /// How.
        outcome: Outcome,
        /// The last lines that the target wrote.
        log_tail: Vec<String>,
    },
}
