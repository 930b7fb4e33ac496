//! What runs measured over time: an index over run folders, and what moved in it.
//!
//! The index is made from run folders and can be made again at any time. It is never the only copy of anything.
//!
//! - `metric`: what is followed, in the words of gates. `point`: one run's value of it.
//! - `index`: the SQLite file.
//! - `change`: the rule for each kind of metric: `run_length` where there is no noise, `divisive` where there is.
//! - `gate_line`: how large a step from run to run has to be to be more than usual.
//! - `trend`: a series with what those say of it. `sparkline`: the same, as wide as a few words.

mod change;
mod divisive;
mod gate_line;
mod index;
mod metric;
mod point;
mod run_length;
mod sparkline;
mod trend;

pub use change::{ChangePoint, Noise, change_points};
pub use gate_line::{GateLine, gate_line};
pub use index::{HistoryError, Index, Rebuilt};
pub use metric::SeriesMetric;
pub use point::{Point, points_of};
pub use sparkline::sparkline;
pub use trend::{Asked, Trend, TrendPoint, trends};
