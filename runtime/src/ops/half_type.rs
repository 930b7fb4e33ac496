//! The number types of scales and dense matrices.

pub(crate) use crate::number_type::nearest;
pub use crate::number_type::{DenseType, HalfType};
