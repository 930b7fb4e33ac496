//! The watch over the machine's memory: a trial ends before the machine does.

use std::sync::atomic::{AtomicU64, Ordering};

use ledger::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::Notify;

use super::SystemMemory;
use super::ring::UNAVAILABLE;

/// Part of all memory that must stay available by default: 3 %.
const LEAST_PER_MILLE: u64 = 30;

/// What must stay available by default on a small machine.
const LEAST: Bytes = Bytes::mib(256);

/// Looks at every sample's `MemAvailable`, and kills the target once too little is left.
#[derive(Debug)]
pub struct MemoryGuard {
    least: Bytes,
    group: Option<Pid>,
    /// What was available when it struck; [`UNAVAILABLE`] as long as it has not.
    struck: AtomicU64,
    strikes: Notify,
}

impl MemoryGuard {
    /// What must stay available on the machine with `system`, where a scenario does not say: 3 % of its memory, and no less than
    /// 256 MiB.
    pub fn default_least(system: &SystemMemory) -> Bytes {
        let total = system.read_now().measured().and_then(|info| info.total).unwrap_or_default();
        LEAST.max(Bytes(total.0 / 1000 * LEAST_PER_MILLE))
    }

    /// Strikes below `least`, and then kills the process group of `leader`. Without one it only tells.
    pub fn new(least: Bytes, leader: Option<u32>) -> MemoryGuard {
        let group = leader.and_then(|leader| Pid::from_raw(leader as i32));
        MemoryGuard { least, group, struck: AtomicU64::new(UNAVAILABLE), strikes: Notify::new() }
    }

    /// What must stay available.
    pub fn least(&self) -> Bytes {
        self.least
    }

    /// Looks at what is available now. Does not allocate.
    pub(super) fn look(&self, available: Option<Bytes>) {
        let Some(available) = available.filter(|available| *available < self.least) else { return };
        let first =
            self.struck.compare_exchange(UNAVAILABLE, available.0, Ordering::AcqRel, Ordering::Relaxed);
        if first.is_ok() {
            if let Some(group) = self.group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            self.strikes.notify_one();
        }
    }

    /// What was available when it struck. `None` as long as it has not.
    pub fn struck(&self) -> Option<Bytes> {
        let available = self.struck.load(Ordering::Acquire);
        (available != UNAVAILABLE).then_some(Bytes(available))
    }

    /// Ends when it strikes, at once where it has. For one listener, once.
    pub async fn strikes(&self) {
        self.strikes.notified().await;
    }
}
