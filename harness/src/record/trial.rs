//! One trial: what was asked, what happened, what was measured.

use std::collections::BTreeMap;

use ledger::{
    BufferClass, Bytes, DeviceReport, LedgerSnapshot, MemoryPlan, Micros, Millis, Phase, Reading, Tokens,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CgroupReading, CoResidentReading, ConditionsReading, Disturbance, EnvironmentRecord, FloorRecord,
    QualityReading, Question, TargetRecord,
};

/// Names a cell by the hash of everything that decides its result: resolved settings, engine, phases, program version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CellId(pub String);

/// One combination of axis values, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellRecord {
    /// The content hash.
    pub id: CellId,
    /// The model's name in the scenario.
    pub model: String,
    /// Its name, where the scenario gives it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<CellName>,
    /// Axis name to value, as the scenario spells them, in axis order.
    pub axes: Vec<(String, String)>,
    /// Every setting that the target was started with, defaults included.
    pub settings: BTreeMap<String, String>,
    /// Every option that its engine was built with, defaults included.
    #[serde(default)]
    pub build: BTreeMap<String, String>,
    /// Where the model comes from, in words, for example `synthetic Qwen3-4B, seed 1`.
    #[serde(default)]
    pub source: String,
    /// True where the weights are synthetic: sizes and speeds are real, text and quality are not.
    pub synthetic_weights: bool,
    /// The target's name in the scenario.
    #[serde(default = "only_target")]
    pub target: String,
}

/// The target of records that were written when there was only one.
fn only_target() -> String {
    "builtin".to_owned()
}

/// The name of a cell, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellName {
    /// Unique in the scenario.
    pub name: String,
    /// What the cell is for.
    pub why: String,
    /// True where no combination of the axes is this cell.
    #[serde(default)]
    pub beside_axes: bool,
}

/// Resident memory of a process tree, by the kernel's own split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidentMemory {
    /// Anonymous pages.
    pub anonymous_bytes: Bytes,
    /// Pages of mapped files.
    pub file_bytes: Bytes,
    /// Shared memory pages.
    pub shared_bytes: Bytes,
}

impl ResidentMemory {
    /// All three together: what `VmRSS` shows.
    pub fn total(&self) -> Bytes {
        self.anonymous_bytes + self.file_bytes + self.shared_bytes
    }
}

/// What was read when a phase ended: the slow, exact readings, and the target's own ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeReading {
    /// Resident memory of the target's process tree.
    pub resident: Reading<ResidentMemory>,
    /// Proportional set size of the tree: shared pages divided among their users.
    pub proportional_bytes: Reading<Bytes>,
    /// The target's ledger by class, in host and device memory together, `program`, `driver` and `device_context` included, without
    /// `unaccounted`.
    pub by_class_bytes: Reading<BTreeMap<BufferClass, Bytes>>,
    /// Measured resident minus the sum of the classes in host memory. Negative where the ledger claims pages that are not resident.
    pub unaccounted_bytes: Reading<i64>,
    /// What of `by_class_bytes` is in device memory, where a target names its buffers there and says nothing else of the device.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub device_class_bytes: BTreeMap<BufferClass, Bytes>,
    /// GPU memory of the process tree, as the harness reads it from without.
    pub gpu_bytes: Reading<Bytes>,
    /// The device that the target runs on, where it says that it runs on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceReading>,
    /// Pages of the tree that were swapped out. Anything above zero makes resident memory too small a number.
    #[serde(default)]
    pub swap_bytes: Reading<Bytes>,
    /// `MemAvailable` of the whole machine.
    #[serde(default)]
    pub mem_available_bytes: Reading<Bytes>,
    /// The state of the machine.
    #[serde(default, skip_serializing_if = "ConditionsReading::is_empty")]
    pub conditions: ConditionsReading,
}

impl EdgeReading {
    /// The ledger by class in host memory.
    pub fn host_classes(&self) -> Reading<BTreeMap<BufferClass, Bytes>> {
        let in_device = |class: &BufferClass| {
            let device = self.device.as_ref().map_or(&self.device_class_bytes, |it| &it.by_class_bytes);
            device.get(class).copied().unwrap_or_default()
        };
        self.by_class_bytes.clone().map(|mut classes| {
            classes.iter_mut().for_each(|(class, bytes)| *bytes = bytes.saturating_sub(in_device(class)));
            classes.retain(|class, bytes| bytes.0 > 0 || in_device(class).0 == 0);
            classes
        })
    }
}

