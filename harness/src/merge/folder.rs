//! The folder of a merged run. It is made beside its place, under a name that is no run's, and moved there once it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::MergeError;
use super::join::{Joined, OfBoard, Part, by_board};
use crate::record::{
    BASELINE_FILE, BOARDS_FILE, Boards, BoardsRecord, Run, RunFolder, RunRecord, TrialFile, write_atomically,
};
use crate::report;
use crate::verdict::judge;

/// Joins the runs in `folders` into one folder below `output`, judged and rendered, and returns it: a run where all were measured on
/// one board, a folder of several boards where they were not. Its name is `name`, or else the time.
///
/// # Errors
/// When runs cannot be read or do not belong together, and when the folder cannot be made. Nothing is left behind then.
pub fn merge(folders: &[PathBuf], output: &Path, name: Option<&str>) -> Result<PathBuf, MergeError> {
    let parts = folders.iter().map(|folder| Part::read(folder)).collect::<Result<Vec<Part>, _>>()?;
    let boards = by_board(parts)?;
    let joined = boards.iter().map(OfBoard::join).collect::<Result<Vec<Joined>, _>>()?;
    if let ([board], [Joined::Whole]) = (boards.as_slice(), joined.as_slice())
        && let Some(part) = board.parts.first()
    {
        let why = "it is whole, and there is no other to join it with";
        return Err(MergeError::Unfit { folder: part.folder.clone(), why });
    }

    let unwritable = |folder: &Path| {
        let folder = folder.to_owned();
        move |source| MergeError::Folder { folder, source }
    };
    fs::create_dir_all(output).map_err(unwritable(output))?;
    let name = match name {
        Some(name) if is_name(name) => name.to_owned(),
        Some(name) => return Err(MergeError::Name(name.to_owned())),
        None => RunFolder::next_name(output).map_err(unwritable(output))?,
    };
    let place = output.join(&name);
    if place.exists() {
        return Err(MergeError::Taken(place));
    }
    let bench =
        tempfile::Builder::new().prefix(".merging-").tempdir_in(output).map_err(unwritable(output))?;
    let folder = bench.path().join(&name);
    match (boards.as_slice(), joined.as_slice()) {
        ([board], [joined]) => write_run(board, joined, &folder)?,
        _ => {
            for (board, joined) in boards.iter().zip(&joined) {
                write_run(board, joined, &Boards::run_folder(&folder, &board.name))?;
            }
            let scenario =
                boards.iter().flat_map(|board| &board.parts).map(|part| &part.run.record.scenario.name);
            let names = boards.iter().map(|board| board.name.clone()).collect();
            let record = BoardsRecord::new(scenario.take(1).cloned().collect(), names);
            write_atomically(&folder.join(BOARDS_FILE), &record).map_err(unwritable(&folder))?;
            report::write_boards(&folder)?;
        }
    }
    fs::rename(&folder, &place).map_err(unwritable(&place))?;
    Ok(place)
}

/// Writes the run of one board, with its outputs.
fn write_run(board: &OfBoard, joined: &Joined, folder: &Path) -> Result<(), MergeError> {
    let unwritable = |source| MergeError::Folder { folder: folder.to_owned(), source };
    let record = match (joined, board.parts.first()) {
        (Joined::Shards(record), _) => Some(RunRecord::clone(record)),
        (Joined::Whole, Some(part)) => Some(part.run.record.clone()),
        (Joined::Whole, None) => None,
    };
    let Some(record) = record else { return Ok(()) };
    let finished_at = record.finished_at.clone();
    let mut run = RunFolder::begin(folder.to_owned(), record).map_err(unwritable)?;
    for part in &board.parts {
        link_trials(part, folder).map_err(unwritable)?;
    }
    if let Some(part) = board.parts.iter().find(|part| part.run.baseline.is_some()) {
        fs::copy(part.folder.join(BASELINE_FILE), folder.join(BASELINE_FILE)).map_err(unwritable)?;
    }
    if matches!(joined, Joined::Shards(_)) {
        // The code is part of the record, and the record is what the report is made from.
        let verdict = judge(&Run::load(folder)?);
        run.finish(finished_at, verdict.exit_code.code()).map_err(unwritable)?;
    }
    report::write(folder)?;
    Ok(())
}

/// Puts every file of the trials of `part` into `folder`: as a link, or as a copy where that cannot be.
fn link_trials(part: &Part, folder: &Path) -> io::Result<()> {
    for kind in ["trials", "samples", "logs"] {
        let Ok(entries) = fs::read_dir(part.folder.join(kind)) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let is_of_a_trial = |file: &TrialFile| {
                name.to_str()
                    .and_then(|name| name.strip_prefix(&file.stem))
                    .is_some_and(|rest| rest.starts_with('.'))
            };
            let is_wanted = entry.file_type()?.is_file() && part.run.record.trials.iter().any(is_of_a_trial);
            let to = folder.join(kind).join(&name);
            if is_wanted && fs::hard_link(entry.path(), &to).is_err() {
                fs::copy(entry.path(), to)?;
            }
        }
    }
    Ok(())
}

/// True for what can be a folder's name and is no way to another one.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !name.starts_with('.')
}
