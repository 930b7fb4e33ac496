//! Bytes and their owners, as data that the runtime writes and the harness reads.
//!
//! - [`units`]: sizes, times and counts as types.
//! - [`class`], [`phase`]: the words that both sides use for memory and for time.
//! - [`plan`]: every buffer that a configuration will need, before anything is allocated.
//! - [`report`]: what is allocated now, and what was at the peak.
//! - [`device`]: the device that a target runs on, and its memory.
//! - [`reading`]: a measured value, or why there is none.

pub mod class;
pub mod device;
pub mod phase;
pub mod plan;
pub mod reading;
pub mod report;
pub mod units;

pub use class::BufferClass;
pub use device::{CountedBy, DeviceReport};
pub use phase::Phase;
pub use plan::{Backing, ElementType, Lifetime, MemoryKind, MemoryPlan, PlannedBuffer, Role, buffer_key};
pub use reading::Reading;
pub use report::{LedgerEntry, LedgerSnapshot, MemoryReport, PhasePeak, ProgramMemory};
pub use units::{Bytes, Micros, Millis, Tokens};

/// Version of the JSON forms in this crate. It grows when a field changes its meaning or goes away.
pub const FORMAT_VERSION: u32 = 1;
