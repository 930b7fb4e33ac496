//! A model made of a seed: an architecture, random weights with sensible statistics, and no file anywhere.
//!
//! Every value is a function of (seed, tensor name, row, column) alone, so any thread may read any rows in any order
//! and get the same bytes. Weights are scaled so that a forward pass behaves like one: linear layers keep the size of
//! what they are given, decays of the delta rule lie between 0.5 and 0.999, logits have a standard deviation near 2.
//!
//! Weights are random with one exception, so that drafting finds what it finds in text: tokens of which many, but not all, can
//! be foreseen. A token `x` has a *successor*, and after `x`
//! - the target's likeliest token is the successor about seven times in ten, and else any, most of them frequent ones;
//! - the MTP head's likeliest token is the successor, whatever the hidden state says.
//!
//! So three drafts and the token behind them give about 2.5 tokens a round, as Qwen3.5-4B is said to give on text. How:
//! 1. `table`: all channels but the last are a ring of `n = hidden - 1`, and row `x + 1` of the table is row `x` shifted by one
//!    channel. A random vector begins each group of `n` rows, whose last row's successor is its first. The last channel is the
//!    same constant in every row. The first 32768 rows are longer by 22 %, so that they win more often.
//! 2. `linear`, back-projections: what layers add to the residual stream is noise of a known size, in which the embedding
//!    remains to be seen, and nothing in the last channel, which is still the constant behind the last layer.
//! 3. `linear`, the last layer's MLP and the head's: the gates read the constant and are open, `up_proj` shifts the ring by one
//!    channel, `down_proj` passes it on. So the MLP adds the stream, shifted, and what scores best is the row shifted by one.
//! 4. `linear`, `mtp.fc`: the embedding as it is, and a tenth as much of the hidden state.
//!
//! - `generator`: random words from counters. `distribution`: which numbers a dense tensor has. `table`, `linear`: which the table
//!   and linear layers have. `source`: the checkpoint.

mod distribution;
mod generator;
mod linear;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use source::{GENERATOR_VERSION, SyntheticCheckpoint, SyntheticOptions, SyntheticQuantization};
