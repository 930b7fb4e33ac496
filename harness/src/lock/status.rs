//! Every engine of the lock at a glance: pinned, built, stale, missing.

use std::collections::BTreeMap;

use runtime::engine_dir::{EngineDir, EngineError};
use serde::Serialize;

use super::build::Places;
use super::drift::{Depth, Drift, drift_of_engine, drift_of_source};
use super::engine::LockedEngine;
use super::source::LockedSource;

/// Whether an engine can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is there, and nothing speaks against it.
    Built,
    /// It is there, and not as the lock says, or its source is not.
    Stale,
    /// It is not there; its source is.
    Missing,
    /// Neither is there, or not all of its source.
    NotFetched,
}

impl State {
    /// In words.
    pub const fn word(self) -> &'static str {
        match self {
            State::Built => "built",
            State::Stale => "stale",
            State::Missing => "missing",
            State::NotFetched => "not fetched",
        }
    }
}

/// An engine of the lock, and what there is of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineStatus {
    /// Its name.
    pub name: String,
    /// Where it is from.
    pub source: String,
    /// Its build options.
    pub build: BTreeMap<String, String>,
    /// What is not pinned yet; empty where everything is.
    pub unpinned: Vec<&'static str>,
    /// Whether it can be used.
    pub state: State,
    /// What makes it stale.
    pub reasons: Vec<String>,
    /// Its hash by the lock.
    pub sha256: Option<String>,
}

/// Holds `engine` against what is there. Files are looked at by their lengths; `sweep build NAME --locked` reads them.
pub fn status(engine: &LockedEngine, places: &Places) -> EngineStatus {
    let is_there = engine.source.folder(&places.checkpoints).is_none_or(|folder| folder.is_dir());
    // What could not be looked at is not known to differ.
    let of_source = drift_of_source(engine, &places.checkpoints, Depth::Lengths).unwrap_or_default();
    let lacks = |drift: &Drift| matches!(drift, Drift::FileMissing { .. } | Drift::FileLength { .. });
    let is_whole = is_there && !of_source.iter().any(lacks);
    let (state, reasons) = match EngineDir::open(&places.engine(&engine.name)) {
        Ok(there) => {
            let mut drifts = drift_of_engine(engine, there.manifest());
            // A source that is gone is not needed any more.
            let fresh = of_source.into_iter().filter(|drift| is_there && !drifts.contains(drift));
            let fresh: Vec<Drift> = fresh.collect();
            drifts.extend(fresh);
            (if drifts.is_empty() { State::Built } else { State::Stale }, drifts)
        }
        Err(EngineError::NotAnEngine { .. }) => match &engine.source {
            LockedSource::Hub(_) if !is_whole => (State::NotFetched, Vec::new()),
            _ => (State::Missing, Vec::new()),
        },
        Err(error) => (State::Stale, vec![Drift::Unusable { why: error.to_string() }]),
    };
    EngineStatus {
        name: engine.name.clone(),
        source: engine.source.to_string(),
        build: engine.build.to_map(),
        unpinned: engine.unpinned(),
        state,
        reasons: reasons.iter().map(ToString::to_string).collect(),
        sha256: engine.sha256.as_ref().map(ToString::to_string),
    }
}
