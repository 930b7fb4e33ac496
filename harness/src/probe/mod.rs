//! What is measured from outside the target, and how.
//!
//! - `root`: where the kernel's files are, so that a recorded machine can be read like this one.
//! - `procfs`, `meminfo`: the kernel's text files, parsed without allocation.
//! - `tree`: the target's processes, by identity rather than by number; `mark`: what finds those that have left it.
//! - `process`, `own_process`: resident memory of the tree, exact peaks, proportional set size; what the kernel says of a process.
//! - `system`, `swap`, `pressure`, `machine`: memory of the machine, and the machine itself.
//! - `gpu`, `gpu_series`: GPU memory of processes, where there is a driver that says.
//! - `nvmap`, `tegrastats`, `board`: what Jetson boards say in other ways; power, temperatures, clocks.
//! - `conditions`: the state of the machine at a phase edge; `catalogue`: every probe there is.
//! - `environment`: the facts by which two measurements can be held against each other.
//! - `sampler`, `ring`, `health`: the 10 ms series and how far it can be trusted; `live`: what the last sample saw; `memory_guard`: what it ends a trial for.
//! - `sys`: the one unsafe call, between `fork` and `exec`.

pub mod board;
mod catalogue;
mod conditions;
mod environment;
mod gpu;
mod gpu_series;
mod health;
mod live;
mod machine;
mod mark;
mod meminfo;
mod memory_guard;
pub mod nvmap;
mod own_process;
mod pressure;
mod process;
mod procfs;
mod ring;
mod root;
mod sampler;
mod series_file;
mod swap;
#[expect(unsafe_code, reason = "between fork and exec there is no safe way")]
pub mod sys;
mod system;
pub mod tegrastats;
mod tree;

pub use catalogue::{PROBE_IDS, catalogue};
pub use conditions::Conditions;
pub use environment::environment;
pub use gpu::{Gpu, GpuAnswers, GpuCadence, GpuMemory, GpuWitness, Nvml, gpu_card};
pub use gpu_series::GpuSeries;
pub use health::IntervalHistogram;
pub use live::LiveMemory;
pub use machine::machine_card;
pub use mark::{MARK, Mark};
pub use meminfo::MemInfo;
pub use memory_guard::MemoryGuard;
pub use own_process::OwnProcess;
pub use pressure::{MemoryPressure, Pressure};
pub use process::ProcessMemory;
pub use procfs::{ProcRoot, ProcessIdentity, ProcessStatus};
pub use ring::{COLUMNS, Ring, UNAVAILABLE};
pub(crate) use root::reading;
pub use root::{ReadError, RecordedTreeError, SystemRoot};
pub use sampler::{Sampler, SamplerOptions};
pub use swap::{Swap, SwapArea, Zram};
pub use system::SystemMemory;
pub use tree::ProcessTree;

use crate::record::{ProbeCard, ProbeScope, Reading};

/// A source of numbers. What is read and how often differs; what every source can say about itself does not.
pub trait Probe {
    /// A word for it, as `needs.probes` of a scenario names it.
    fn id(&self) -> &'static str;

    /// Its name, with the file or library that it reads.
    fn name(&self) -> &'static str;

    /// What its numbers are about.
    fn scope(&self) -> ProbeScope;

    /// What one reading takes, as was measured or is known of others; `sweep doctor` times it on this machine.
    fn cost(&self) -> &'static str;

    /// When it is read, or why there are no readings on this machine.
    fn cadence(&self) -> Reading<String>;

    /// One reading, in words.
    fn sample(&self) -> Reading<String>;

    /// What to do where it cannot be read and could be.
    fn remedy(&self) -> Option<&'static str> {
        None
    }

    /// What a record says of it.
    fn card(&self) -> ProbeCard {
        ProbeCard {
            id: self.id().to_owned(),
            name: self.name().to_owned(),
            scope: self.scope(),
            cost: self.cost().to_owned(),
            cadence: self.cadence(),
        }
    }
}
