//! Where a weight's bytes are when a kernel wants them.
//!
//! A [`Segment`] holds one run of `weights.bin`, mapped from the file or read into memory; a [`Weight`] is a tensor in it.

mod segment;
mod weight;

pub use segment::{LoadError, Segment, load};
pub use weight::Weight;
