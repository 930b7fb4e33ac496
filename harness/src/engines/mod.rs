//! Engines for cells: where they come from is not the harness's business.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ledger::{BufferClass, Bytes, MemoryPlan, Millis, Phase};
use serde::Serialize;

use crate::scenario::{BuildOptions, Cell, ModelSource};

mod builtin;
mod divergence;
mod form;
mod quality;
mod score;
mod shape;
mod tensorrt;
mod text;

pub use builtin::{BuiltinEngines, CACHE, build_engine, build_options, open_source, open_trimmed};
pub use divergence::{Divergence, Incomparable, kl_divergence};
pub use form::{engine_of, forecast_of};
pub use quality::{QUALITY, QualityRecord};
pub use score::{ScoreError, ScoreRequest, WINDOW, feed, score};
pub use shape::{EngineShape, PROGRAM};
pub(crate) use shape::{rates, runtime_options};
pub use tensorrt::TensorrtEngine;
pub use text::{TextCounter, words};

/// An engine that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Its folder, or its file; empty where a server has it already.
    pub folder: PathBuf,
    /// Ids that the model knows: prompts are made of smaller ones.
    pub vocab_size: u32,
    /// The ids that are left of them, ascending, where the vocabulary has been trimmed.
    pub kept: Option<Vec<u32>>,
}

/// How long a target takes for each piece of work: a guess, to plan a run by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// From start to ready.
    pub load: Millis,
    /// For each token of a prompt.
    pub prefill_token: Millis,
    /// For each token of output.
    pub decode_token: Millis,
}

/// What weight streaming does to a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StreamingForecast {
    /// What can be streamed.
    pub streamable_bytes: Bytes,
    /// The smallest budget.
    pub floor_bytes: Bytes,
    /// Weights in memory under the cell's budget, and the ring that the others pass through.
    pub resident_bytes: Bytes,
    /// What is read from storage for each token.
    pub streamed_bytes_per_token: Bytes,
}

/// What a cell will need, said without running it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forecast {
    /// Every buffer.
    pub plan: MemoryPlan,
    /// Code, libraries, stacks and heap of the target; nothing where that cannot be said.
    pub program: Bytes,
    /// What it will need beside that, and nobody can say how much of.
    pub left_out: Option<&'static str>,
    /// How fast it will run, where that can be said.
    pub rates: Option<Rates>,
    /// Whether the engine must be built first, and how long that will take.
    pub build_time: Option<Millis>,
    /// What is streamed, where the cell asks for it.
    pub streaming: Option<StreamingForecast>,
}

/// The most that a target holds at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Peak {
    /// When.
    pub phase: Phase,
    /// Of what, the program included; classes that hold nothing are left out.
    pub by_class: BTreeMap<BufferClass, Bytes>,
    /// All of it.
    pub total: Bytes,
    /// What of it is in a device's own memory.
    pub on_device: Bytes,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[error("{what}{}", hint.as_ref().map_or_else(String::new, |hint| format!("\nhint: {hint}")))]
pub struct EngineError {
    /// What failed, and where.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Who can do something about it.
    pub kind: EngineErrorKind,
}

/// What kind of trouble there is with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineErrorKind {
    /// What was asked for cannot be: options against each other or the model, or a list of ids.
    Usage,
    /// There is no checkpoint or engine, or the machine has no room for one.
    Environment,
    /// The user asked to stop.
    Interrupted,
}

impl EngineError {
    /// What another error says, with nothing to add.
    pub(crate) fn from_cause(cause: &dyn std::error::Error) -> EngineError {
        EngineError { what: cause.to_string(), hint: None, kind: EngineErrorKind::Environment }
    }
}

impl From<runtime::engine_dir::EngineError> for EngineError {
    fn from(cause: runtime::engine_dir::EngineError) -> EngineError {
        let kind = match cause {
            runtime::engine_dir::EngineError::Interrupted => EngineErrorKind::Interrupted,
            _ => EngineErrorKind::Environment,
        };
        EngineError { kind, ..EngineError::from_cause(&cause) }
    }
}

impl From<runtime::vocabulary::VocabError> for EngineError {
    fn from(cause: runtime::vocabulary::VocabError) -> EngineError {
        EngineError { kind: EngineErrorKind::Usage, ..EngineError::from_cause(&cause) }
    }
}

impl From<runtime::plan::OptionsError> for EngineError {
    fn from(cause: runtime::plan::OptionsError) -> EngineError {
        EngineError { kind: EngineErrorKind::Usage, ..EngineError::from_cause(&cause) }
    }
}

/// Told how far a long piece of work has come.
pub trait Progress {
    /// A piece of work begins; `total` is what there is to do, where that is known.
    fn begin(&self, what: &str, total: Option<Bytes>);
    /// So much more of it is done.
    fn advance(&self, done: Bytes);
    /// It is over.
    fn end(&self);
    /// True once the work should be given up.
    fn is_interrupted(&self) -> bool;
}

/// Makes engines, and says what they will need.
pub trait EngineProvider {
    /// The engine for a model and build options, built now unless it is there already.
    fn ensure(
        &self,
        source: &ModelSource,
        build: &BuildOptions,
        progress: &dyn Progress,
    ) -> Result<Engine, EngineError>;

    /// What `cell` will need; builds nothing.
    fn forecast(&self, cell: &Cell) -> Result<Forecast, EngineError>;
}
