//! Which commit moved a measurement: builds of a range of commits, measured one after the other.
//!
//! - `search`: which commit to try next.
//! - `repository`: commits, and a worktree of our own in which they are built.
//! - `measure`: what a build says of a scenario.
//! - `state`: what is known so far, on disk. `run`: the whole search.

mod measure;
mod repository;
mod run;
mod search;
mod state;

pub use run::{BisectError, Bisected, Question, bisect};
