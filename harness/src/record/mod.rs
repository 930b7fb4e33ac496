//! What a run leaves behind: the only thing that verdicts and reports read.
//!
//! A run folder holds `run.json` ([`RunRecord`]), `trials/<cell>-<trial>.jsonl` (the events of a trial, appended as
//! they happen) and `.json` (the same trial, whole), `samples/<cell>-<trial>.csv` (the 10 ms series) and
//! `.gpu.csv` (GPU memory, where there is a GPU), `.tegrastats.txt` (a second witness, where there is one),
//! `logs/<cell>-<trial>.log`, and the outputs computed from them.

mod boards;
mod cgroup;
mod co_resident;
mod columns;
mod conditions;
mod device_series;
mod disturbance;
mod environment;
mod event;
mod expectation;
mod floor;
mod folder;
mod gate;
mod journal;
mod lever;
mod quality;
mod run;
mod run_folder;
pub(crate) mod schema;
mod series;
mod shard;
mod target;
mod trial;

pub use boards::{BOARDS_FILE, Boards, BoardsRecord};
pub use cgroup::CgroupReading;
pub use co_resident::CoResidentReading;
pub use conditions::{ClockState, ConditionsReading, NvmapReading};
pub use device_series::{DeviceSample, DeviceSeries};
pub use disturbance::{Disturbance, DisturbanceCause};
pub use environment::{EnvironmentRecord, RECORDED_MACHINE};
pub use event::TrialEvent;
pub use expectation::{Expectation, ExpectedOutcome};
pub use floor::{CooldownRecord, FloorReading, FloorRecord, GpuHolder, LeftTarget, Remnant};
pub use folder::{RecordedTrial, Run, RunFolderError, UnreadableTrial};
pub use gate::{Allowance, Gate, GateMetric, NoMetric};
pub use journal::{Journal, JournalError, recover};
pub use ledger::Reading;
pub use lever::{LeverMetric, LeverRecord};
pub use quality::{QualityBudget, QualityMetric, QualityReading};
pub use run::{
    BudgetLimit, BudgetRecord, BudgetSubject, ExcludedCell, GrowthOf, GrowthPer, MachineCard, PairRecord,
    PairSide, RunRecord, ScenarioRecord, TrialFile,
};
pub use run_folder::{
    ACCOUNT_FILE, BASELINE_FILE, RunFolder, TrialPaths, json_text, replace, write_atomically,
};
pub use series::{Sample, Series, SeriesError};
pub use shard::{CellElsewhere, MergedShard, NoShard, Shard, ShardRecord};
pub use target::{Question, TargetRecord, Unanswered};
pub use trial::{
    CellId, CellName, CellRecord, DeviceReading, EdgeReading, HELD_TOKENS, Outcome, PhaseRecord, ProbeCard,
    ProbeScope, RequestRecord, ResidentMemory, SamplerHealth, Speculation, TrialRecord, acceptance_length,
};

/// Version of the record forms. It grows with every change that an older reader could misread: a field that changes its meaning or
/// goes away, and a kind of event that verdicts depend on. Version 2 brought `environment`, `floor` and `disturbed`, version 3
/// `quality`.
pub const FORMAT_VERSION: u32 = 3;
