//! A trial while it runs: every event goes to disk and into the record at once, so that what is read back later is what
//! was known then.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{
    CellRecord, FORMAT_VERSION, Outcome, PhaseRecord, Reading, SamplerHealth, TrialEvent, TrialRecord,
};

/// `trials/<stem>.jsonl`, open for appending.
#[derive(Debug)]
pub struct Journal {
    file: File,
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
        let mut journal = Journal { file, record };
        journal.append(TrialEvent::Started { format_version: FORMAT_VERSION, cell, trial, started_at })?;
        Ok(journal)
    }

    /// Writes one event: a whole line in one call, so that a kill tears at most the last one.
    pub fn append(&mut self, event: TrialEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        apply(&mut self.record, event);
        Ok(())
    }

    /// What is known so far.
    pub fn record(&self) -> &TrialRecord {
        &self.record
    }
}

/// The trial that `path` tells of. A last line that was cut short is left out; a trial without an end was interrupted.
pub fn recover(path: &Path) -> Result<TrialRecord, JournalError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| JournalError::Unreadable { path: path.to_owned(), source })?;
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
        TrialEvent::Disturbed(disturbance) => record.disturbances.push(disturbance),
        TrialEvent::Sampler(health) => record.sampler = health,
        TrialEvent::Ended { outcome, log_tail } => {
            record.outcome = outcome;
            record.log_tail = log_tail;
        }
    }
}
