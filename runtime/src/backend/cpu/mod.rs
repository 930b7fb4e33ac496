//! The CPU: a fixed set of worker threads, the instruction set that the kernels may use, vector types to write kernels
//! with, the places where memory is divided between threads or cut into typed parts, and the operators on planned
//! buffers.

mod carve;
mod column_queue;
mod device;
#[cfg(test)]
pub(crate) mod guarded;
mod instruction_set;
mod load;
mod observed;
mod pool;
mod processor;
pub mod roofline;
mod shared;
mod streaming;
mod vector;
#[cfg(target_arch = "aarch64")]
mod vector_neon;
#[cfg(target_arch = "x86_64")]
mod vector_x86;

pub use carve::Carver;
pub use column_queue::{ColumnQueue, ColumnsMut, MATRICES};
pub use device::CpuDevice;
pub use instruction_set::InstructionSet;
pub use observed::{Observed, Observer};
pub use pool::{Pool, PoolError, SliceBody};
pub use processor::Cpu;
pub use shared::SharedMut;
pub use vector::{Kernel, Portable, Vector};
