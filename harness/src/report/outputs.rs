//! Writes the outputs of a run into its folder.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::record::{Boards, Run, RunFolderError, json_text, replace};
use crate::verdict::{self, BoardsVerdict, RunVerdict};

/// What was written, and the verdict that it was written from: that of a run, or of several boards.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs<V = RunVerdict> {
    /// The verdict.
    pub verdict: V,
    /// `report.html`.
    pub html: PathBuf,
    /// `cells.csv`.
    pub csv: PathBuf,
    /// `verdict.json`.
    pub json: PathBuf,
    /// `junit.xml`.
    pub junit: PathBuf,
    /// `sarif.json`.
    pub sarif: PathBuf,
    /// `summary.md`.
    pub summary: PathBuf,
}

impl<V> Outputs<V> {
    /// The same files, with another form of their verdict.
    pub fn map<W>(self, form: impl FnOnce(V) -> W) -> Outputs<W> {
        let Outputs { verdict, html, csv, json, junit, sarif, summary } = self;
        Outputs { verdict: form(verdict), html, csv, json, junit, sarif, summary }
    }
}

/// Why a report cannot be written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] RunFolderError),
    /// The table cannot be formed.
    #[error("failed to form cells.csv: {0}")]
    Csv(#[from] csv::Error),
    /// The test cases cannot be formed.
    #[error("failed to form junit.xml: {0}")]
    Junit(#[from] quick_junit::SerializeError),
    /// The verdict cannot be formed.
    #[error("failed to form verdict.json: {0}")]
    Json(#[from] serde_json::Error),
    /// The page cannot be formed.
    #[error("failed to form report.html: {0}")]
    Html(#[from] minijinja::Error),
    /// A file cannot be written.
    #[error("failed to write {path}: {source}; is there space, and may this folder be written to?")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Judges the run in `folder` and writes every output beside its records. The same records give the same bytes.
pub fn write(folder: &Path) -> Result<Outputs, ReportError> {
    let run = Run::load(folder)?;
    let verdict = verdict::judge(&run);
    Ok(Outputs {
        csv: put(folder, "cells.csv", &super::csv::cells(&verdict)?)?,
        json: put(folder, "verdict.json", &json_text(&verdict)?)?,
        junit: put(folder, "junit.xml", super::junit::junit(&verdict)?.as_bytes())?,
        sarif: put(folder, "sarif.json", &json_text(&super::sarif::sarif(&run, &verdict))?)?,
        summary: put(folder, "summary.md", super::summary::summary(&run, &verdict).as_bytes())?,
        html: put(folder, "report.html", super::page::render(&run, &verdict)?.as_bytes())?,
        verdict,
    })
}

/// Judges every board of `folder` by itself and writes every output beside their runs. The same records give the same bytes.
pub fn write_boards(folder: &Path) -> Result<Outputs<BoardsVerdict>, ReportError> {
    let boards = Boards::load(folder)?;
    let verdict = verdict::judge_boards(&boards);
    Ok(Outputs {
        csv: put(folder, "cells.csv", &super::csv::cells_of_boards(&verdict)?)?,
        json: put(folder, "verdict.json", &json_text(&verdict)?)?,
        junit: put(folder, "junit.xml", super::junit::junit_of_boards(&verdict)?.as_bytes())?,
        sarif: put(folder, "sarif.json", &json_text(&super::sarif::sarif_of_boards(&boards, &verdict))?)?,
        summary: put(folder, "summary.md", super::boards::summary(&boards, &verdict).as_bytes())?,
        html: put(folder, "report.html", super::boards::render(&boards, &verdict)?.as_bytes())?,
        verdict,
    })
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, ReportError> {
    let path = folder.join(name);
    replace(&path, bytes).map_err(|source| ReportError::Unwritable { path: path.clone(), source })?;
    Ok(path)
}
