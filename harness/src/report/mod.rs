//! Everything that people and programs read, computed from records alone: the same records give the same bytes.
//!
//! - [`write()`] puts all of it into a run folder.
//! - [`mod@csv`] makes `cells.csv`, [`mod@junit`] `junit.xml`, [`mod@sarif`] `sarif.json`, [`mod@summary`] `summary.md`.
//! - [`mod@boards`]: the same files for several boards, side by side. `quality`: figures of quality, as all of them show them.
//! - [`page`]: `report.html`, one file that needs nothing beside itself.
//! - [`trends`]: `history.html`, how measurements moved from run to run.
//! - [`svg`]: the charts of both.
//! - [`downsample`]: what is shown of many numbers.
//! - [`redact`]: what is not shown of the machine. `text`: what becomes of a text on its way into a page.

pub mod boards;
pub mod csv;
pub mod downsample;
pub mod junit;
mod outputs;
pub mod page;
mod quality;
pub mod redact;
pub mod sarif;
pub mod summary;
pub mod svg;
mod text;
pub mod trends;

pub use outputs::{Outputs, ReportError, write, write_boards};
