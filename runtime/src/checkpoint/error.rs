//! Why a checkpoint is refused. Each error names the file, and what to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::header::HeaderProblem;
use super::quantization::QuantizationProblem;
use super::shards::IndexProblem;
use crate::config::ConfigError;

/// A checkpoint that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The model configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operating system refuses a read.
    #[error("read {}: {error}; check that the file is there, readable and complete", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// No weights in the directory.
    #[error("open the checkpoint {}: no model.safetensors and no model.safetensors.index.json there; download them, or convert the weights to safetensors", directory.display())]
    NoWeights {
        /// The directory.
        directory: PathBuf,
    },
    /// A file of weights that is damaged.
    #[error("open {}: {problem}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: HeaderProblem,
    },
    /// An index of shards that does not fit its shards.
    #[error("read {}: {problem}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: IndexProblem,
    },
    /// A quantisation that is refused.
    #[error("read the quantisation in {}: {problem}", path.display())]
    Quantization {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong with it.
        problem: QuantizationProblem,
    },
    /// A tensor that the model needs.
    #[error("open the checkpoint {}: tensor `{tensor}` is missing; download all files of one revision again", directory.display())]
    MissingTensor {
        /// The directory.
        directory: PathBuf,
        /// The tensor, as it would be named in the files.
        tensor: String,
    },
    /// A tensor of another shape than the configuration gives it.
    #[error("read `{tensor}` in {}: its shape is {found:?}, but config.json makes it {expected:?}; use the config.json that belongs to these weights", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor, as in the file.
        tensor: String,
        /// The shape that follows from the configuration.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor of an element type that its layout does not have.
    #[error("read `{tensor}` in {}: its dtype is {found}, but {expected} is needed; export the checkpoint in a supported format", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor, as in the file.
        tensor: String,
        /// What is accepted.
        expected: &'static str,
        /// The type in the file.
        found: String,
    },
    /// A tensor whose contents the engine cannot honour.
    #[error("read `{tensor}` in {}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The tensor, as in the file.
        tensor: String,
        /// What it holds, and what to do.
        what: String,
    },
    /// A group size that a synthetic model cannot have.
    #[error(
        "make the synthetic model {name}: group size {group_size} is not a multiple of 32 that divides the columns of every layer; use 32, 64 or 128"
    )]
    SyntheticGroupSize {
        /// The model.
        name: String,
        /// The group size.
        group_size: usize,
    },
    /// The model has no tensor or module of this name.
    #[error("read `{name}`: the model has no such tensor; this is a mistake of the caller")]
    UnknownTensor {
        /// The canonical name.
        name: String,
    },
    /// A request for rows that do not exist, or that cut a packed word.
    #[error(
        "read rows {start}..{end} of `{name}`: it has {total}, and a range starts and ends at multiples of {multiple}; this is a mistake of the caller"
    )]
    Rows {
        /// The canonical name.
        name: String,
        /// First row asked for.
        start: usize,
        /// One past the last row asked for.
        end: usize,
        /// Rows that there are.
        total: usize,
        /// What a range must be aligned to.
        multiple: usize,
    },
    /// A caller's buffer of the wrong length.
    #[error(
        "read `{name}`: the buffer holds {found} elements, {expected} are needed; this is a mistake of the caller"
    )]
    BufferLength {
        /// The canonical name.
        name: String,
        /// Elements needed.
        expected: usize,
        /// Elements given.
        found: usize,
    },
}
