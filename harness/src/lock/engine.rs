//! One engine of the lock.

use std::collections::BTreeMap;

use super::pin::{FileName, FilePin, Sha256Text};
use super::source::LockedSource;
use crate::scenario::BuildOptions;

/// An engine: where it is from, how it is packed, and, as far as it is pinned, what exactly goes in and comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedEngine {
    /// Its name, and that of its folder among the built engines.
    pub name: String,
    /// Where it is from.
    pub source: LockedSource,
    /// How it is packed.
    pub build: BuildOptions,
    /// Every file of the source that goes in; `None` where that is not known yet, or everything follows from a seed.
    pub files: Option<BTreeMap<FileName, FilePin>>,
    /// Version of the generator of synthetic weights.
    pub generator: Option<u32>,
    /// Version of the engine directory's format.
    pub engine_format: Option<u32>,
    /// The engine's own hash, as its manifest has it.
    pub sha256: Option<Sha256Text>,
}

impl LockedEngine {
    /// What is not pinned yet, in the lock's own words; empty where everything is.
    pub fn unpinned(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        match &self.source {
            LockedSource::Synthetic { .. } if self.generator.is_none() => missing.push("generator"),
            LockedSource::Hub(_) | LockedSource::Path(_) if !self.has_pinned_source() => {
                missing.push("files")
            }
            _ => {}
        }
        if self.engine_format.is_none() {
            missing.push("engine_format");
        }
        if self.sha256.is_none() {
            missing.push("sha256");
        }
        missing
    }

    /// What stands for the engine where cells are told apart: its hash, or, as long as that is unpinned, what it is made from.
    pub fn identity(&self) -> String {
        match &self.sha256 {
            Some(sha256) => sha256.to_string(),
            None => format!("{} {:?}", self.source, self.build.to_map()),
        }
    }

    /// True where every file of the source is pinned, and, of the Hub, the commit, too.
    pub fn has_pinned_source(&self) -> bool {
        match &self.source {
            LockedSource::Hub(hub) => self.files.is_some() && hub.commit().is_some(),
            LockedSource::Path(_) => self.files.is_some(),
            LockedSource::Synthetic { .. } => self.generator.is_some(),
        }
    }
}
