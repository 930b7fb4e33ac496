//! What earlier runs have done already.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::record::{CellId, EnvironmentRecord, RecordedTrial, Run, RunRecord, Shard, TrialRecord};

/// The finished trials of a run that did not finish, and of those that it was to take up itself: it may have been killed before
/// it had taken over everything.
#[derive(Debug)]
pub(super) struct Earlier {
    newest: String,
    trials: Vec<(PathBuf, TrialRecord)>,
}

fn shard_of(record: &RunRecord) -> Option<Shard> {
    record.shard.as_ref().map(|record| record.shard)
}

/// True for a trial that was measured in `environment`; one that does not say in which was not.
fn is_of(environment: &EnvironmentRecord, trial: &TrialRecord) -> bool {
    trial.environment.as_ref().is_some_and(|found| found.differences(environment).is_empty())
}

/// The newest run of this `shard` of the scenario `name` below `runs`, if it did not finish and was made by this very program. An
/// earlier one does not count, unless the newest was to take it up: the newest says what is current. Of their trials, those count
/// that were measured in `environment`: in another power mode, say, they are of another machine.
pub(super) fn unfinished(
    runs: &Path,
    name: &str,
    shard: Option<Shard>,
    program_sha256: &str,
    environment: &EnvironmentRecord,
) -> Option<Earlier> {
    let folders = std::fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.join("run.json").is_file()).collect();
    // Folders are named so that a later one sorts later, whatever the clock does.
    folders.sort();
    let is_usable = |record: &RunRecord| {
        shard_of(record) == shard
            && record.scenario.name == name
            && record.program_sha256 == program_sha256
            && !record.is_complete()
    };
    let newest = folders.iter().rev().find(|folder| {
        Run::head(folder).is_ok_and(|record| {
            // Trials of a pair are of other builds than this program, and what was joined was run elsewhere.
            let is_own = record.pair.is_none() && record.merged.is_empty();
            is_own && record.scenario.name == name && shard_of(&record) == shard
        })
    })?;
    let mut trials: Vec<(PathBuf, TrialRecord)> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(newest.clone());
    while let Some(folder) = next.take().filter(|folder| seen.insert(folder.clone())) {
        let Ok(run) = Run::load(&folder) else { break };
        if !is_usable(&run.record) {
            break;
        }
        let finished = run.trials.into_iter().map(|RecordedTrial { record, .. }| record);
        let finished = finished.filter(|trial| trial.is_finished() && is_of(environment, trial));
        for trial in finished {
            let is_known = |(_, known): &(PathBuf, TrialRecord)| {
                known.cell.id == trial.cell.id && known.trial == trial.trial
            };
            if !trials.iter().any(is_known) {
                trials.push((folder.clone(), trial));
            }
        }
        next = run.record.resumed_from.and_then(|name| sibling(runs, &name));
    }
    (!trials.is_empty()).then(|| Earlier { newest: name_of(newest), trials })
}

/// The folder `name` below `runs`; `None` where it is no plain name, and would lead elsewhere.
fn sibling(runs: &Path, name: &str) -> Option<PathBuf> {
    let plain = !name.starts_with('.') && !name.contains('/');
    plain.then(|| runs.join(name))
}

fn name_of(folder: &Path) -> String {
    folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

impl Earlier {
    /// Takes out the trial `trial` of the cell, if it is finished, with the folder of the run that has it.
    pub(super) fn take(&mut self, cell: &CellId, trial: u32) -> Option<(PathBuf, TrialRecord)> {
        let is_it = |(_, record): &(PathBuf, TrialRecord)| record.cell.id == *cell && record.trial == trial;
        let at = self.trials.iter().position(is_it)?;
        Some(self.trials.swap_remove(at))
    }

    /// The name of the newest of these runs.
    pub(super) fn name(&self) -> String {
        self.newest.clone()
    }
}
