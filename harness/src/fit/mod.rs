//! Which configurations fit a budget, the cheapest in quality first.
//!
//! Nothing is loaded: a configuration costs what its plan says and what the program is known to take, which is what `sweep plan`
//! says of the same cell.
//!
//! - `keep`: what must stay as it is; `axes`: the values that are left to try.
//! - `planner`: the bytes of a configuration; `loss`: what it costs in quality; `speed`: what it costs in time.
//! - `search`: the candidates; `rank`: the frontier, and its order.
//! - `trade`: what was given up, and the bytes that this saved.
//! - `measured`: what records say; `check`: predictions against every cell of a run.

pub mod axes;
pub mod check;
pub mod keep;
pub mod loss;
pub mod measured;
pub mod planner;
pub mod rank;
pub mod search;
pub mod speed;
pub mod trade;

pub use axes::Axes;
pub use check::{CheckedCell, TOLERANCE, check};
pub use keep::{Keep, KeepError};
pub use loss::{ExplainedQuality, Loss, NoRecords, QualityRecords};
pub use measured::{Measured, Recorded, Records};
pub use planner::{Configuration, Planner};
pub use rank::{Candidate, Found, Least};
pub use search::Search;
pub use trade::{Trade, trades};
