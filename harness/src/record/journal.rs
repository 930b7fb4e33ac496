//! A trial while it runs: every event goes to disk and into the record at once, so that what is read back later is what
//! was known then.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{
    CellRecord, FORMAT_VERSION, Outcome, PhaseRecord, Reading, SamplerHealth, TrialEvent, TrialRecord,
};

/// `trials/<stem>.jsonl`, open for appending.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// Bytes of whole lines.
    written: u64,
    record: TrialRecord,
}

/// Why a journal cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read.
    #[error("failed to read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file was written by a later program.
    #[error(
        "failed to understand {path}: its format version is {found}, which this program does not know; use a newer sweep"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The file does not begin with the start of a trial.
    #[error("failed to understand {path}: its first line is not the start of a trial")]
    NoStart {
        /// The file.
        path: PathBuf,
    },
    /// A whole line is not an event.
    #[error("failed to understand line {line} of {path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
}

impl Journal {
    /// A new journal with its first line.
    pub fn create(path: &Path, cell: CellRecord, trial: u32, started_at: String) -> io::Result<Journal> {
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
        let record = begin(cell.clone(), trial, started_at.clone());
        let mut journal = Journal { file, written: 0, record };
        journal.append(TrialEvent::Started { format_version: FORMAT_VERSION, cell, trial, started_at })?;
        Ok(journal)
    }

    /// Writes one event: a whole line in one call, so that a kill tears at most the last one. Of a line that there is no room for
    /// nothing stays: what is written later, when there is room again, must not hang on a part of it.
    pub fn append(&mut self, event: TrialEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            let _ =
                self.file.set_len(self.written).and_then(|()| self.file.seek(SeekFrom::Start(self.written)));
            return Err(error);
        }
        self.written += line.len() as u64;
        apply(&mut self.record, event);
        Ok(())
    }

    /// What is known so far.
    pub fn record(&self) -> &TrialRecord {
        &self.record
    }
}

/// The trial that `path` tells of, by a program of this version or an earlier one. A last line that was cut short is left out; a trial without an end was interrupted.
pub fn recover(path: &Path) -> Result<TrialRecord, JournalError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| JournalError::Unreadable { path: path.to_owned(), source })?;
    // Looked at first: what a later program writes need not even be an event here.
    if let Some(found) = text.lines().next().and_then(version).filter(|found| *found > FORMAT_VERSION.into())
    {
        return Err(JournalError::TooNew { path: path.to_owned(), found });
    }
    let mut record: Option<TrialRecord> = None;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if !line.ends_with('\n') {
            break;
        }
        let event: TrialEvent = serde_json::from_str(line).map_err(|source| JournalError::Malformed {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
        match (&mut record, event) {
            (None, TrialEvent::Started { cell, trial, started_at, .. }) => {
                record = Some(begin(cell, trial, started_at));
            }
            (None, _) => return Err(JournalError::NoStart { path: path.to_owned() }),
            (Some(record), event) => apply(record, event),
        }
    }
    record.ok_or_else(|| JournalError::NoStart { path: path.to_owned() })
}

/// The format version that the first line of a journal states.
fn version(line: &str) -> Option<u64> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line.get("started")?.get("format_version")?.as_u64()
}

fn begin(cell: CellRecord, trial: u32, started_at: String) -> TrialRecord {
    TrialRecord {
        format_version: FORMAT_VERSION,
        cell,
        trial,
        started_at,
        outcome: Outcome::Interrupted,
        log_tail: Vec::new(),
        phases: Vec::<PhaseRecord>::new(),
        requests: Vec::new(),
        sampler: SamplerHealth::default(),
        plan: None,
        ledger: Reading::Unavailable("the target was never asked".to_owned()),
        probes: Vec::new(),
        warnings: Vec::new(),
        disturbances: Vec::new(),
        environment: None,
        target: None,
        floor: None,
        cgroup: None,
        quality: None,
        resumed_from: None,
    }
}

fn apply(record: &mut TrialRecord, event: TrialEvent) {
    match event {
        TrialEvent::Started { .. } | TrialEvent::TargetStarted { .. } | TrialEvent::PhaseStarted { .. } => {}
        TrialEvent::Probes(probes) => record.probes = probes,
        TrialEvent::PhaseEnded(phase) => record.phases.push(*phase),
        TrialEvent::Request(request) => record.requests.push(request),
        TrialEvent::Plan(plan) => record.plan = Some(plan),
        TrialEvent::Ledger(ledger) => record.ledger = ledger,
        TrialEvent::Warning(warning) => record.warnings.push(warning),
        TrialEvent::Target(target) => record.target = Some(target),
        TrialEvent::Environment(environment) => record.environment = Some(environment),
        TrialEvent::Floor(floor) => record.floor = Some(*floor),
        TrialEvent::Disturbed(disturbance) => record.disturbances.push(disturbance),
        TrialEvent::Cgroup(cgroup) => record.cgroup = Some(cgroup),
        TrialEvent::Quality(quality) => record.quality = Some(quality),
        TrialEvent::Sampler(health) => record.sampler = health,
        TrialEvent::Ended { outcome, log_tail } => {
            record.outcome = outcome;
            record.log_tail = log_tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CellId;

    fn journal(version: u32, lines: &str) -> Result<TrialRecord, JournalError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-0.jsonl");
        let cell = CellRecord {
            id: CellId("a".to_owned()),
            model: "m".to_owned(),
            target: "builtin".to_owned(),
            name: None,
            axes: Vec::new(),
            settings: Default::default(),
            build: Default::default(),
            source: String::new(),
            synthetic_weights: true,
        };
        Journal::create(&path, cell, 0, "2026-11-23T05:03:33Z".to_owned()).unwrap();
        let started = std::fs::read_to_string(&path).unwrap();
        let stated = format!("\"format_version\":{FORMAT_VERSION}");
        let started = started.replace(&stated, &format!("\"format_version\":{version}"));
        std::fs::write(&path, started + lines).unwrap();
        recover(&path)
    }

    #[test]
    fn a_journal_of_a_later_program_is_refused_by_name_and_an_earlier_one_is_read() {
        let word = "{\"warning\":\"w\"}\n";
        assert_eq!(journal(1, word).unwrap().warnings, ["w"]);
        assert_eq!(journal(FORMAT_VERSION, word).unwrap().warnings, ["w"]);
        let refused = journal(FORMAT_VERSION + 1, word).unwrap_err().to_string();
        assert!(refused.contains("its format version is 4, which"), "{refused}");
    }

    #[test]
    fn an_event_that_no_program_of_this_version_writes_is_a_damaged_line() {
        let lines = "{\"warning\":\"w\"}\n{\"eclipsed\":{}}\n";
        assert!(matches!(journal(FORMAT_VERSION, lines), Err(JournalError::Malformed { line: 3, .. })));
    }
}
