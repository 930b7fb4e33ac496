//! Charts as SVG, written by hand: they need no script, no font and no network, and the same numbers give the same
//! bytes. Colours come from the page's style sheet, so that a chart follows light and dark; patterns tell classes
//! apart where colours do not.
//!
//! - [`draw`]: elements with their text escaped.
//! - [`scale`]: round ticks on an axis.
//! - [`palette`]: one look for each buffer class.
//! - [`class_bars`]: cells side by side, stacked by class.
//! - [`series`], [`device_series`]: resident and device memory over time.
//! - [`waterfall`]: classes adding up to the peak of one cell.
//! - [`intervals`]: how evenly the sampler ticked.
//! - [`gauge`]: a peak within its budget, as wide as a word.
//! - [`lever`]: a change that was promised, and what came of it, as wide as a word.
//! - [`trend`]: one metric over runs.
//! - [`icon`]: a sign for each verdict.

pub mod class_bars;
pub mod device_series;
pub mod draw;
pub mod gauge;
pub mod icon;
pub mod intervals;
pub mod lever;
pub mod palette;
pub mod scale;
pub mod series;
pub mod trend;
pub mod waterfall;
