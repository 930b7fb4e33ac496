//! A run folder while it is written.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Outcome, RunRecord, TrialFile, TrialRecord};
use crate::clock::folder_name;

/// What logs of other programs say, in the folder of a run that was imported.
pub const ACCOUNT_FILE: &str = "account.json";

/// The baseline that a run was held against, in the run's folder: a verdict does not change when the board's is made anew.
pub const BASELINE_FILE: &str = "baseline.json";

/// The files of one trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialPaths {
    /// The events, as they happen.
    pub journal: PathBuf,
    /// The whole trial.
    pub record: PathBuf,
    /// The series.
    pub samples: PathBuf,
    /// The series of GPU memory, where there is a GPU.
    pub device_samples: PathBuf,
    /// Lines of `tegrastats`, where there is one.
    pub tegrastats: PathBuf,
    /// What the target writes.
    pub log: PathBuf,
}

impl TrialPaths {
    /// The files of `trial` in `folder`.
    pub fn of(folder: &Path, trial: &TrialFile) -> TrialPaths {
        let file =
            |kind: &str, extension: &str| folder.join(kind).join(format!("{}.{extension}", trial.stem));
        TrialPaths {
            journal: file("trials", "jsonl"),
            record: file("trials", "json"),
            samples: file("samples", "csv"),
            device_samples: file("samples", "gpu.csv"),
            tegrastats: file("samples", "tegrastats.txt"),
            log: file("logs", "log"),
        }
    }
}

/// A run that is being written.
#[derive(Debug)]
pub struct RunFolder {
    folder: PathBuf,
    record: RunRecord,
}

impl RunFolder {
    /// A name for the next folder below `runs`, by the time of day. It sorts behind those of all folders there, so that the last is
    /// the newest, even where the clock was set back.
    pub fn next_name(runs: &Path) -> io::Result<String> {
        let names = fs::read_dir(runs)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let newest = names.filter(|name| is_run_name(name)).max();
        Ok(name_after(newest.as_deref(), folder_name()))
    }

    /// Makes a new folder below `runs`, with the next name.
    pub fn make(runs: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(runs)?;
        loop {
            let folder = runs.join(RunFolder::next_name(runs)?);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| folder),
            }
        }
    }

    /// Fills `folder` with everything that a run needs in it.
    pub fn begin(folder: PathBuf, record: RunRecord) -> io::Result<RunFolder> {
        for kind in ["trials", "samples", "logs"] {
            fs::create_dir_all(folder.join(kind))?;
        }
        let run = RunFolder { folder, record };
        run.save()?;
        Ok(run)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// What `run.json` says.
    pub fn record(&self) -> &RunRecord {
        &self.record
    }

    /// Announces a trial, before anything of it is written: after a kill, its journal is found.
    pub fn begin_trial(&mut self, trial: TrialFile) -> io::Result<TrialPaths> {
        let paths = TrialPaths::of(&self.folder, &trial);
        self.record.trials.retain(|known| *known != trial);
        self.record.trials.push(trial);
        self.save()?;
        Ok(paths)
    }

    /// Writes the whole record of a trial.
    pub fn end_trial(&self, paths: &TrialPaths, record: &TrialRecord) -> io::Result<()> {
        write_atomically(&paths.record, record)
    }

    /// Takes over a trial that the run in `other` finished: its files are linked, or copied where they cannot be.
    pub fn take_over(&mut self, other: &Path, mut record: TrialRecord) -> io::Result<()> {
        let name = other.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let trial = TrialFile::new(&record.cell.id, record.trial);
        let (from, to) = (TrialPaths::of(other, &trial), self.begin_trial(trial)?);
        for (from, to) in [
            (from.journal, &to.journal),
            (from.samples, &to.samples),
            (from.device_samples, &to.device_samples),
            (from.tegrastats, &to.tegrastats),
            (from.log, &to.log),
        ] {
            if from.exists() && fs::hard_link(&from, to).is_err() {
                fs::copy(&from, to)?;
            }
        }
        record.resumed_from.get_or_insert(name);
        self.end_trial(&to, &record)
    }

    /// The run is over, since `finished_at`; a merged one has no such time where one of its shards did not come to its end.
    pub fn finish(&mut self, finished_at: impl Into<Option<String>>, exit_code: u8) -> io::Result<()> {
        self.record.finished_at = finished_at.into();
        self.record.exit_code = Some(exit_code);
        self.save()
    }

    fn save(&self) -> io::Result<()> {
        write_atomically(&self.folder.join("run.json"), &self.record)
    }
}

impl TrialRecord {
    /// True for a trial that need not be run again: it went through all of its phases, and nothing disturbed it.
    pub fn is_finished(&self) -> bool {
        self.outcome == Outcome::Completed && self.disturbances.is_empty()
    }
}

/// Writes `value` as JSON: readers see the old file or the new one, never a part.
pub fn write_atomically(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, &json_text(value)?)
}

/// `value` as JSON for people, with an end of line.
pub fn json_text(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// Puts a file with this text in the place of `path`: readers see the old file or the new one, never a part.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    let write = || {
        let mut file = fs::File::create(&draft)?;
        file.write_all(text)?;
        file.sync_data()?;
        fs::rename(&draft, path)
    };
    // What cannot be written whole must not take space on a disk that may be full.
    write().inspect_err(|_| drop(fs::remove_file(&draft)))
}

/// True for what [`RunFolder::make`] calls a folder: `20260131T235959.123Z`, and a number behind it where the clock was set back.
fn is_run_name(name: &str) -> bool {
    let (time, number) = name.split_once('-').unwrap_or((name, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = time.strip_suffix('Z').and_then(|time| time.split_once('T')).is_some_and(|(date, rest)| {
        let (seconds, millis) = rest.split_once('.').unwrap_or((rest, "0"));
        date.len() == 8 && seconds.len() == 6 && digits(date) && digits(seconds) && digits(millis)
    });
    is_time && digits(number)
}

/// `now`, unless `newest` would not sort before it.
fn name_after(newest: Option<&str>, now: String) -> String {
    let Some(newest) = newest.filter(|newest| *newest >= now.as_str()) else { return now };
    let (time, number) = newest.split_once('-').unwrap_or((newest, "0"));
    format!("{time}-{:04}", number.parse::<u32>().unwrap_or(0).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_folder_sorts_later_whatever_the_clock_does() {
        let now = || "20260131T235959.123Z".to_owned();
        assert_eq!(name_after(None, now()), now());
        assert_eq!(name_after(Some("20260131T235959.122Z"), now()), now());
        assert_eq!(name_after(Some("20260131T235959.123Z"), now()), "20260131T235959.123Z-0001");
        let mut newest = "20990101T000000.000Z".to_owned();
        for _ in 0..12 {
            let next = name_after(Some(&newest), now());
            assert!(next > newest && is_run_name(&next), "{newest} -> {next}");
            newest = next;
        }
        for other in ["latest", "20990101T000000.000Z.old", "zzz", "20990101T000000.000Z-x"] {
            assert!(!is_run_name(other), "{other}");
        }
        let runs = tempfile::tempdir().expect("a folder");
        fs::create_dir(runs.path().join("20990101T000000.000Z")).expect("writable");
        fs::create_dir(runs.path().join("zzz")).expect("writable");
        let made = RunFolder::make(runs.path()).expect("writable");
        assert!(made.ends_with("20990101T000000.000Z-0001"), "{made:?}");
    }
}
