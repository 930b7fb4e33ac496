//! A run folder, read back.

use std::fs;
use std::path::{Path, PathBuf};

use ledger::Bytes;
use thiserror::Error;

use super::{
    ACCOUNT_FILE, BASELINE_FILE, Boards, CellId, DeviceSeries, FORMAT_VERSION, JournalError, Reading,
    RunRecord, Series, TrialFile, TrialPaths, TrialRecord, recover,
};
use crate::baseline::{Baseline, BaselineError, board_name};
use crate::import::{self, Account};

/// A run with all of its trials and series: what verdicts and reports are computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The folder.
    pub folder: PathBuf,
    /// `run.json`.
    pub record: RunRecord,
    /// `account.json`: what logs of other programs say, where the run was imported.
    pub account: Option<Account>,
    /// `baseline.json`: what the run is held against, where there is something.
    pub baseline: Option<Baseline>,
    /// The trials that could be read, in the order of `run.json`.
    pub trials: Vec<RecordedTrial>,
    /// Trials that `run.json` names and that could not be read.
    pub unreadable: Vec<UnreadableTrial>,
}

/// A trial with its series.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedTrial {
    /// `trials/<stem>.json`.
    pub record: TrialRecord,
    /// `samples/<stem>.csv`, or why there is none.
    pub series: Reading<Series>,
    /// `samples/<stem>.gpu.csv`, or why there is none.
    pub device_series: Reading<DeviceSeries>,
}

/// A trial that is named in `run.json` and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableTrial {
    /// The cell.
    pub cell: CellId,
    /// Which trial of the cell.
    pub trial: u32,
    /// Why, in words.
    pub why: String,
}

/// Why a run folder cannot be read.
#[derive(Debug, Error)]
pub enum RunFolderError {
    /// A file cannot be read.
    #[error("failed to read {path}: {source}; is this the folder of a run?")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There are runs of several boards in the folder, and one is asked for.
    #[error("{folder} holds the runs of several boards; name one of them: {}", boards.iter().map(|board| Boards::run_folder(folder, board).display().to_string()).collect::<Vec<_>>().join(", "))]
    SeveralBoards {
        /// The folder.
        folder: PathBuf,
        /// The boards.
        boards: Vec<String>,
    },
    /// A file is not what it should be.
    #[error("failed to understand {path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A file was written by a later program.
    #[error(
        "failed to understand {path}: its format version is {found}, which this program does not know; use a newer sweep"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A trial without an end cannot be put together again.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The baseline in the folder cannot be used.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// A number is beyond anything that can be measured, so that sums could overflow.
    #[error("failed to use {path}: {what}")]
    Absurd {
        /// The file.
        path: PathBuf,
        /// Which number.
        what: String,
    },
    /// A name in `run.json` would lead out of the folder.
    #[error("failed to read the trial `{stem}`: its name is not a plain file name")]
    UnsafeName {
        /// The name.
        stem: String,
    },
    /// A trial's file is about another trial than `run.json` says.
    #[error(
        "failed to use {path}: it is about trial {trial} of cell {cell}, which is not the one that run.json names there"
    )]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// The cell that the file is about.
        cell: String,
        /// The trial that the file is about.
        trial: u32,
    },
}

impl Run {
    /// Reads `run.json` of the run in `folder`, and no trial.
    pub fn head(folder: &Path) -> Result<RunRecord, RunFolderError> {
        if Boards::is_there(folder) {
            let boards = Boards::head(folder)?.boards;
            return Err(RunFolderError::SeveralBoards { folder: folder.to_owned(), boards });
        }
        let path = folder.join("run.json");
        let record: RunRecord = read_json(&path)?;
        if record.format_version > FORMAT_VERSION {
            return Err(RunFolderError::TooNew { path, found: record.format_version });
        }
        Ok(record)
    }

    /// Reads the run in `folder`. Only `run.json` must be readable; a trial that is not is listed, not fatal.
    pub fn load(folder: &Path) -> Result<Run, RunFolderError> {
        let record = Run::head(folder)?;
        let mut run = Run {
            folder: folder.to_owned(),
            account: read_account(folder)?,
            baseline: read_baseline(folder)?,
            trials: Vec::new(),
            unreadable: Vec::new(),
            record,
        };
        for file in &run.record.trials {
            match read_trial(folder, &file.stem, &file.cell, file.trial) {
                Ok(trial) => run.trials.push(trial),
                // A kill between the announcement of a trial and its first word leaves nothing that could be read.
                Err(_) if never_began(folder, file, &run.record) => {}
                Err(error) => run.unreadable.push(UnreadableTrial {
                    cell: file.cell.clone(),
                    trial: file.trial,
                    why: error.to_string(),
                }),
            }
        }
        Ok(run)
    }

