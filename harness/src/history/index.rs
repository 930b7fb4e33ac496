//! The index: one SQLite file, made from run folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, Transaction, params};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Point, points_of};
use crate::baseline::Fingerprint;
use crate::record::Run;

/// Version of the schema, as SQLite's `user_version`. An index of another version is made anew.
const VERSION: i64 = 1;

/// One row a run, a set of conditions, and a metric of a cell of a run.
const SCHEMA: &str = "
CREATE TABLE runs (
  name TEXT PRIMARY KEY,
  stamp TEXT NOT NULL,
  started_at TEXT NOT NULL,
  scenario TEXT NOT NULL,
  program_version TEXT NOT NULL,
  program_sha256 TEXT NOT NULL,
  exit_code INTEGER
) WITHOUT ROWID;
CREATE TABLE fingerprints (id TEXT PRIMARY KEY, fields TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE points (
  run TEXT NOT NULL REFERENCES runs (name) ON DELETE CASCADE,
  cell TEXT NOT NULL,
  metric TEXT NOT NULL,
  fingerprint TEXT NOT NULL REFERENCES fingerprints (id),
  median REAL NOT NULL,
  worst REAL NOT NULL,
  trials INTEGER NOT NULL,
  PRIMARY KEY (run, cell, metric)
) WITHOUT ROWID;
CREATE INDEX series ON points (cell, metric, fingerprint);
";

/// Why there is no history.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The file is no index, or cannot be read or written.
    #[error("failed to use the index {path}: {source}", path = path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A folder cannot be read, or a file cannot be put in its place.
    #[error("failed to make the index {path}: {source}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What the index holds is not what this program writes.
    #[error("failed to understand the index {path}: {what}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What, in words.
        what: String,
    },
}

/// What came of bringing an index up to date.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Runs that are in it now.
    pub runs: usize,
    /// Runs of them that were read just now.
    pub read: usize,
    /// Folders that are not in it, each with the reason.
    pub left_out: Vec<(String, String)>,
}

/// An open index.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    connection: Connection,
}

/// A row of a series, with what is known of its run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) scenario: String,
    pub(super) cell: String,
    pub(super) metric: String,
    pub(super) fingerprint: String,
    pub(super) run: String,
    pub(super) started_at: String,
    pub(super) program_version: String,
    pub(super) program_sha256: String,
    pub(super) median: f64,
    pub(super) worst: f64,
    pub(super) trials: u32,
}

