//! A loaded engine: weights in memory, and sequences that run through them.
//!
//! - `load`: from an engine directory and options to an [`Engine`].
//! - `sequence`: prompt in, tokens out. `vocabulary`: ids outside, rows inside.

mod load;
mod sequence;
mod vocabulary;

pub use load::{Engine, EngineLoadError};
pub use sequence::{Flow, Sequence, SequenceError};
