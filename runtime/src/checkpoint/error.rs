//! Why a checkpoint is refused. Each error names the file, and what to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

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
        #[source]
        error: io::Error,
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
