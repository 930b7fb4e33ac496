//! A loaded engine: weights in memory, and sequences that run through them.
//!
//! - `load`: from an engine directory and options to an [`Engine`].
//! - `sequence`: prompt in; `round`: tokens out, for several sequences together; `drafting`: guesses ahead of them.
//! - `steps`: what open sequences share.

mod drafting;
mod load;
mod round;
mod sequence;
mod steps;

pub use load::{Engine, EngineLoadError};
pub use round::{Drafts, Round, Turn};
pub use sequence::{Flow, Sequence, SequenceError};