impl Index {
    /// Opens the index at `path` and brings it up to date with the run folders below `runs`: what is new or was written again is
    /// read, and what is gone goes. Where there is none, or one of another version, it is made.
    pub fn open(path: &Path, runs: &Path) -> Result<(Index, Rebuilt), HistoryError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|source| HistoryError::File { path: path.to_owned(), source })?;
        }
        let failed = |source| HistoryError::Index { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(failed)?;
        let version: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(failed)?;
        if version != VERSION && tables > 0 {
            drop(connection);
            return Index::rebuild(path, runs);
        }
        if version != VERSION {
            make(&connection).map_err(failed)?;
        }
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        let rebuilt = update(&mut connection, runs).map_err(failed)?;
        Ok((Index { path: path.to_owned(), connection }, rebuilt))
    }

    /// Makes the index at `path` anew from the run folders below `runs`, whatever is there now. A reader sees the old one or the
    /// new one.
    pub fn rebuild(path: &Path, runs: &Path) -> Result<(Index, Rebuilt), HistoryError> {
        let unfit = |source| HistoryError::File { path: path.to_owned(), source };
        let mut draft = path.as_os_str().to_owned();
        draft.push(".draft");
        let draft = PathBuf::from(draft);
        if draft.exists() {
            fs::remove_file(&draft).map_err(unfit)?;
        }
        let (index, rebuilt) = Index::open(&draft, runs)?;
        let failed = |source| HistoryError::Index { path: path.to_owned(), source };
        index.connection.close().map_err(|(_, source)| failed(source))?;
        fs::rename(&draft, path).map_err(unfit)?;
        let connection = Connection::open(path).map_err(failed)?;
        Ok((Index { path: path.to_owned(), connection }, rebuilt))
    }

    /// Every row whose cell has `cell` in its name and whose metric is `metric`, where they are asked for: series by series, in the
    /// order of time.
    pub(super) fn rows(
        &self,
        scenario: Option<&str>,
        cell: Option<&str>,
        metric: Option<&str>,
    ) -> Result<Vec<Row>, HistoryError> {
        let read = || {
            let mut query = self.connection.prepare(
                "SELECT scenario, cell, metric, fingerprint, run, started_at, program_version, program_sha256, median, worst, trials
                 FROM points JOIN runs ON runs.name = points.run
                 WHERE (?1 IS NULL OR scenario = ?1) AND (?2 IS NULL OR instr(cell, ?2) > 0) AND (?3 IS NULL OR metric = ?3)
                 ORDER BY scenario, cell, metric, started_at, run",
            )?;
            let rows = query.query_map(params![scenario, cell, metric], |row| {
                Ok(Row {
                    scenario: row.get(0)?,
                    cell: row.get(1)?,
                    metric: row.get(2)?,
                    fingerprint: row.get(3)?,
                    run: row.get(4)?,
                    started_at: row.get(5)?,
                    program_version: row.get(6)?,
                    program_sha256: row.get(7)?,
                    median: row.get(8)?,
                    worst: row.get(9)?,
                    trials: row.get(10)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<Row>>>()
        };
        read().map_err(|source| HistoryError::Index { path: self.path.clone(), source })
    }

    /// The conditions that have this id.
    pub(super) fn fingerprint(&self, id: &str) -> Result<Fingerprint, HistoryError> {
        let text: String = self
            .connection
            .query_row("SELECT fields FROM fingerprints WHERE id = ?1", [id], |row| row.get(0))
            .map_err(|source| HistoryError::Index { path: self.path.clone(), source })?;
        serde_json::from_str(&text).map_err(|error| self.malformed(format!("fingerprint {id}: {error}")))
    }

    /// Something in it is not what this program writes.
    pub(super) fn malformed(&self, what: String) -> HistoryError {
        HistoryError::Malformed { path: self.path.clone(), what }
    }
}

fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("BEGIN;{SCHEMA}PRAGMA user_version = {VERSION};COMMIT;"))
}

fn update(connection: &mut Connection, runs: &Path) -> rusqlite::Result<Rebuilt> {
    let change = connection.transaction()?;
    let known: Vec<(String, String)> = {
        let mut query = change.prepare("SELECT name, stamp FROM runs")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let mut rebuilt = Rebuilt::default();
    let folders: Vec<(String, String, PathBuf)> = folders(runs);
    for (name, stamp) in &known {
        if !folders.iter().any(|(folder, now, _)| folder == name && now == stamp) {
            change.execute("DELETE FROM runs WHERE name = ?1", [name])?;
        }
    }
    let shards: BTreeSet<&str> = folders.iter().map(|(name, _, _)| name.as_str()).collect();
    for (name, stamp, folder) in folders.clone() {
        if known.iter().any(|(run, then)| *run == name && *then == stamp) {
            continue;
        }
        match Run::load(&folder) {
            Ok(run) if !run.record.is_complete() => {
                rebuilt.left_out.push((name, "it did not come to its end".to_owned()));
            }
            // Its shards' trials would count twice.
            Ok(run) if run.record.merged.iter().any(|part| shards.contains(&part.run.as_str())) => {
                rebuilt.left_out.push((name, "its shards are here themselves".to_owned()));
            }
            Ok(run) => {
                insert(&change, &name, &stamp, &run)?;
                rebuilt.read += 1;
            }
            Err(error) => rebuilt.left_out.push((name, error.to_string())),
        }
    }
    change.execute("DELETE FROM fingerprints WHERE id NOT IN (SELECT fingerprint FROM points)", [])?;
    let count: i64 = change.query_row("SELECT count(*) FROM runs", [], |row| row.get(0))?;
    rebuilt.runs = usize::try_from(count).unwrap_or_default();
    change.commit()?;
    Ok(rebuilt)
}

/// Run folders by name, each with what tells whether it was written again.
fn folders(runs: &Path) -> Vec<(String, String, PathBuf)> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let mut folders: Vec<(String, String, PathBuf)> = entries
        .filter_map(|entry| {
            let about = fs::metadata(entry.path().join("run.json")).ok()?;
            let written = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            let stamp = format!("{} {}", written.as_nanos(), about.len());
            Some((entry.file_name().into_string().ok()?, stamp, entry.path()))
        })
        .collect();
    folders.sort();
    folders
}

fn insert(change: &Transaction<'_>, name: &str, stamp: &str, run: &Run) -> rusqlite::Result<()> {
    let record = &run.record;
    change.execute(
        "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            name,
            stamp,
            record.started_at,
            record.scenario.name,
            record.program_version,
            record.program_sha256,
            record.exit_code
        ],
    )?;
    for Point { cell, metric, fingerprint, median, worst, trials } in points_of(run) {
        let fields = serde_json::to_string(&fingerprint)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let id: String =
            Sha256::digest(fields.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        change.execute("INSERT OR IGNORE INTO fingerprints VALUES (?1, ?2)", params![id, fields])?;
        change.execute(
            "INSERT OR REPLACE INTO points VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![name, cell, metric.to_string(), id, median, worst, trials],
        )?;
    }
    Ok(())
}
