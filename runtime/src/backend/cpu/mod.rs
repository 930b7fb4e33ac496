//! The CPU: a fixed set of worker threads, the instruction set that the kernels may use, and the places where
//! memory is divided between threads or cut into typed parts.

mod carve;
mod column_queue;
#[cfg(test)]
pub(crate) mod guarded;
mod instruction_set;
mod pool;
pub mod roofline;
mod shared;

pub use carve::Carver;
pub use column_queue::{ColumnQueue, ColumnsMut, MATRICES};
pub use instruction_set::InstructionSet;
pub use pool::{Pool, PoolError, SliceBody};
pub use shared::SharedMut;
