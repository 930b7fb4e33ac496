//! A whole run: every cell of a scenario, every trial of a cell, one after the other.
//!
//! - `run`: the loop, and what is written around it.
//! - `resume`: what an earlier run that did not finish has done already.

mod resume;
mod run;

pub use run::{Observer, Sweep, SweepEnd, SweepError, run};
