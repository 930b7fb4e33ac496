//! Everything that people and programs read, computed from records alone: the same records give the same bytes.
//!
//! - [`outputs`]: writes all of it into a run folder.
//! - [`csv`]: `cells.csv`.

pub mod csv;
mod outputs;

pub use outputs::{Outputs, ReportError, write};
