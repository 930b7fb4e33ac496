//! `report.html`: one file, no script, no network. Its text is `reports/template/`, its numbers are made here.
//!
//! - `overview`: the tables of cells and budgets. `class_chart`: the chart of all cells.
//! - `levers`: what each knob moves, and at what price.
//! - `cell`: one cell in depth.
//! - `device`: the device of a cell, and its memory over time.
//! - `attribution`: which classes stand behind a peak. `falls`: how they add up to it.
//! - `accounts`: plan, ledger and kernel at each phase edge.
//! - `conditions`: the machine before a trial and at its end.
//! - `account`: what logs of other programs say.
//! - `buffers`: the largest buffers of the plan.
//! - `log`: the last words of a target.
//! - `machine`: where it ran.
//! - `policy`: what the page allows itself.
//! - [`render`]: all of it put together.

mod account;
mod accounts;
mod attribution;
mod buffers;
mod cell;
mod class_chart;
mod conditions;
mod device;
mod falls;
mod levers;
mod log;
mod machine;
mod overview;
mod policy;
mod render;

pub use render::render;
