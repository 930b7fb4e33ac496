//! What can be measured on a machine, what cannot and how to enable it, and in which state the machine is.
//!
//! - `diagnosis`: everything that is read, as one value.
//! - `memory`, `residue`, `disk`: free memory and swap; what earlier processes left; how fast a disk is.
//! - `finding`: what makes measurements doubtful, and what to do about it.
//! - `needs`: what a scenario asks of the machine.

mod diagnosis;
mod disk;
mod finding;
mod memory;
mod needs;
mod residue;

pub use diagnosis::{ClockDiagnosis, Diagnosis, GpuDiagnosis, ProbeState};
pub use disk::{DiskCheck, DiskState};
pub use finding::{Finding, findings};
pub use memory::{MemoryState, SwapState};
pub use needs::{NeedState, check_needs};
pub use residue::Residue;

/// Version of the JSON form. It grows when a field changes its meaning or goes away.
pub const FORMAT_VERSION: u32 = 1;
