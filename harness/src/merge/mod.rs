//! Runs of one scenario, joined: shards of one board into one run, runs of several boards side by side.
//!
//! - `board`: the machine that a run was measured on, and what tells two of them apart.
//! - `join`: what must be alike, and the record of the run that shards make together.
//! - `folder`: the folder, made beside its place and moved there whole.
//! - `error`: why runs cannot be joined.

mod board;
mod error;
mod folder;
mod join;

pub use error::MergeError;
pub use folder::merge;
