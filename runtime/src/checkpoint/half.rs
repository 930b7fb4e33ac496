//! The number types of checkpoints.

pub use crate::number_type::{DenseType, HalfType};
