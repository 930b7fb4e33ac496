//! Why runs cannot be joined.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::record::{RunFolderError, Shard};
use crate::report::ReportError;

/// Why runs cannot be joined.
#[derive(Debug, Error)]
pub enum MergeError {
    /// A run cannot be read.
    #[error(transparent)]
    Run(#[from] RunFolderError),
    /// A trial of a run cannot be read.
    #[error("{} is damaged: {why}; run it again, or leave it out", folder.display())]
    Damaged {
        /// The run.
        folder: PathBuf,
        /// Which trial, and why.
        why: String,
    },
    /// A run is of a kind that nothing is joined to.
    #[error("{} cannot be merged: {why}", folder.display())]
    Unfit {
        /// The run.
        folder: PathBuf,
        /// Its kind, in words.
        why: &'static str,
    },
    /// Two runs are not of the same measurement.
    #[error("{} and {} cannot be merged: {what}: {} and {}", folders[0].display(), folders[1].display(), values[0], values[1])]
    Different {
        /// Both.
        folders: [PathBuf; 2],
        /// What differs, in words.
        what: &'static str,
        /// Its values.
        values: [String; 2],
    },
    /// Two runs of one board have the same cells.
    #[error("{} and {} were both measured on this board ({board}) and have the same cells: {what}; name one of them", folders[0].display(), folders[1].display())]
    Doubled {
        /// Both.
        folders: [PathBuf; 2],
        /// The board's name.
        board: String,
        /// Which cells, in words.
        what: String,
    },
    /// Two shards were not divided alike.
    #[error("{} and {} cannot be merged: the first has cell {cell} in shard {shard}, and the second does not; were the models the same on both machines?", folders[0].display(), folders[1].display())]
    Divided {
        /// Both.
        folders: [PathBuf; 2],
        /// The cell, in words.
        cell: String,
        /// Where the first has it.
        shard: Shard,
    },
    /// The name is no folder's.
    #[error("`{0}` is no name for a run: letters, digits, dashes and underscores are")]
    Name(String),
    /// There is something of that name.
    #[error("{} is there already; `--name` chooses another name", .0.display())]
    Taken(PathBuf),
    /// The folder cannot be made.
    #[error("write the run folder {}: {source}", folder.display())]
    Folder {
        /// The folder, or the file in it.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The outputs cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
}
