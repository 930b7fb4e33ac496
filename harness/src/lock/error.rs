//! What goes wrong with the lock.

use std::io;
use std::path::PathBuf;

use super::drift::Drift;
use crate::engines::{EngineError, EngineErrorKind};

/// Why the lock cannot be used, or an engine is not what it says.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock is not there, or cannot be read.
    #[error("read {path}: {source}")]
    Unreadable {
        /// The lock.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The lock cannot be written.
    #[error("write {path}: {source}")]
    Unwritable {
        /// The lock.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The lock cannot be understood.
    #[error("{path}: {why}")]
    Malformed {
        /// The lock.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
    /// The lock was written by a newer version.
    #[error("{path} has format version {found}, this program reads {known}")]
    TooNew {
        /// The lock.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// There is no such engine.
    #[error("there is no engine `{name}` in {path}; it has {known}{}", meant.as_ref().map_or_else(String::new, |meant| format!("\nhint: did you mean `{meant}`?")))]
    UnknownEngine {
        /// What was asked for.
        name: String,
        /// The lock.
        path: PathBuf,
        /// All names.
        known: String,
        /// The closest.
        meant: Option<String>,
    },
    /// What is there is not what the lock says.
    #[error("`{engine}` is not as engines.lock says: {}", drifts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Drift {
        /// The engine.
        engine: String,
        /// Every difference.
        drifts: Vec<Drift>,
        /// What to do about it.
        hint: String,
    },
    /// The engine cannot be built.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl LockError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            LockError::Drift { hint, .. } => Some(hint.clone()),
            LockError::Unreadable { .. } => {
                Some("`sweep` looks for it in the current folder; `--lock FILE` names another".to_owned())
            }
            LockError::TooNew { .. } => Some("it was written by a newer `sweep`; use that one".to_owned()),
            _ => None,
        }
    }
}

impl From<LockError> for EngineError {
    fn from(error: LockError) -> EngineError {
        let kind = match &error {
            LockError::Engine(_) | LockError::Drift { .. } | LockError::Unwritable { .. } => {
                EngineErrorKind::Environment
            }
            LockError::Unreadable { .. }
            | LockError::Malformed { .. }
            | LockError::TooNew { .. }
            | LockError::UnknownEngine { .. } => EngineErrorKind::Usage,
        };
        match error {
            LockError::Engine(error) => error,
            error => EngineError { what: error.to_string(), hint: error.hint(), kind },
        }
    }
}