/// A target's device at a phase edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceReading {
    /// What the target says of it.
    pub report: DeviceReport,
    /// The target's ledger by class in device memory, `device_context` included. A part of the edge's `by_class_bytes`.
    pub by_class_bytes: BTreeMap<BufferClass, Bytes>,
}

/// One phase of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Which phase.
    pub phase: Phase,
    /// Start, since the trial's start.
    pub started_us: Micros,
    /// End, since the trial's start.
    pub ended_us: Micros,
    /// The kernel's own high-water mark of resident memory within this phase.
    pub peak_resident_bytes: Reading<Bytes>,
    /// The readings at the end of the phase.
    pub end: EdgeReading,
    /// What ran beside the target in this phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub co_residents: Vec<CoResidentReading>,
}

/// Tokens that a request may ask for beyond those that it records: the sequence stays open, and its cache filled, while the end
/// of a phase is read. The stream is hung up then.
pub const HELD_TOKENS: Tokens = Tokens(16);

/// One request that the harness sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The phase in which it was sent.
    pub phase: Phase,
    /// When it was sent, since the trial's start. `None` in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_us: Option<Micros>,
    /// Tokens of the prompt.
    pub prompt_tokens: Tokens,
    /// Tokens that came back.
    pub completion_tokens: Tokens,
    /// From sending to the first token.
    pub time_to_first_token_ms: Reading<Millis>,
    /// Mean time per output token after the first.
    pub time_per_output_token_ms: Reading<Millis>,
    /// From sending to the end of the stream.
    pub total_ms: Millis,
    /// What drafting came to, where the target drafts and says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speculation: Option<Speculation>,
}

/// Rounds of speculative decoding, as the target counts them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speculation {
    /// Verifications.
    pub round_count: u64,
    /// Tokens that the draft proposed.
    pub drafted: u64,
    /// Tokens of it that the target accepted.
    pub accepted: u64,
    /// Tokens that a round committed, the target's own included, as the target says.
    #[serde(default)]
    pub acceptance_length: Option<f64>,
}

/// Tokens that a round commits: the target's own, and those of the draft that it accepted. `None` without rounds.
pub fn acceptance_length(rounds: u64, accepted: u64) -> Option<f64> {
    (rounds > 0).then(|| 1.0 + accepted as f64 / rounds as f64)
}

impl RequestRecord {
    /// Prompt tokens per second up to the first token.
    pub fn prefill_tokens_per_second(&self) -> Option<f64> {
        let ms = self.time_to_first_token_ms.measured()?.0;
        (ms > 0.0).then(|| f64::from(self.prompt_tokens.0) * 1000.0 / ms)
    }

    /// Output tokens per second after the first.
    pub fn decode_tokens_per_second(&self) -> Option<f64> {
        let ms = self.time_per_output_token_ms.measured()?.0;
        (ms > 0.0).then_some(1000.0 / ms)
    }
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every phase ran.
    Completed,
    /// The kernel's out-of-memory killer, a memory cgroup, or a failed allocation ended the target.
    OutOfMemory {
        /// The phase in which it happened.
        phase: Phase,
        /// What showed that it was memory.
        evidence: String,
    },
    /// The machine had too little memory left, and the harness killed the target before the machine could fail.
    GuardKill {
        /// The phase in which it happened.
        phase: Phase,
        /// `MemAvailable` at that moment.
        available_bytes: Bytes,
        /// What must stay available.
        least_bytes: Bytes,
    },
    /// A phase took longer than its timeout; the target's process tree was killed.
    TimedOut {
        /// The phase.
        phase: Phase,
        /// Its timeout.
        limit_ms: Millis,
    },
    /// A program beside the target ended, and the target was no longer measured with it.
    CoResidentEnded {
        /// The phase in which it happened.
        phase: Phase,
        /// Its name in the scenario.
        name: String,
        /// The signal, where one ended it: 9 may be the kernel's, for want of memory.
        signal: Option<i32>,
        /// The exit code, where it exited.
        exit_code: Option<i32>,
    },
    /// The target's process ended by itself.
    Crashed {
        /// The phase in which it happened.
        phase: Phase,
        /// The signal, where one ended it.
        signal: Option<i32>,
        /// The exit code, where it exited.
        exit_code: Option<i32>,
    },
    /// The target answered with an error, and what it said.
    Failed {
        /// The phase in which it happened.
        phase: Phase,
        /// The target's own words, or the transport's.
        message: String,
    },
    /// The harness was asked to stop.
    Interrupted,
}

