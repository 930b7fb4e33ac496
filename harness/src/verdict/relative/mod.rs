//! A run held against a baseline: each kind of number by the rule that its noise asks for.
//!
//! - [`comparison`]: what came of it, as plain data.
//! - `declared`: bytes of buffers, which have no noise: any growth counts.
//! - `pool`: memory of a device, which moves in steps.
//! - `resident`: memory of processes, which scatters.
//! - `paired`: times, which drift: from pairs alone.
//! - `gates`: what a scenario allows instead.
//! - `chance`: all tests of a report together.
//! - `decide`: from all of these to one word a cell.
//! - [`run`]: every cell of a run; `table`: the same on a terminal.

mod chance;
pub mod comparison;
mod decide;
mod declared;
mod gates;
mod paired;
mod pool;
mod resident;
pub mod run;
mod table;

pub use comparison::{BufferChange, Comparison, DeclaredChange, GrownMost, Metric, Shift, signed_size, size};
pub(crate) use declared::{changes as buffer_changes, class_of};
pub use run::{ComparedCell, RunComparison, compare, compare_runs};
pub use table::{changes_table, comparison_table};