    /// What the board is called that it was measured on, as far as its machine and its first trial say. `None` where it was imported.
    pub fn board_name(&self) -> Option<String> {
        let environment = self.trials.iter().find_map(|trial| trial.record.environment.as_ref());
        let shard = self.record.shard.as_ref().map(|shard| &shard.environment);
        let machine = self.record.machine.as_ref()?;
        Some(board_name(shard.or(environment), Some(machine)))
    }

    /// The trials of `cell`.
    pub fn trials_of(&self, cell: &CellId) -> impl Iterator<Item = &RecordedTrial> {
        self.trials.iter().filter(move |trial| trial.record.cell.id == *cell)
    }
}

fn read_account(folder: &Path) -> Result<Option<Account>, RunFolderError> {
    let path = folder.join(ACCOUNT_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let account: Account = read_json(&path)?;
    if account.format_version > import::FORMAT_VERSION {
        return Err(RunFolderError::TooNew { path, found: account.format_version });
    }
    Ok(Some(account))
}

fn read_baseline(folder: &Path) -> Result<Option<Baseline>, RunFolderError> {
    let path = folder.join(BASELINE_FILE);
    Ok(if path.exists() { Some(Baseline::read(&path)?) } else { None })
}

/// True for the last trial of a run that did not finish, where nothing whole of it was written.
fn never_began(folder: &Path, file: &TrialFile, run: &RunRecord) -> bool {
    let paths = TrialPaths::of(folder, file);
    let said = fs::read(&paths.journal).is_ok_and(|journal| journal.contains(&b'\n'));
    !run.is_complete() && run.trials.last() == Some(file) && !paths.record.exists() && !said
}

/// True for a name that leads nowhere else.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

fn read_trial(folder: &Path, stem: &str, cell: &CellId, trial: u32) -> Result<RecordedTrial, RunFolderError> {
    if !is_plain(stem) {
        return Err(RunFolderError::UnsafeName { stem: stem.to_owned() });
    }
    let mut path = folder.join("trials").join(format!("{stem}.json"));
    let record: TrialRecord = if path.exists() {
        read_json(&path)?
    } else {
        // The writer was killed before the end of this trial: what it had written by then still counts.
        path.set_extension("jsonl");
        recover(&path)?
    };
    if record.format_version > FORMAT_VERSION {
        return Err(RunFolderError::TooNew { path, found: record.format_version });
    }
    if record.cell.id != *cell || record.trial != trial {
        return Err(RunFolderError::Misplaced { path, cell: record.cell.id.0, trial: record.trial });
    }
    check_plan(&path, &record)?;
    let series = match Series::read(&folder.join("samples").join(format!("{stem}.csv"))) {
        Ok(series) if series.samples.is_empty() => {
            Reading::Unavailable("the series holds no sample".to_owned())
        }
        Ok(series) => Reading::Measured(series),
        Err(error) => Reading::Unavailable(error.to_string()),
    };
    let device_series = read_device_series(&folder.join("samples").join(format!("{stem}.gpu.csv")));
    Ok(RecordedTrial { record, series, device_series })
}

/// A run without a GPU leaves no such file.
fn read_device_series(path: &Path) -> Reading<DeviceSeries> {
    if !path.exists() {
        return Reading::Unavailable("no GPU was read over time".to_owned());
    }
    match DeviceSeries::read(path) {
        Ok(series) if series.samples.is_empty() => {
            Reading::Unavailable("the series of the GPU holds no reading".to_owned())
        }
        Ok(series) => Reading::Measured(series),
        Err(error) => Reading::Unavailable(error.to_string()),
    }
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, RunFolderError> {
    let bytes =
        fs::read(path).map_err(|source| RunFolderError::Unreadable { path: path.to_owned(), source })?;
    let malformed = |source| RunFolderError::Malformed { path: path.to_owned(), source };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(malformed)?;
    if let Some(number) = absurd_number(&value) {
        let what = format!("{number} is no size and no time");
        return Err(RunFolderError::Absurd { path: path.to_owned(), what });
    }
    serde_json::from_value(value).map_err(malformed)
}

/// The first number whose magnitude is above [`Series::LARGEST`].
fn absurd_number(value: &serde_json::Value) -> Option<f64> {
    match value {
        serde_json::Value::Number(number) => {
            number.as_f64().filter(|number| number.abs() > Series::LARGEST as f64)
        }
        serde_json::Value::Array(items) => items.iter().find_map(absurd_number),
        serde_json::Value::Object(fields) => fields.values().find_map(absurd_number),
        _ => None,
    }
}

/// A buffer that grows must do so in steps that can be counted.
fn check_plan(path: &Path, record: &TrialRecord) -> Result<(), RunFolderError> {
    for buffer in record.plan.iter().flat_map(|plan| &plan.buffers) {
        let Some(growth) = &buffer.growth else { continue };
        if growth.tokens.0 == 0 || growth.bytes > Bytes::gib(2) {
            let what = format!("the buffer {} grows in steps that make no sense", buffer.key());
            return Err(RunFolderError::Absurd { path: path.to_owned(), what });
        }
    }
    Ok(())
}
