//! Why a model configuration is refused.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A configuration file that cannot be used.
#[derive(Debug, Error)]
#[error("read the model configuration {}: {problem}", path.display())]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: ConfigProblem,
}

impl ConfigError {
    pub(super) fn new(path: &Path, problem: ConfigProblem) -> ConfigError {
        ConfigError { path: path.to_path_buf(), problem }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// The file cannot be read.
    #[error("{0}; point at a Hugging Face model directory that has this file")]
    Io(io::Error),
    /// The file is not JSON, or a value has the wrong type.
    #[error("{0}; download the file again, or correct the value at that line")]
    Json(serde_json::Error),
    /// A key is absent and has no meaning without a value.
    #[error("`{key}` is missing; add it, or use the config.json that belongs to the weights")]
    Missing {
        /// The key, with its parents.
        key: &'static str,
    },
    /// A model that the engine has no layers for.
    #[error(
        "{what} is not supported ({why}); supported are Qwen3 (`qwen3`) and Qwen3.5 (`qwen3_5`, `qwen3_5_text`)"
    )]
    Architecture {
        /// The name in the file, with its key.
        what: String,
        /// What is different about it.
        why: &'static str,
    },
    /// A feature of a known family that the engine does not compute.
    #[error("`{key}` is {value}, but {why}; use another checkpoint")]
    Feature {
        /// The key.
        key: &'static str,
        /// The value found.
        value: String,
        /// What the engine does instead.
        why: &'static str,
    },
    /// A size outside what any model has.
    #[error("`{key}` is {value}, which is not in {least}..={most}; check it against the model card")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// The value found.
        value: String,
        /// The smallest value allowed.
        least: u64,
        /// The largest value allowed.
        most: u64,
    },
    /// Sizes that do not fit together.
    #[error("{what}; check it against the model card")]
    Inconsistent {
        /// The sizes and the rule between them.
        what: String,
    },
}
