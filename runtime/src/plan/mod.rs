//! The memory plan of a model with its options: pure arithmetic, microseconds, nothing is loaded.
//!
//! - `options`: the knobs.
//! - `buffers`: every buffer with its formula.

mod buffers;
mod options;

pub use buffers::{Stage, TextTables, Widths, keys, plan};
pub use options::{
    DraftVocab, KvCacheType, OptionsError, Precision, RuntimeOptions, WeightStreaming, WeightsMode,
};
