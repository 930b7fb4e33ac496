//! Measures LLM runtimes from outside and decides pass or fail.
//!
//! A scenario file becomes cells, a cell becomes trials, a trial writes one record as it goes, and every output is
//! computed from records alone.

#![deny(unsafe_code)]

pub mod baseline;
pub mod bisect;
pub mod cli;
pub mod clock;
pub mod doctor;
pub mod engines;
pub mod fetch;
pub mod fit;
pub mod history;
pub mod import;
pub mod interrupt;
pub mod lock;
pub mod merge;
pub mod number;
pub mod probe;
pub mod random;
pub mod record;
pub mod report;
pub mod scenario;
pub mod sweep;
pub mod target;
pub mod trial;
pub mod verdict;
