//! What the kernel counted in a trial's own memory cgroup.

use ledger::{Bytes, Reading};
use serde::{Deserialize, Serialize};

/// The target with everything that is charged to it: page cache and kernel memory, too, so that it is more than what is resident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CgroupReading {
    /// `memory.max`, where the scenario sets a limit.
    pub limit_bytes: Option<Bytes>,
    /// `memory.peak`, which kernels from 5.19 on have.
    pub peak_bytes: Reading<Bytes>,
    /// `max` of `memory.events`: how often the limit was reached and memory had to be reclaimed.
    pub reclaims: Option<u64>,
    /// `oom_kill` of `memory.events`: processes of the group that were killed for memory.
    pub oom_kills: Option<u64>,
}
