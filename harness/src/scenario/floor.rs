//! When a trial may begin: how close the machine must be to what it was before the first one.

use std::time::Duration;

use ledger::Bytes;

/// The settle rule of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// By how much memory may be off, where the scenario says so.
    pub tolerance: Option<Bytes>,
    /// How long is waited for it.
    pub timeout: Duration,
}

impl Floor {
    /// How long is waited where the scenario says nothing.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// By how much memory may be off at least: logs, daemons and drivers move by some MiB.
    pub const TOLERANCE: Bytes = Bytes::mib(64);

    /// Of main memory, the part that other programs move, whatever is measured.
    const PART: u64 = 100;

    /// By how much main memory may be off, of which there are `total` bytes: 64 MiB or a hundredth of it, whichever is more. Nothing
    /// where the scenario names no tolerance and no GPU `shares` main memory: a target's memory is counted by process there, and
    /// what other programs take says nothing of it.
    pub fn memory_tolerance(&self, total: Option<Bytes>, shares: bool) -> Option<Bytes> {
        let part = Bytes(total.unwrap_or_default().0 / Floor::PART);
        self.tolerance.or_else(|| shares.then(|| Floor::TOLERANCE.max(part)))
    }

    /// By how much device memory may be off.
    pub fn device_tolerance(&self) -> Bytes {
        self.tolerance.unwrap_or(Floor::TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_that_is_given_holds_for_both_memories() {
        let rule = |tolerance| Floor { tolerance, timeout: Floor::TIMEOUT };
        assert_eq!(rule(None).memory_tolerance(Some(Bytes::gib(4)), true), Some(Bytes::mib(64)));
        assert_eq!(rule(None).memory_tolerance(Some(Bytes::mib(16_000)), true), Some(Bytes::mib(160)));
        assert_eq!(rule(None).memory_tolerance(None, true), Some(Bytes::mib(64)));
        assert_eq!(rule(None).memory_tolerance(Some(Bytes::gib(4)), false), None);
        assert_eq!(rule(None).device_tolerance(), Bytes::mib(64));
        let given = rule(Some(Bytes::mib(7)));
        assert_eq!(given.memory_tolerance(Some(Bytes::gib(64)), false), Some(Bytes::mib(7)));
        assert_eq!(given.device_tolerance(), Bytes::mib(7));
    }
}
