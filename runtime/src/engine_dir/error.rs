//! What can go wrong between a checkpoint and a loaded engine.

use std::path::{Path, PathBuf};

use ledger::Bytes;

use crate::checkpoint::CheckpointError;
use crate::generate::TextFilesError;
use crate::model::modules::Module;
use crate::ops::MatrixError;

/// Why an engine could not be built or opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model needs a module that the checkpoint lacks.
    #[error(
        "the checkpoint has no tensor for `{module}`; it is incomplete, or not of the architecture that its config.json names"
    )]
    ModuleMissing {
        /// Canonical name.
        module: String,
    },
    /// A matrix cannot be quantised because its inputs do not divide into groups.
    #[error(
        "`{module}` has {columns} inputs, which do not divide into groups of 32; keep it in 16 bits (linears: keep, lmHead: f16)"
    )]
    GroupsDoNotDivide {
        /// Canonical name.
        module: String,
        /// Its inputs.
        columns: usize,
    },
    /// A zero point that four bits cannot hold.
    #[error(
        "`{module}` has a zero point of {zero_point}, and an engine stores 0 to 15; re-export the checkpoint as gptq_v2 or AWQ"
    )]
    ZeroPoint {
        /// Canonical name.
        module: String,
        /// The value.
        zero_point: u8,
    },
    /// A matrix cannot be packed or quantised.
    #[error("pack `{module}`: {cause}")]
    Matrix {
        /// Canonical name.
        module: String,
        /// What is wrong.
        cause: MatrixError,
    },
    /// Something that is no engine stands where the engine would be.
    #[error(
        "{path} is not an engine directory, and building one there would delete it; name a folder that does not exist yet"
    )]
    Occupied {
        /// What stands there.
        path: PathBuf,
    },
    /// The disk has no room.
    #[error(
        "building {path} needs {needed} and the disk has {free} free; free some, or put the engine on another disk"
    )]
    DiskFull {
        /// The engine directory.
        path: PathBuf,
        /// Bytes still to be written.
        needed: Bytes,
        /// Bytes that the disk has.
        free: Bytes,
    },
    /// Another build is at work on the same engine.
    #[error("another build is writing {path}; wait until it is done, or name another folder")]
    Busy {
        /// The engine directory.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("{action} {path}: {cause}")]
    Io {
        /// What was done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The checkpoint's text files cannot be used.
    #[error(transparent)]
    Text(#[from] TextFilesError),
    /// Somebody asked to stop.
    #[error("the build was interrupted; build again to go on where it stopped")]
    Interrupted,
    /// The directory is no engine.
    #[error("{path} is not an engine directory: it has no {missing}; build one with `sweep build`")]
    NotAnEngine {
        /// The directory.
        path: PathBuf,
        /// The file that is missing.
        missing: &'static str,
    },
    /// The manifest cannot be read.
    #[error("{path} is not a manifest that this program reads: {reason}; build the engine again")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The weights' file does not fit its manifest.
    #[error("{path} has {found}, but its manifest says {expected}; build the engine again")]
    WeightsLength {
        /// The weights' file.
        path: PathBuf,
        /// Its length.
        found: Bytes,
        /// What the manifest says.
        expected: Bytes,
    },
}

impl EngineError {
    pub(super) fn matrix(module: &Module, cause: MatrixError) -> EngineError {
        EngineError::Matrix { module: module.name.clone(), cause }
    }

    /// For `map_err` on a file operation.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EngineError {
        let path = path.to_owned();
        move |cause| EngineError::Io { action, path, cause }
    }
}
