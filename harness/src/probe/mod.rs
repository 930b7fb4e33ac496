//! What is measured from outside the target, and how.
//!
//! - `procfs`: the kernel's text files, parsed without allocation.
//! - `tree`: the target's processes, by identity rather than by number.
//! - `process`: resident memory of the tree, exact peaks, proportional set size.
//! - `system`: memory of the machine, and the machine itself.
//! - `gpu`, `gpu_series`: GPU memory of processes, where there is a GPU.
//! - `sampler`, `ring`, `health`: the 10 ms series and how far it can be trusted.
//! - `sys`: the one unsafe call, between `fork` and `exec`.

mod gpu;
mod gpu_series;
mod health;
mod machine;
mod process;
mod procfs;
mod ring;
mod sampler;
mod series_file;
#[expect(unsafe_code, reason = "between fork and exec there is no safe way")]
pub mod sys;
mod system;
mod tree;

pub use gpu::{Gpu, GpuCadence, gpu_card};
pub use gpu_series::GpuSeries;
pub use health::IntervalHistogram;
pub use machine::machine_card;
pub use process::ProcessMemory;
pub use procfs::{MemInfo, ProcRoot, ProcessIdentity, ProcessStatus};
pub use ring::{COLUMNS, Ring, UNAVAILABLE};
pub use sampler::{Sampler, SamplerOptions};
pub use system::SystemMemory;
pub use tree::ProcessTree;

use crate::record::{ProbeCard, ProbeScope, Reading};

/// A source of numbers. What is read and how often differs; what every source can say about itself does not.
pub trait MemoryProbe {
    /// Its name, with the file or library that it reads.
    fn name(&self) -> &'static str;

    /// What its numbers are about.
    fn scope(&self) -> ProbeScope;

    /// When it is read and what one reading costs, or why there are no readings on this machine.
    fn cadence(&self) -> Reading<String>;

    /// All three, for a record.
    fn card(&self) -> ProbeCard {
        ProbeCard { name: self.name().to_owned(), scope: self.scope(), cadence: self.cadence() }
    }
}
