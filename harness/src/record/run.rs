//! The head of a run folder: what was asked, where it ran, which trials there are.

use std::path::{Component, Path};

use ledger::{BufferClass, Bytes, Phase};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CellId, CellRecord, Expectation, Gate, LeverRecord, MergedShard, QualityBudget, Reading, Shard,
    ShardRecord,
};
use crate::scenario::Condition;

/// `run.json`: everything about a run that is not one trial's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this form.
    pub format_version: u32,
    /// Version of the program that ran.
    pub program_version: String,
    /// SHA-256 of the program file: two builds of one version are two programs.
    #[serde(default)]
    pub program_sha256: String,
    /// What was asked for.
    pub scenario: ScenarioRecord,
    /// When the run started, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339. `None` while it runs, and for ever where it was killed.
    pub finished_at: Option<String>,
    /// The machine. `None` where the run was imported from logs, which do not say where they were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineCard>,
    /// Every cell, in the order of the axes.
    pub cells: Vec<CellRecord>,
    /// True where someone chose these among the scenario's cells: the others are not missing.
    #[serde(default)]
    pub chosen: bool,
    /// Combinations that the scenario leaves out, with its reason.
    pub excluded: Vec<ExcludedCell>,
    /// Axes that are tried one at a time, each with its base value.
    #[serde(default)]
    pub bases: Vec<(String, String)>,
    /// What is expected of the axes.
    #[serde(default)]
    pub levers: Vec<LeverRecord>,
    /// Trials of each cell.
    pub trials_per_cell: u32,
    /// What the measurements are held against.
    pub budgets: Vec<BudgetRecord>,
    /// What quality is held against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quality_budgets: Vec<QualityBudget>,
    /// What decides against a baseline, beyond what a comparison looks at by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// Cells that are known not to run to their end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<Expectation>,
    /// Every trial that is on disk, in the order in which they began.
    pub trials: Vec<TrialFile>,
    /// Set where every trial has one of another run beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<PairRecord>,
    /// Set where other machines run the scenario's other cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardRecord>,
    /// The shards that this run was joined from; none where it was measured as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<MergedShard>,
    /// Name of the run from which finished trials were taken over, where there was one.
    pub resumed_from: Option<String>,
    /// What the process answered, once it has.
    pub exit_code: Option<u8>,
}

impl RunRecord {
    /// True where the run came to its end: it was neither killed nor interrupted.
    pub fn is_complete(&self) -> bool {
        self.finished_at.is_some() && self.exit_code.is_some_and(|code| code != 130)
    }

    /// Cells of the scenario that other shards run; none in a whole run.
    pub fn elsewhere(&self) -> impl Iterator<Item = &CellRecord> {
        self.shard.iter().flat_map(|shard| &shard.elsewhere).map(|other| &other.cell)
    }

    /// Shards that a merged run lacks.
    pub fn missing_shards(&self) -> impl Iterator<Item = Shard> {
        let all = self.merged.first().into_iter().flat_map(|part| part.shard.all());
        all.filter(|shard| self.merged.iter().all(|part| part.shard != *shard))
    }
}

/// One of two runs of `sweep compare --paired`: trials of the same cell and number ran one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairRecord {
    /// The same in both runs, and in no others.
    pub id: String,
    /// Which of the two builds.
    pub side: PairSide,
    /// SHA-256 of the build's program file.
    pub build_sha256: String,
}

/// One of two builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairSide {
    /// The one that the other is held against.
    A,
    /// The one that is judged.
    B,
}

/// The scenario that a run was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRecord {
    /// Its name.
    pub name: String,
    /// What it is for, in one sentence.
    pub why: String,
    /// SHA-256 of the text.
    pub sha256: String,
    /// The file, word for word.
    pub text: String,
    /// The file's path from where the program was started, or its name alone where it lies elsewhere. `None` in records of
    /// earlier programs, and of imported runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl ScenarioRecord {
    /// What a record says of the file at `path`: a record is passed on, so that folders above do not go into it.
    pub fn file_of(path: &Path) -> Option<String> {
        let is_below = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let kept = if is_below { path } else { Path::new(path.file_name()?) };
        let parts = kept.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        });
        Some(parts.collect::<Vec<String>>().join("/"))
    }
}

/// A combination of axis values that was left out on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExcludedCell {
    /// Axis name to value, in axis order.
    pub axes: Vec<(String, String)>,
    /// The scenario's reason.
    pub why: String,
}

