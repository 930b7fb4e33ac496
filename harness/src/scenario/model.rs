//! Models, and the forms in which runtimes read them.

use std::path::Path;

use runtime::engine_dir::EngineDir;
use schemars::JsonSchema;
use serde::Deserialize;

use super::located::Located;
use super::place::{Place, contents_of};
use crate::lock::{ENGINES_LOCK, EngineLock, LockedEngine, LockedSource};

/// A model: one of `synthetic`, `checkpoint`, `engine` and `locked` for the built-in runtime, and the same model in the forms that other
/// runtimes read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ModelFile {
    /// Random 4-bit weights in the true shapes of an architecture.
    pub(super) synthetic: Option<SyntheticFile>,
    /// A folder in Hugging Face layout.
    pub(super) checkpoint: Option<String>,
    /// A folder that `sweep build` made.
    pub(super) engine: Option<String>,
    /// The name of an engine in `engines.lock`; it is built first, and is what the lock says or is refused.
    pub(super) locked: Option<String>,
    /// A file of llama.cpp; `${NAME}` stands for an environment variable.
    pub(super) gguf: Option<Place>,
    /// A folder that `llm_build` of TensorRT Edge-LLM made; `${NAME}` stands for an environment variable.
    pub(super) tensorrt_engine: Option<Place>,
    /// The name by which a server that runs already has it.
    pub(super) served: Option<String>,
}

/// Random weights.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SyntheticFile {
    /// The architecture, for example `Qwen3-4B`.
    pub(super) architecture: Located<String>,
    /// Decides the weights.
    pub(super) seed: u64,
}

/// Where the built-in runtime has a model from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// Random 4-bit weights in the true shapes of an architecture.
    Synthetic {
        /// The architecture, for example `Qwen3-4B`.
        architecture: String,
        /// Decides the weights.
        seed: u64,
    },
    /// A folder in Hugging Face layout.
    Checkpoint(String),
    /// A folder that `sweep build` made.
    Engine(String),
    /// An engine of `engines.lock`, by its name.
    Locked(String),
}

impl ModelSource {
    /// True for an engine, whose build options were decided when it was built or locked.
    pub fn is_engine(&self) -> bool {
        matches!(self, ModelSource::Engine(_) | ModelSource::Locked(_))
    }

    /// In words, for tables and records.
    pub fn describe(&self) -> String {
        match self {
            ModelSource::Synthetic { architecture, seed } => format!("synthetic {architecture}, seed {seed}"),
            ModelSource::Checkpoint(path) => format!("checkpoint {path}"),
            ModelSource::Engine(path) => format!("engine {path}"),
            ModelSource::Locked(name) => format!("locked {name}"),
        }
    }

    /// The source that [`ModelSource::describe`] has these words for.
    pub fn from_words(words: &str) -> Option<ModelSource> {
        if let Some(synthetic) = words.strip_prefix("synthetic ") {
            let (architecture, seed) = synthetic.split_once(", seed ")?;
            return Some(ModelSource::Synthetic {
                architecture: architecture.to_owned(),
                seed: seed.parse().ok()?,
            });
        }
        let path = |kind: &str| words.strip_prefix(kind).map(str::to_owned);
        path("checkpoint ")
            .map(ModelSource::Checkpoint)
            .or_else(|| path("engine ").map(ModelSource::Engine))
            .or_else(|| path("locked ").map(ModelSource::Locked))
    }

    /// The names, lengths and moments of change of the source's files: they stand for what is in them; of a locked engine, what the
    /// lock says of it. Empty where there is nothing to look at.
    pub fn contents(&self) -> String {
        match self {
            ModelSource::Checkpoint(path) | ModelSource::Engine(path) => contents_of(Path::new(path)),
            ModelSource::Locked(name) => locked(name).map(|engine| engine.identity()).unwrap_or_default(),
            ModelSource::Synthetic { .. } => String::new(),
        }
    }

    /// True where the weights are random numbers; an engine's own manifest says so.
    pub fn is_synthetic(&self) -> bool {
        match self {
            ModelSource::Synthetic { .. } => true,
            ModelSource::Checkpoint(_) => false,
            ModelSource::Locked(name) => {
                locked(name).is_some_and(|engine| matches!(engine.source, LockedSource::Synthetic { .. }))
            }
            ModelSource::Engine(path) => {
                EngineDir::open(Path::new(path)).is_ok_and(|engine| engine.manifest().is_synthetic())
            }
        }
    }
}

/// The engine `name` of the lock in the current folder, where there is one.
fn locked(name: &str) -> Option<LockedEngine> {
    EngineLock::load(Path::new(ENGINES_LOCK)).ok()?.engine(name).ok().cloned()
}

/// A model in the form that one kind of runtime reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelForm {
    /// For the built-in runtime.
    Builtin(ModelSource),
    /// A file for llama.cpp.
    Gguf(Place),
    /// A folder for TensorRT Edge-LLM.
    TensorrtEngine(Place),
    /// What a server that runs already calls it.
    Served(String),
}

impl ModelForm {
    /// The word in scenario files.
    pub const fn name(&self) -> &'static str {
        match self {
            ModelForm::Builtin(ModelSource::Synthetic { .. }) => "synthetic",
            ModelForm::Builtin(ModelSource::Checkpoint(_)) => "checkpoint",
            ModelForm::Builtin(ModelSource::Engine(_)) => "engine",
            ModelForm::Builtin(ModelSource::Locked(_)) => "locked",
            ModelForm::Gguf(_) => "gguf",
            ModelForm::TensorrtEngine(_) => "tensorrtEngine",
            ModelForm::Served(_) => "served",
        }
    }

    /// In words, for tables and records.
    pub fn describe(&self) -> String {
        match self {
            ModelForm::Builtin(source) => source.describe(),
            ModelForm::Gguf(place) => format!("gguf {place}"),
            ModelForm::TensorrtEngine(place) => format!("TensorRT engine {place}"),
            ModelForm::Served(name) => format!("served as {name}"),
        }
    }

    /// What stands for what is in its files. Empty where there are none to look at.
    pub fn contents(&self) -> String {
        match self {
            ModelForm::Builtin(source) => source.contents(),
            ModelForm::Gguf(place) | ModelForm::TensorrtEngine(place) => place.contents(),
            ModelForm::Served(_) => String::new(),
        }
    }

    /// True where the weights are known to be random numbers.
    pub fn is_synthetic(&self) -> bool {
        match self {
            ModelForm::Builtin(source) => source.is_synthetic(),
            ModelForm::Gguf(_) | ModelForm::TensorrtEngine(_) | ModelForm::Served(_) => false,
        }
    }
}

impl ModelFile {
    /// Every form that is written.
    pub(super) fn forms(&self) -> Vec<ModelForm> {
        let synthetic = self.synthetic.as_ref().map(|file| ModelSource::Synthetic {
            architecture: file.architecture.value.clone(),
            seed: file.seed,
        });
        let checkpoint = self.checkpoint.clone().map(ModelSource::Checkpoint);
        let engine = self.engine.clone().map(ModelSource::Engine);
        let locked = self.locked.clone().map(ModelSource::Locked);
        let builtin = [synthetic, checkpoint, engine, locked].into_iter().flatten().map(ModelForm::Builtin);
        builtin
            .chain(self.gguf.clone().map(ModelForm::Gguf))
            .chain(self.tensorrt_engine.clone().map(ModelForm::TensorrtEngine))
            .chain(self.served.clone().map(ModelForm::Served))
            .collect()
    }
}
