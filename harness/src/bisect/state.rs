//! What is known so far, so that a search that was interrupted goes on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::measure::Measured;
use crate::record::write_atomically;

/// Version of the file. A file of another version is a search of its own.
const FORMAT_VERSION: u32 = 1;

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    format_version: u32,
    /// What was asked: only the very same question goes on.
    question: Vec<String>,
    /// What each commit said, or why it was skipped.
    pub(super) commits: BTreeMap<String, Result<BTreeMap<String, Measured>, String>>,
}

impl State {
    /// The state at `path` where it is of this `question`, else a new one.
    pub(super) fn of(path: &Path, question: Vec<String>) -> State {
        let kept = fs::read(path).ok().and_then(|text| serde_json::from_slice::<State>(&text).ok());
        kept.filter(|kept| kept.format_version == FORMAT_VERSION && kept.question == question)
            .unwrap_or(State { format_version: FORMAT_VERSION, question, commits: BTreeMap::new() })
    }

    /// Writes it.
    pub(super) fn keep(&self, path: &Path) -> io::Result<()> {
        write_atomically(path, self)
    }
}
