//! Measures LLM runtimes from outside and decides pass or fail.
//!
//! A scenario file becomes cells, a cell becomes trials, a trial writes one record as it goes, and every output is
//! computed from records alone.

pub mod number;
pub mod record;
pub mod report;
pub mod scenario;
pub mod verdict;
