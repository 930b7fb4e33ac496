//! One trial: a fresh process goes through the phases while it is measured, and whatever happens becomes a record.
//!
//! - `run`: from the start of the process to the end of its tree; `start`: that start.
//! - `floor`: whether the machine is what it was before the first trial.
//! - `passage`: the way through the phases, and what happens around each.
//! - `phases`: what each phase asks of the target.
//! - `co_residents`: what runs beside the target.
//! - `arrivals`: when tokens come.
//! - `edge`: what is read where a phase ends.
//! - `quality`: what the configuration costs, measured after its phases.
//! - `outcome`: what an end means.
//! - `prompt`: what is said to the target; `log_tail`: its last words.

mod arrivals;
mod co_residents;
mod cooldown;
mod edge;
mod floor;
mod log_tail;
mod outcome;
mod passage;
mod phases;
mod prompt;
mod quality;
mod run;
mod start;

pub use floor::RunFloor;
pub use prompt::prompt;
pub use run::{TrialError, TrialPlan, run_trial};
