//! What the relative verdicts compute with. Every result is held against SciPy's (`fixtures/scipy_statistics.py`).
//!
//! - [`mod@median`]: the middle, and how far values lie from it.
//! - [`rank_sum`]: two samples, by ranks (Mann and Whitney).
//! - [`hodges_lehmann`]: by how much one sample is shifted against another, with its interval.
//! - [`signed_rank`]: pairs, by the ranks of their differences (Wilcoxon).
//! - [`bootstrap`]: the interval of a median.
//! - [`benjamini_hochberg`]: many tests at once.
//! - `normal`, `ranks`: what these have in common.

pub mod benjamini_hochberg;
pub mod bootstrap;
pub mod hodges_lehmann;
pub mod median;
mod normal;
pub mod rank_sum;
mod ranks;
pub mod signed_rank;

pub use benjamini_hochberg::adjusted;
pub use bootstrap::median_interval;
pub use hodges_lehmann::{Shifted, shift};
pub use median::{mad, median, quantile};
