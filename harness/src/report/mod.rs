//! Everything that people and programs read, computed from records alone: the same records give the same bytes.
//!
//! - [`write()`] puts all of it into a run folder.
//! - [`mod@csv`] makes `cells.csv`.
//! - [`page`]: `report.html`, one file that needs nothing beside itself.
//! - [`svg`]: its charts.
//! - [`downsample`]: what is shown of many numbers.

pub mod csv;
pub mod downsample;
mod outputs;
pub mod page;
pub mod svg;

pub use outputs::{Outputs, ReportError, write};
