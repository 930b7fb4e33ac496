//! Scenario files: from text to the cells that a run visits.
//!
//! - `load`: reading, and errors that show the place.
//! - `file`, `model`, `target`, `place`: what is written; `check`: what it means.
//! - `condition`: which cells something is for; `magnitude`: which values are larger.
//! - `order`, `cooldown`, `floor`: which trial comes next, and when it may begin.
//! - `expand`: the cells, with their content hashes.
//! - `schema`: the JSON Schema for editors.

mod check;
mod co_resident;
mod condition;
mod cooldown;
mod diagnostic;
mod expand;
mod file;
mod floor;
mod load;
mod located;
mod magnitude;
mod model;
mod needs;
mod order;
mod phases;
mod place;
mod quality;
mod schema;
mod settings;
mod target;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use ledger::Bytes;
use sha2::{Digest, Sha256};

pub use co_resident::{CoResident, CoResidentProgram, FALLS_SHORT, HOLDS, Ready, StandIn};
pub use condition::{Condition, Order};
pub use cooldown::Cooldown;
pub(crate) use diagnostic::closest;
pub use diagnostic::{Diagnostic, ScenarioError};
pub use expand::{Cell, Expansion, SAMPLER_VERSION};
pub use floor::Floor;
pub use load::{load, parse};
pub(crate) use magnitude::magnitude;
pub use model::{ModelForm, ModelSource};
pub use needs::Needs;
pub use order::RunOrder;
pub use phases::{Decode, Phases, Prefill, PromptTokens, Wait};
pub use place::{Place, PlaceError};
pub use quality::Quality;
pub use runtime::vocabulary::Vocab;
pub use schema::schema_text;
pub use settings::{
    BuildOptions, Expected, KvCacheType, Linears, LmHead, Precision, Settings, SettingsDraft, Threads,
    WeightPlacement,
};
pub use target::{LlamaServerOptions, OpenaiOptions, PromptForm, TargetKind, TensorrtOptions};
pub use units::{DriftRate, LeakRate, Period, Share, Size, Temperature, UnitError};

pub use crate::record::{Allowance, Expectation, ExpectedOutcome, Gate, GateMetric};
use crate::record::{BudgetRecord, LeverRecord, ScenarioRecord};

/// A scenario that can be run: every name is known, every value is in range.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// SHA-256 of the text.
    pub sha256: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub why: String,
    /// Decides the prompts.
    pub seed: u64,
    /// Name of every model, and the forms that there are of it.
    pub models: Vec<(String, Vec<ModelForm>)>,
    /// Axis names and their values.
    pub grid: Vec<(String, Vec<String>)>,
    /// Axes that vary together, and their values; all lists have the same length.
    pub zip: Vec<(String, Vec<String>)>,
    /// Axes that are tried one at a time, and their values; the first is the base.
    pub one_at_a_time: Vec<(String, Vec<String>)>,
    /// Cells beside those of the axes.
    pub include: Vec<Included>,
    /// Combinations that are left out, and the reason.
    pub exclude: Vec<(Condition, String)>,
    /// Settings where no axis says otherwise.
    pub settings: SettingsDraft,
    /// Build options where no axis says otherwise.
    pub build: BuildOptions,
    /// The runtimes that are measured, by name. One that was given no name has the word of its kind.
    pub targets: Vec<(String, TargetKind)>,
    /// Trials of each cell.
    pub trials: u32,
    /// In which order they run.
    pub order: RunOrder,
    /// How long the machine rests between two of them. `None`: it does not.
    pub cooldown: Option<Cooldown>,
    /// What the machine must be like.
    pub needs: Needs,
    /// What a target may take of the machine's memory.
    pub memory_limit: Option<Bytes>,
    /// What must stay available on the machine. `None`: see [`crate::probe::MemoryGuard::default_least`].
    pub min_available: Option<Bytes>,
    /// What runs beside the target, in the order in which it starts.
    pub co_residents: Vec<CoResident>,
    /// Time between two samples.
    pub sample_every: Duration,
    /// How close the machine must be to what it was before the first trial.
    pub floor: Floor,
    /// What happens in a trial.
    pub phases: Phases,
    /// How quality is measured after them; `None` where it is not.
    pub quality: Option<Quality>,
    /// What is expected of the axes.
    pub levers: Vec<LeverRecord>,
    /// What the measurements are held against.
    pub budgets: Vec<BudgetRecord>,
    /// What decides against a baseline.
    pub gates: Vec<Gate>,
    /// Cells that are known not to run to their end.
    pub expectations: Vec<Expectation>,
}

/// A cell that the scenario names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    /// Its name.
    pub name: String,
    /// Its values by name, the axes of `one_at_a_time` that it leaves out not among them.
    pub values: Vec<(String, String)>,
    /// What it is for.
    pub why: String,
}

impl Scenario {
    /// The scenario as a run folder keeps it.
    pub fn record(&self) -> ScenarioRecord {
        ScenarioRecord {
            name: self.name.clone(),
            why: self.why.clone(),
            sha256: self.sha256.clone(),
            text: self.text.clone(),
            file: ScenarioRecord::file_of(&self.path),
        }
    }

    /// True where cells differ in the axis, setting or build option `name`. A named cell may say what no axis does.
    pub fn is_varied(&self, name: &str) -> bool {
        let mut axes = self.grid.iter().chain(&self.zip).chain(&self.one_at_a_time);
        axes.find(|(axis, _)| axis == name).is_none_or(|(_, values)| values.len() > 1)
    }

    /// How the quality of `cell` is measured; `None` where it is not.
    pub fn quality_of(&self, cell: &Cell) -> Option<&Quality> {
        self.quality.as_ref().filter(|quality| cell.record().matches(&quality.when))
    }

    /// The axes that are tried one at a time, each with its base value.
    pub fn bases(&self) -> Vec<(String, String)> {
        let base = |(axis, values): &(String, Vec<String>)| Some((axis.clone(), values.first()?.clone()));
        self.one_at_a_time.iter().filter_map(base).collect()
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
