//! The CPU: a fixed set of worker threads, the instruction set that the kernels may use, and the two places where
//! memory is divided between threads or cut into typed parts.

mod carve;
mod instruction_set;
mod pool;
mod shared;

pub use carve::Carver;
pub use instruction_set::InstructionSet;
pub use pool::{Pool, PoolError};
pub use shared::SharedMut;
