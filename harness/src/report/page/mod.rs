//! `report.html`: one file, no network, whole without its script. Its text is `reports/template/`, its numbers are made here.
//!
//! - `worst`, `matrix`: the first screen. `overview`: the tables of cells and budgets. `class_chart`: the chart of all cells.
//! - `levers`: what each knob moves, and at what price.
//! - `cell`: one cell in depth.
//! - `device`: the device of a cell, and its memory over time.
//! - `attribution`: which classes stand behind a peak. `falls`: how they add up to it.
//! - `baseline`: a cell against its baseline.
//! - `accounts`: plan, ledger and kernel at each phase edge.
//! - `conditions`: the machine before a trial and at its end.
//! - `account`: what logs of other programs say.
//! - `classes`: what a cell holds by class and buffer, expected and measured.
//! - `events`: what changed hands during a trial. `interactive`: the series as data for the script.
//! - `log`: the last words of a target.
//! - `machine`: where it ran.
//! - `policy`: what the page allows itself.
//! - [`render`]: all of it put together.

mod account;
mod accounts;
mod attribution;
mod baseline;
mod cell;
mod class_chart;
mod classes;
mod conditions;
mod device;
mod events;
mod falls;
mod interactive;
mod levers;
mod log;
mod machine;
mod matrix;
mod overview;
mod policy;
mod render;
mod worst;

pub(in crate::report) use machine::fingerprint as fingerprint_facts;
pub(in crate::report) use overview::{Badge, anchor};
pub(in crate::report) use policy::content_security_policy;
pub use render::render;
pub(in crate::report) use render::{PLAIN_STYLE, environment};
