//! A loaded engine: weights in memory, and sequences that run through them.
//!
//! - `load`: from an engine directory and options to an [`Engine`].
//! - `sequence`: prompt in, tokens out.

mod load;
mod sequence;

pub use load::{Engine, EngineLoadError};
pub use sequence::{Flow, Sequence, SequenceError};
