//! Pass or fail, from records alone.
//!
//! Every budget is held against the **worst** trial of every cell that it is for. What could not be measured is never
//! a pass: a reading that is missing makes the budget inconclusive, unless what was measured already exceeds it. Sizes
//! are compared in bytes and shares in parts of 10⁹, so that rounding decides nothing.
//!
//! - [`budget`]: a budget, checked once.
//! - [`observe`]: what one trial has to say about one budget.
//! - [`evidence`]: what a trial's numbers are worth: planned against allocated, unaccounted, sampler gaps.
//! - [`device`]: memory of a device, and what it holds together with the host.
//! - [`stack`]: what the target and what runs beside it hold together.
//! - [`grown`]: a budget on growth, held against a cell.
//! - `expected`: cells that are known not to run to their end.
//! - [`growth`], [`transient`]: memory that only grows, and memory that came and went unseen.
//! - [`buffers`]: each buffer, planned and measured. [`responsible`]: the class and the buffer behind an overage.
//! - [`levers`]: does each knob move what the plan says?
//! - [`relative`]: the same cells, held against a baseline.
//! - [`statistics`]: what that computes with.
//! - [`cell`], [`run`]: the results. [`boards`]: those of several boards, side by side.
//! - [`exit`], [`word`]: how they are said, to programs and to people.
//! - `columns`, [`table`]: the verdict on a terminal. `schema`: the form of `verdict.json`.

pub mod boards;
pub mod budget;
pub mod buffers;
pub mod cell;
mod columns;
pub mod device;
pub mod evidence;
pub mod exit;
mod expected;
pub mod grown;
pub mod growth;
pub mod held;
pub mod levers;
pub mod observe;
pub mod relative;
pub mod responsible;
pub mod run;
mod schema;
pub mod stack;
pub mod statistics;
mod table;
pub mod transient;
pub mod word;

pub use boards::{BoardRow, BoardVerdict, BoardsVerdict, boards_table, judge_boards, peak_words};
pub use budget::{Budget, BudgetError};
pub use buffers::{BufferGroup, buffer_groups, group_name};
pub use cell::CellVerdict;
pub use device::DeviceVerdict;
pub use exit::ExitCode;
pub use growth::Growth;
pub use held::BudgetResult;
pub use levers::{LeverResult, LeverWord};
pub use relative::{BufferChange, Comparison, Shift};
pub use run::{BudgetSummary, RunVerdict, judge};
pub use schema::schema_text;
pub use stack::StackVerdict;
pub use table::table;
pub use word::Word;
