//! Where a weight's bytes are when a kernel wants them.
//!
//! A [`Segment`] holds one run of `weights.bin`, mapped from the file or read into memory; a [`Weight`] is a tensor in it. Under a
//! streaming budget a segment holds only the rows that stay, and [`stream`] brings the others.

mod look_up;
mod placed;
mod segment;
pub mod stream;
mod weight;

pub(crate) use look_up::look_up;
pub(crate) use placed::rows_of;
pub use placed::{Placed, load_placed};
pub(crate) use segment::enter;
pub use segment::{LoadError, Segment, load};
pub(crate) use weight::stripes_of;
pub use weight::{RowSource, Weight, WeightRows};
