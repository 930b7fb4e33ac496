//! What an earlier run has done already.

use std::path::{Path, PathBuf};

use crate::record::{CellId, EnvironmentRecord, RecordedTrial, Run, TrialRecord};

/// The finished trials of an earlier run that did not finish.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) folder: PathBuf,
    trials: Vec<TrialRecord>,
}

/// True for a trial that was measured in `environment`; one that does not say in which was not.
fn is_of(environment: &EnvironmentRecord, trial: &TrialRecord) -> bool {
    trial.environment.as_ref().is_some_and(|found| found.differences(environment).is_empty())
}

/// The newest run of the scenario `name` below `runs`, if it did not finish and was made by this very program. An
/// earlier one does not count: the newest says what is current. Of its trials, those count that were measured in
/// `environment`: in another power mode, say, they are of another machine.
pub(super) fn unfinished(
    runs: &Path,
    name: &str,
    program_sha256: &str,
    environment: &EnvironmentRecord,
) -> Option<Earlier> {
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
    let trials = trials.filter(|trial| trial.is_finished() && is_of(environment, trial));
    let trials: Vec<TrialRecord> = trials.collect();
    (!trials.is_empty()).then_some(Earlier { folder: newest.folder, trials })
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
