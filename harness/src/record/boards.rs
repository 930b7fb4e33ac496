//! Runs of one scenario on several boards, side by side in one folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::{is_plain, read_json};
use super::{Run, RunFolderError};

/// What tells a folder of several boards from one of a run.
pub const BOARDS_FILE: &str = "boards.json";

/// The folder with one run folder a board.
const BOARDS: &str = "boards";

/// Version of `boards.json`.
const FORMAT_VERSION: u32 = 1;

/// `boards.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardsRecord {
    /// Version of this form.
    pub format_version: u32,
    /// The name of the scenario that all of them ran.
    pub scenario: String,
    /// The boards, each by the name of its folder below `boards/`, in the order of their columns.
    pub boards: Vec<String>,
}

impl BoardsRecord {
    /// Of `boards` that ran `scenario`.
    pub fn new(scenario: String, boards: Vec<String>) -> BoardsRecord {
        BoardsRecord { format_version: FORMAT_VERSION, scenario, boards }
    }
}

/// A folder of several boards, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Boards {
    /// The folder.
    pub folder: PathBuf,
    /// `boards.json`.
    pub record: BoardsRecord,
    /// Every board's run, in the order of the record.
    pub runs: Vec<(String, Run)>,
}

impl Boards {
    /// True where `folder` is one of several boards.
    pub fn is_there(folder: &Path) -> bool {
        folder.join(BOARDS_FILE).is_file()
    }

    /// The run folder of `board` in `folder`.
    pub fn run_folder(folder: &Path, board: &str) -> PathBuf {
        folder.join(BOARDS).join(board)
    }

    /// The folder of several boards that has the run folder `run`; `None` where that stands by itself.
    pub fn folder_of(run: &Path) -> Option<&Path> {
        run.parent().filter(|folder| folder.file_name().is_some_and(|name| name == BOARDS))?.parent()
    }

    /// Reads `boards.json` of `folder`, and no run.
    ///
    /// # Errors
    /// When it cannot be read, is of a later version, or a name in it would lead out of the folder.
    pub fn head(folder: &Path) -> Result<BoardsRecord, RunFolderError> {
        let path = folder.join(BOARDS_FILE);
        let record: BoardsRecord = read_json(&path)?;
        if record.format_version > FORMAT_VERSION {
            return Err(RunFolderError::TooNew { path, found: record.format_version });
        }
        match record.boards.iter().find(|board| !is_plain(board)) {
            Some(board) => Err(RunFolderError::UnsafeName { stem: board.clone() }),
            None => Ok(record),
        }
    }

    /// Reads the run of every board in `folder`.
    ///
    /// # Errors
    /// As [`Boards::head`], and when a run cannot be read.
    pub fn load(folder: &Path) -> Result<Boards, RunFolderError> {
        let record = Boards::head(folder)?;
        let run = |board: &String| Ok((board.clone(), Run::load(&Boards::run_folder(folder, board))?));
        let runs = record.boards.iter().map(run).collect::<Result<_, RunFolderError>>()?;
        Ok(Boards { folder: folder.to_owned(), record, runs })
    }
}
