//! A model made of a seed: an architecture, random weights with sensible statistics, and no file anywhere.
//!
//! Every value is a function of (seed, tensor name, row, column) alone, so any thread may read any rows in any order
//! and get the same bytes. Weights are scaled so that a forward pass behaves like one: linear layers keep the size of
//! what they are given, decays of the delta rule lie between 0.5 and 0.999, logits have a standard deviation near 2.
//!
//! - `generator`: random words from counters. `distribution`: which numbers a tensor has. `source`: the checkpoint.

mod distribution;
mod generator;
mod source;
#[cfg(test)]
mod tests;

pub use source::{SyntheticCheckpoint, SyntheticOptions, SyntheticQuantization};
