//! What the last sample saw, for a screen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::Bytes;

use super::ring::UNAVAILABLE;

/// Resident memory of the target's processes right now. A clone looks at the same.
#[derive(Debug, Clone)]
pub struct LiveMemory(Arc<AtomicU64>);

impl Default for LiveMemory {
    fn default() -> LiveMemory {
        LiveMemory(Arc::new(AtomicU64::new(UNAVAILABLE)))
    }
}

impl LiveMemory {
    /// What the last sample saw; `None` before the first one, and where the processes are gone.
    pub fn resident(&self) -> Option<Bytes> {
        Some(self.0.load(Ordering::Relaxed)).filter(|bytes| *bytes != UNAVAILABLE).map(Bytes)
    }

    /// Called at each sample. Nothing is allocated.
    pub(super) fn saw(&self, resident: Option<Bytes>) {
        self.0.store(resident.map_or(UNAVAILABLE, |bytes| bytes.0), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_before_the_first_sample_and_after_the_last() {
        let live = LiveMemory::default();
        let screen = live.clone();
        assert_eq!(screen.resident(), None);
        live.saw(Some(Bytes::mib(3)));
        assert_eq!(screen.resident(), Some(Bytes::mib(3)));
        live.saw(Some(Bytes::ZERO));
        assert_eq!(screen.resident(), Some(Bytes::ZERO), "nothing resident is not nothing known");
        live.saw(None);
        assert_eq!(screen.resident(), None);
    }
}
