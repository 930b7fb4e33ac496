//! `engines.lock`: which engines there are, what each is made from, and what comes out, by hash.
//!
//! - `file`: the file, read and written; `engine`: one engine of it; `source`, `pin`: where it is from, and what is pinned.
//! - `drift`: what differs between the lock and what is there; `status`: all of it at a glance.
//! - `build`: an engine of the lock, made and held against it.

mod build;
mod drift;
mod engine;
mod error;
mod file;
mod pin;
mod source;
mod status;

pub use build::{Places, build_as_locked, build_into_lock, ensure_locked};
pub use drift::{Depth, Drift, drift_of_engine, drift_of_source};
pub use engine::LockedEngine;
pub use error::LockError;
pub use file::{ENGINES_LOCK, EngineLock, FORMAT_VERSION};
pub use pin::{FileName, FileNameError, FilePin, Sha256Text, UNPINNED};
pub use source::{Commit, HubSource, LockedSource};
pub use status::{EngineStatus, State, status};
