//! The number types of scales and dense matrices.

pub use crate::number_type::{DenseType, HalfType};