/// How far the 10 ms series can be trusted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SamplerHealth {
    /// The interval that was asked for.
    pub interval_us: Micros,
    /// Samples that were taken.
    pub samples: u64,
    /// Ticks that passed without a sample.
    pub missed_ticks: u64,
    /// The longest time between two samples.
    pub longest_gap_us: Micros,
    /// Achieved intervals: upper bound of each bucket, and how many fell into it.
    pub interval_histogram: Vec<(Micros, u64)>,
    /// Processor time that the sampler took.
    pub cpu_us: Micros,
}

/// A source of numbers, and whether it could be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeCard {
    /// A word for it, for example `process`.
    #[serde(default)]
    pub id: String,
    /// Its name, for example `process memory (/proc/PID/status)`.
    pub name: String,
    /// What its numbers are about.
    pub scope: ProbeScope,
    /// What one reading takes, in words.
    #[serde(default)]
    pub cost: String,
    /// How often it is read, in words, or why it cannot be.
    pub cadence: Reading<String>,
}

/// What a probe's numbers are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeScope {
    /// The target's process tree.
    Process,
    /// One device, all its users.
    Device,
    /// The whole machine.
    System,
}

/// One trial, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Version of this form.
    pub format_version: u32,
    /// The cell.
    pub cell: CellRecord,
    /// Which trial of the cell, from 0.
    pub trial: u32,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The last lines that the target wrote.
    pub log_tail: Vec<String>,
    /// The phases that were entered, in order.
    pub phases: Vec<PhaseRecord>,
    /// The requests that were sent.
    pub requests: Vec<RequestRecord>,
    /// How well the series was sampled.
    pub sampler: SamplerHealth,
    /// The target's own plan, where it has one.
    pub plan: Option<MemoryPlan>,
    /// The target's own ledger, buffer by buffer with the most that each ever held, as it was last read before the
    /// target was asked to end.
    #[serde(default)]
    pub ledger: Reading<LedgerSnapshot>,
    /// What measured, and what could not.
    #[serde(default)]
    pub probes: Vec<ProbeCard>,
    /// What makes a number of this trial doubtful, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What it was disturbed by. A disturbed trial is neither passed nor failed: it is inconclusive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbances: Vec<Disturbance>,
    /// What it was measured in. `None` in records of earlier programs, and where no engine could be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentRecord>,
    /// The machine before its target started. `None` in records of earlier programs, and where no engine could be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<FloorRecord>,
    /// What the target was, and what it does not say. `None` in records of earlier programs, and where it was never asked to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetRecord>,
    /// What the kernel counted in the trial's own memory cgroup. `None` where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupReading>,
    /// What the configuration costs in quality. `None` where that was not asked, or the phases did not come to their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Reading<QualityReading>>,
    /// Name of the run that this trial was taken over from, where it was not run anew.
    pub resumed_from: Option<String>,
}

impl TrialRecord {
    /// The highest measured resident memory of any phase.
    pub fn peak_resident(&self) -> Option<Bytes> {
        self.phases.iter().filter_map(|phase| phase.peak_resident_bytes.measured().copied()).max()
    }

    /// Why the target does not answer `question`. `None` where it does, or where the record does not say.
    pub fn no_answer(&self, question: &Question) -> Option<String> {
        self.target.as_ref()?.no_answer(question)
    }

    /// Why its numbers decide nothing, as the end of a sentence; `None` where nothing disturbed it.
    pub fn inconclusive(&self) -> Option<String> {
        let (first, rest) = self.disturbances.split_first()?;
        let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
        Some(format!("is inconclusive: {first}{more}"))
    }

    /// The last thing that the target wrote, behind a colon: the end of a sentence. Empty where it wrote nothing.
    pub fn last_words(&self) -> String {
        let last = self.log_tail.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty());
        last.map(|words| format!(": {words}")).unwrap_or_default()
    }
}
