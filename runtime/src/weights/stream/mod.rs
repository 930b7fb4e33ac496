//! Weights that are read from storage for each use.
//!
//! - `direct`: a file read past the page cache.
//! - `schedule`: what is read next and what is at hand, as a state without threads.
//! - `readers`: the threads that read, and the [`Stream`] that they fill.
//!
//! A stripe goes round like this: the model announces what it will multiply with, readers take the stripes off the
//! announcement in its order and fill free slots, the device takes a filled slot, multiplies with it and gives it back. A
//! stripe that nobody has announced is read as soon as somebody asks for it, so a wrong announcement costs time and no more.

mod direct;
mod readers;
mod schedule;

pub use direct::DirectFile;
pub use readers::{Stream, StreamError};
