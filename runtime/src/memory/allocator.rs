//! The one allocator: it gives what the plan lists, and keeps the ledger.

use std::sync::Arc;

use ledger::MemoryPlan;

use super::{Account, Buffer, Ledger, MemoryError};

/// Hands out the buffers of one plan. What stands behind them is the business of whoever asks: pages of this process as a
/// [`Buffer`], or memory of another kind beside an [`Account`].
#[derive(Debug, Clone)]
pub struct Allocator {
    ledger: Arc<Ledger>,
}

impl Allocator {
    /// An allocator for the buffers of `plan`.
    pub fn new(plan: &MemoryPlan) -> Allocator {
        Allocator { ledger: Ledger::new(plan) }
    }

    /// The ledger that this allocator keeps.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// The account of the planned buffer `key`, with nothing held. Whoever takes the memory says so there.
    ///
    /// # Errors
    /// When the plan lists no such buffer.
    pub fn open(&self, key: &str) -> Result<Account, MemoryError> {
        self.ledger.open(key)
    }

    /// Address space for the planned buffer `key`; nothing is committed yet.
    pub fn reserve(&self, key: &str) -> Result<Buffer, MemoryError> {
        Buffer::reserve(self.open(key)?)
    }

    /// The planned buffer `key`, committed whole.
    pub fn allocate(&self, key: &str) -> Result<Buffer, MemoryError> {
        let account = self.open(key)?;
        let planned = account.planned();
        let mut buffer = Buffer::reserve(account)?;
        buffer.commit(planned.0)?;
        Ok(buffer)
    }

    /// Enters bytes of the planned buffer `key` that stand in a mapped file or a shared region: the caller holds the
    /// mapping and keeps the returned account as long.
    pub fn enter(&self, key: &str) -> Result<Account, MemoryError> {
        let mut account = self.open(key)?;
        account.hold(account.planned());
        Ok(account)
    }
}

#[cfg(test)]
pub(super) use tests::plan as test_plan;

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::plan::PAGE;
    use ledger::{Backing, BufferClass, Bytes, ElementType, Lifetime, MemoryKind, PlannedBuffer, Role};

    pub(in super::super) fn plan(bytes: u64) -> MemoryPlan {
        MemoryPlan {
            buffers: vec![PlannedBuffer {
                role: Role::Target,
                sequence: 0,
                class: BufferClass::KvCache,
                layer: Some(3),
                name: "keys".into(),
                element: ElementType::F16,
                shape: vec![bytes / 2],
                bytes: Bytes(bytes),
                lifetime: Lifetime::PerSequence,
                backing: Backing::Anonymous,
                memory: MemoryKind::Host,
                page: Bytes(PAGE),
                growth: None,
                formula: "test".into(),
            }],
        }
    }

    #[test]
    fn a_buffer_is_counted_while_it_is_committed() {
        let allocator = Allocator::new(&plan(64 << 10));
        let ledger = allocator.ledger();
        let mut buffer = allocator.reserve("target/kv_cache/3/keys").unwrap();
        assert_eq!(ledger.snapshot().total_now(), Bytes::ZERO);
        assert_eq!(buffer.slice::<u16>().len(), 0);
        buffer.commit(5000).unwrap();
        assert_eq!(ledger.snapshot().total_now(), Bytes(8192));
        buffer.slice_mut::<u16>().fill(7);
        buffer.commit(64 << 10).unwrap();
        assert!(buffer.slice::<u16>()[..4096].iter().all(|value| *value == 7));
        assert!(buffer.slice::<u16>()[4096..].iter().all(|value| *value == 0));
        buffer.release();
        buffer.commit(4096).unwrap();
        assert_eq!(buffer.slice::<u16>()[0], 0, "released pages come back zeroed");
        drop(buffer);
        let snapshot = ledger.snapshot();
        assert_eq!((snapshot.total_now(), snapshot.peak_total), (Bytes::ZERO, Bytes(64 << 10)));
    }

    #[test]
    fn an_account_counts_what_is_held_elsewhere() {
        let allocator = Allocator::new(&plan(64 << 10));
        let key = "target/kv_cache/3/keys";
        let mut account = allocator.open(key).unwrap();
        assert_eq!((account.key().as_str(), account.planned()), (key, Bytes(64 << 10)));
        let held = || allocator.ledger().snapshot().total_now();
        assert_eq!(held(), Bytes::ZERO);
        assert_eq!(allocator.ledger().snapshot().entries[0].reserved, Bytes(64 << 10));
        account.check(Bytes(64 << 10)).unwrap();
        account.hold(Bytes(64 << 10));
        assert_eq!(held(), Bytes(64 << 10));
        account.hold(Bytes(4096));
        assert_eq!(held(), Bytes(4096));
        assert!(matches!(account.check(Bytes((64 << 10) + 1)), Err(MemoryError::OverPlan { .. })));
        drop(account);
        assert_eq!(held(), Bytes::ZERO);
        assert_eq!(allocator.ledger().snapshot().peak_total, Bytes(64 << 10));
    }

    #[test]
    fn what_is_not_planned_is_refused() {
        let allocator = Allocator::new(&plan(4096));
        assert!(matches!(allocator.reserve("target/logits/row"), Err(MemoryError::NotPlanned { .. })));
        let mut buffer = allocator.allocate("target/kv_cache/3/keys").unwrap();
        assert!(matches!(buffer.commit(4097), Err(MemoryError::OverPlan { .. })));
    }
}
