//! A memory lock: what a reviewed run declared and measured on a board, kept in the repository, so that a change that needs
//! more shows in its own diff which buffer grew.
//!
//! - `form`: the file, one line a buffer, in an order that does not depend on the run.
//! - `file`: reading and writing it.
//! - `of_run`: what a run has to say for it.
//! - `fingerprint`: what two measurements must have in common to be held against each other.
//! - `status`: which cells of a run are locked.

mod file;
mod fingerprint;
mod form;
mod of_run;
mod status;

pub use file::BaselineError;
pub use fingerprint::{Fingerprint, board_name};
pub use form::{Baseline, FORMAT_VERSION, LockedCell, LockedTimes};
pub use of_run::{Unfit, cell_key, locked_cell, unfit};
pub use status::{CellStatus, LockState, status};