/// Where one trial lies, relative to the run folder, without its extension: `trials/<stem>.json` and `.jsonl`,
/// `samples/<stem>.csv`, `logs/<stem>.log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialFile {
    /// The cell.
    pub cell: CellId,
    /// Which trial of the cell, from 0.
    pub trial: u32,
    /// File name without folder and extension.
    pub stem: String,
}

impl TrialFile {
    /// The files of trial `trial` of `cell`.
    pub fn new(cell: &CellId, trial: u32) -> TrialFile {
        TrialFile { cell: cell.clone(), trial, stem: format!("{}-{trial}", cell.0) }
    }
}

/// The machine, as far as it decides a measurement. The host's name is left out on purpose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineCard {
    /// The processor's name.
    pub cpu: String,
    /// Logical processors that this process may use.
    pub cores: u32,
    /// Main memory.
    pub memory_bytes: Bytes,
    /// Swap space.
    pub swap_bytes: Bytes,
    /// Kernel release.
    pub kernel: String,
    /// Distribution and its version.
    pub system: String,
    /// Instruction set architecture.
    pub architecture: String,
    /// Bytes of a memory page.
    pub page_bytes: Bytes,
    /// Names of the GPUs, or why there are none.
    pub gpus: Reading<Vec<String>>,
}

/// One budget of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetRecord {
    /// Its name.
    pub id: String,
    /// The cells that it holds for.
    pub when: Condition,
    /// What is measured.
    pub subject: BudgetSubject,
    /// The phase whose edge counts. `None`: the worst of all phases.
    pub phase: Option<Phase>,
    /// Above this, a warning.
    pub warn: Option<BudgetLimit>,
    /// Above this, a failure.
    pub fail: Option<BudgetLimit>,
    /// Why this limit.
    pub why: String,
}

/// What a budget is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetSubject {
    /// Peak resident memory of the target's process tree.
    Total,
    /// Most device memory of the target's processes.
    Device,
    /// Both together; on unified memory no byte counts twice.
    HostAndDevice,
    /// Host and device of the target, and resident memory of its co-residents, together.
    Stack,
    /// One buffer class of the ledger, `unaccounted` included.
    Class(BufferClass),
    /// What a token more takes. Limits are bytes for each token.
    Growth {
        /// What grows.
        of: GrowthOf,
        /// With what.
        per: GrowthPer,
    },
    /// Memory that grows while nothing is asked. Limits are bytes a minute.
    Leak,
    /// Memory that grows from request to request. Limits are bytes for each request.
    Drift,
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrowthOf {
    /// Peak resident memory.
    Total,
    /// Most device memory.
    Device,
    /// Both together.
    HostAndDevice,
    /// One buffer class.
    Class(BufferClass),
}

/// Tokens of what something grows with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GrowthPer {
    /// Of the sequence, within a trial.
    Context,
    /// Of this axis, between cells that differ in it alone.
    MaxInputLen,
    /// Of this axis.
    #[serde(rename = "maxKVCacheCapacity")]
    MaxKvCacheCapacity,
    /// Of this axis.
    GdnPrefillMaxSeq,
}

impl GrowthPer {
    /// The axis; `None` for the sequence's own context.
    pub const fn axis(self) -> Option<&'static str> {
        match self {
            GrowthPer::Context => None,
            GrowthPer::MaxInputLen => Some("maxInputLen"),
            GrowthPer::MaxKvCacheCapacity => Some("maxKVCacheCapacity"),
            GrowthPer::GdnPrefillMaxSeq => Some("gdnPrefillMaxSeq"),
        }
    }
}

/// Where a budget ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetLimit {
    /// A size.
    Bytes(Bytes),
    /// A part of the measured resident memory at the same phase edge, from 0 to 1.
    Share(f64),
}

impl CellRecord {
    /// The value that this cell has for an axis, a setting or a build option of that name; `model` and `target` are among
    /// them, and `cell` is the name that the scenario gives it.
    pub fn value(&self, name: &str) -> Option<&str> {
        match name {
            "model" => return Some(&self.model),
            "target" => return Some(&self.target),
            "cell" => return self.name.as_ref().map(|name| name.name.as_str()),
            _ => {}
        }
        let axis = self.axes.iter().find(|(axis, _)| axis == name).map(|(_, value)| value.as_str());
        axis.or_else(|| self.settings.get(name).or_else(|| self.build.get(name)).map(String::as_str))
    }

    /// True where `when` holds for this cell.
    pub fn matches(&self, when: &Condition) -> bool {
        when.holds(&|name| self.value(name))
    }
}
