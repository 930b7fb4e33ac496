//! What earlier runs measured of a configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ledger::{Bytes, Phase, Tokens};
use serde::Serialize;

use super::planner::Configuration;
use crate::record::{CellId, CellRecord, Outcome, Run, RunRecord};
use crate::scenario::ModelSource;
use crate::verdict::{device, evidence};

/// How far the tokens that were held may be from those that are predicted: two blocks of the cache.
const CONTEXT_TOLERANCE: u32 = 128;

/// A peak that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// The run's folder.
    pub run: PathBuf,
    /// The highest resident memory of any of its trials.
    pub peak_bytes: Bytes,
    /// Tokens that the longest sequence held.
    pub context_tokens: Tokens,
}

/// What runs say of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// No run has it.
    Nothing,
    /// The newest run with a value has this one.
    Measured(Measured),
    /// Runs have it, and none has a value; the newest of them, and why.
    NoValue {
        /// The run's folder.
        run: PathBuf,
        /// Why.
        why: String,
    },
}

/// The runs in which a model was measured, newest first.
#[derive(Debug, Default)]
pub struct Records {
    runs: Vec<(PathBuf, RunRecord, Option<Run>)>,
    source: String,
}

impl Records {
    /// The runs among `folders`, oldest first, that measured `source`. What cannot be read is no evidence.
    pub fn of(folders: &[PathBuf], source: &ModelSource) -> Records {
        let source = source.describe();
        let read = |folder: &PathBuf| Some((folder.clone(), Run::head(folder).ok()?, None));
        let mut runs: Vec<_> = folders.iter().rev().filter_map(read).collect();
        runs.retain(|(_, record, _): &(PathBuf, RunRecord, Option<Run>)| {
            record.cells.iter().any(|cell| cell.source == source)
        });
        Records { runs, source }
    }

    /// What the newest run with this configuration and about `context` tokens measured. The lengths that a cell was started with
    /// size nothing, so that only the tokens that were held count.
    pub fn find(&mut self, configuration: &Configuration, context: Tokens) -> Recorded {
        let (build, settings) = (configuration.build.to_map(), configuration.settings.to_map());
        let source = &self.source;
        let same = |cell: &&CellRecord| {
            cell.source == *source && cell.build == build && telling(&cell.settings) == telling(&settings)
        };
        let mut no_value = None;
        let found = self.runs.iter_mut().find_map(|(folder, record, run)| {
            let cells: Vec<_> = record.cells.iter().filter(same).map(|cell| cell.id.clone()).collect();
            if cells.is_empty() {
                return None;
            }
            if run.is_none() {
                *run = Run::load(folder).ok();
            }
            let run = run.as_ref()?;
            let near = |held: Tokens| held.0.abs_diff(context.0) <= CONTEXT_TOLERANCE;
            for cell in &cells {
                match measured(run, cell) {
                    Ok((context_tokens, peak_bytes)) if near(context_tokens) => {
                        return Some(Measured { run: folder.clone(), peak_bytes, context_tokens });
                    }
                    Ok(_) => {}
                    Err(why) => {
                        no_value.get_or_insert(Recorded::NoValue { run: folder.clone(), why });
                    }
                }
            }
            None
        });
        found.map(Recorded::Measured).or(no_value).unwrap_or(Recorded::Nothing)
    }
}

/// The settings that decide the bytes of a cell beside the tokens that it holds.
fn telling(settings: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let drafts = settings.get("mtp").is_some_and(|mtp| mtp == "true");
    let counts = |name: &str, value: &str| match name {
        // Older records do not say it.
        "device" => value != "cpu",
        "precision" => value != "fast",
        "maxInputLen" | "maxKVCacheCapacity" => false,
        "maxVerifyTreeSize" | "draftVocab" => drafts,
        _ => true,
    };
    let pairs = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    pairs.filter(|(name, value)| counts(name, value)).collect()
}

/// The longest context and the highest peak over the trials of `cell` that ran to their end, or why there is none. A lower bound is
/// no peak to hold anything against. How a target ends is left out: no plan speaks of it.
pub(super) fn measured(run: &Run, cell: &CellId) -> Result<(Tokens, Bytes), String> {
    let mut highest = None;
    for trial in run.trials_of(cell).filter(|trial| trial.record.outcome == Outcome::Completed) {
        let mut context = None;
        let mut peak = None;
        for phase in trial.record.phases.iter().filter(|record| record.phase != Phase::Unload) {
            if let Some(why) = device::held_lower_bound(trial, phase) {
                let number = trial.record.trial;
                return Err(format!("trial {number}, {}: the peak is a lower bound: {why}", phase.phase));
            }
            context = context.max(evidence::context_in(&trial.record, phase.phase));
            peak = peak.max(device::held_in(trial, phase).measured().copied());
        }
        if let (Some(context), Some(peak)) = (context, peak)
            && highest.is_none_or(|(_, so_far)| peak > so_far)
        {
            highest = Some((context, peak));
        }
    }
    highest.ok_or_else(|| "no trial ran to its end with a peak".to_owned())
}

/// The difference of `measured` from `predicted`, as a share of what was measured.
pub fn difference(predicted: Bytes, measured: Bytes) -> f64 {
    predicted.signed_difference(measured) as f64 / measured.0.max(1) as f64
}
