//! What an earlier run has done already.

use std::path::{Path, PathBuf};

use crate::record::{CellId, RecordedTrial, Run, TrialRecord};

/// The finished trials of an earlier run that did not finish.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) folder: PathBuf,
    trials: Vec<TrialRecord>,
}

/// The newest run of the scenario `name` below `runs`, if it did not finish and was made by this very program. An
/// earlier one does not count: the newest says what is current.
pub(super) fn unfinished(runs: &Path, name: &str, program_sha256: &str) -> Option<Earlier> {
    let folders = std::fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.join("run.json").is_file()).collect();
    // Folders are named by time.
    folders.sort();
    let newest = folders.iter().rev().find_map(|folder| {
        let run = Run::load(folder).ok()?;
        (run.record.scenario.name == name).then_some(run)
    })?;
    let same_program = newest.record.program_sha256 == program_sha256;
    if newest.record.is_complete() || !same_program {
        return None;
    }
    let trials = newest.trials.into_iter().map(|RecordedTrial { record, .. }| record);
    Some(Earlier { folder: newest.folder, trials: trials.filter(TrialRecord::is_finished).collect() })
}

impl Earlier {
    /// Takes out the trial `trial` of the cell, if it is finished.
    pub(super) fn take(&mut self, cell: &CellId, trial: u32) -> Option<TrialRecord> {
        let at = self.trials.iter().position(|record| record.cell.id == *cell && record.trial == trial)?;
        Some(self.trials.swap_remove(at))
    }

    /// The folder's name.
    pub(super) fn name(&self) -> String {
        self.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }
}
