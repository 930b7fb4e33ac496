//! A whole run: every cell of a scenario, every trial of a cell, one after the other.
//!
//! - `run`: the loop, and what is written around it.
//! - `bench`: one trial, and what it leaves to the next.
//! - `paired`: the same for two builds, trial beside trial.
//! - `shard`: which cells are this machine's, where several share a scenario; `time`: how long a trial takes, by which they are divided.
//! - `resume`: what an earlier run that did not finish has done already.

mod bench;
mod paired;
mod resume;
mod run;
mod shard;
mod time;

pub use paired::{Build, PairedEnd, PairedSweep, run_paired};
pub use run::{Observer, Sweep, SweepEnd, SweepError, run};
pub use shard::divide;
pub use time::trial_time;
