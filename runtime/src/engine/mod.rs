//! A loaded engine: weights in memory, and sequences that run through them.
//!
//! - `load`: from an engine directory and options to an [`Engine`].
//! - `sequence`: prompt in; `round`: tokens out, for several sequences together; `drafting`: guesses ahead of them.
//! - `upcoming`: what a step will multiply with. `steps`: what open sequences share. `vocabulary`: ids outside, rows inside.

mod drafting;
mod load;
mod round;
mod sequence;
mod steps;
mod upcoming;
mod vocabulary;

pub use load::{Engine, EngineLoadError, plan_of};
pub use round::{Drafts, Round, Turn};
pub use sequence::{Flow, Sequence, SequenceError};
