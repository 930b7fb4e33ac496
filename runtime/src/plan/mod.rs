//! The memory plan of a model with its options: pure arithmetic, microseconds, nothing is loaded.
//!
//! - `options`: the knobs.
//! - `device`: where the engine runs, and what that changes.
//! - `buffers`: every buffer with its formula.
//! - `stripes`: how a matrix is divided to be streamed, and where a stripe stands in the file and in memory.
//! - `streaming`: which stripes stay resident under a budget.

mod buffers;
mod device;
mod options;
mod streaming;
mod stripes;

pub use buffers::{Stage, TextTables, Widths, is_loaded, keys, plan};
pub use device::{Device, DeviceChoice};
pub use options::{
    DraftVocab, KvCacheType, OptionsError, Precision, RingShape, RuntimeOptions, WeightStreaming, WeightsMode,
};
pub use streaming::{Place, Ring, Run, SegmentPlacement, Streaming, TensorPlacement};
pub use stripes::{Piece, Pieces, Read};
