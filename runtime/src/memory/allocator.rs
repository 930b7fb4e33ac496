//! The one allocator: it gives what the plan lists, and keeps the ledger.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::{BufferClass, Bytes, LedgerEntry, LedgerSnapshot, MemoryKind, MemoryPlan, Phase, PhasePeak};

use super::{MemoryError, Region, whole_pages};

/// What is committed, buffer by buffer, for one plan.
#[derive(Debug)]
pub struct Ledger {
    index_of: HashMap<String, usize>,
    planned: Vec<Bytes>,
    accounts: Mutex<Accounts>,
}

#[derive(Debug)]
struct Accounts {
    entries: Vec<LedgerEntry>,
    total: Bytes,
    peak_total: Bytes,
    by_class: BTreeMap<MemoryKind, BTreeMap<BufferClass, Bytes>>,
    phase: Phase,
    phases: BTreeMap<(Phase, MemoryKind), PhasePeak>,
}

impl Accounts {
    /// Notes what each kind of memory holds, if the phase never held more there.
    fn note_peaks(&mut self) {
        self.peak_total = self.peak_total.max(self.total);
        for (memory, by_class) in &self.by_class {
            let (phase, memory, total) = (self.phase, *memory, by_class.values().copied().sum());
            let peak = self.phases.entry((phase, memory)).or_insert_with(|| PhasePeak {
                phase,
                memory,
                total: Bytes::ZERO,
                by_class: BTreeMap::new(),
            });
            if total >= peak.total {
                peak.total = total;
                peak.by_class.clone_from(by_class);
            }
        }
    }
}

impl Ledger {
    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of every entry that was ever allocated.
    pub fn snapshot(&self) -> LedgerSnapshot {
        let accounts = self.accounts();
        LedgerSnapshot {
            entries: accounts.entries.iter().filter(|entry| entry.reserved > Bytes::ZERO).cloned().collect(),
            peak_total: accounts.peak_total,
            phases: accounts
                .phases
                .values()
                .map(|peak| {
                    let by_class = peak.by_class.iter().filter(|(_, bytes)| **bytes > Bytes::ZERO);
                    PhasePeak {
                        by_class: by_class.map(|(class, bytes)| (*class, *bytes)).collect(),
                        ..peak.clone()
                    }
                })
                .collect(),
        }
    }

    /// Counts what is held from now on towards `phase`.
    pub fn enter(&self, phase: Phase) {
        let mut accounts = self.accounts();
        accounts.phase = phase;
        accounts.note_peaks();
    }

    fn set(&self, index: usize, now: Bytes, reserved: Bytes) {
        let mut accounts = self.accounts();
        let before = accounts.entries[index].now;
        let entry = &mut accounts.entries[index];
        entry.now = now;
        entry.peak = entry.peak.max(now);
        entry.reserved = reserved.max(entry.reserved);
        let (memory, class) = (entry.memory, entry.class);
        accounts.total = accounts.total + now - before;
        let held = accounts.by_class.entry(memory).or_default().entry(class).or_insert(Bytes::ZERO);
        *held = *held + now - before;
        accounts.note_peaks();
    }
}

/// Hands out the buffers of one plan.
#[derive(Debug, Clone)]
pub struct Allocator {
    ledger: Arc<Ledger>,
}

impl Allocator {
    /// An allocator for the buffers of `plan`.
    pub fn new(plan: &MemoryPlan) -> Allocator {
        let entries: Vec<LedgerEntry> = plan
            .buffers
            .iter()
            .map(|buffer| LedgerEntry {
                key: buffer.key(),
                role: buffer.role,
                class: buffer.class,
                layer: buffer.layer,
                memory: buffer.memory,
                now: Bytes::ZERO,
                peak: Bytes::ZERO,
                reserved: Bytes::ZERO,
            })
            .collect();
        let index_of = entries.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index)).collect();
        let planned = plan.buffers.iter().map(|buffer| buffer.bytes).collect();
        let accounts = Mutex::new(Accounts {
            entries,
            total: Bytes::ZERO,
            peak_total: Bytes::ZERO,
            by_class: BTreeMap::from([(MemoryKind::Host, BTreeMap::new())]),
            phase: Phase::Load,
            phases: BTreeMap::new(),
        });
        Allocator { ledger: Arc::new(Ledger { index_of, planned, accounts }) }
    }

    /// The ledger that this allocator keeps.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// Address space for the planned buffer `key`; nothing is committed yet.
    pub fn reserve(&self, key: &str) -> Result<Buffer, MemoryError> {
        let index = self.index(key)?;
        let bytes = self.ledger.planned[index];
        let region = Region::reserve(bytes.0 as usize).map_err(|cause| MemoryError::OutOfMemory {
            action: "reserve",
            bytes,
            key: key.to_owned(),
            cause,
        })?;
        self.ledger.set(index, Bytes::ZERO, bytes);
        Ok(Buffer { region, committed: 0, account: Allocation { ledger: self.ledger.clone(), index } })
    }

    /// The planned buffer `key`, committed whole.
    pub fn allocate(&self, key: &str) -> Result<Buffer, MemoryError> {
        let mut buffer = self.reserve(key)?;
        buffer.commit(buffer.region.length() as u64)?;
        Ok(buffer)
    }

    /// Enters bytes of the planned buffer `key` that stand in a mapped file or a shared region: the caller holds the
    /// mapping and keeps the returned account as long.
    pub fn enter(&self, key: &str) -> Result<Allocation, MemoryError> {
        let index = self.index(key)?;
        let bytes = self.ledger.planned[index];
        self.ledger.set(index, bytes, bytes);
        Ok(Allocation { ledger: self.ledger.clone(), index })
    }

    fn index(&self, key: &str) -> Result<usize, MemoryError> {
        self.ledger.index_of.get(key).copied().ok_or_else(|| MemoryError::NotPlanned { key: key.to_owned() })
    }
}

/// An entry of the ledger; dropping it takes its bytes off.
#[derive(Debug)]
pub struct Allocation {
    ledger: Arc<Ledger>,
    index: usize,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.ledger.set(self.index, Bytes::ZERO, Bytes::ZERO);
    }
}

/// A planned buffer in anonymous memory. Only its committed part can be read or written.
#[derive(Debug)]
pub struct Buffer {
    region: Region,
    committed: usize,
    account: Allocation,
}

impl Buffer {
    /// Commits up to `bytes` from the start, rounded up to whole pages. Never shrinks.
    pub fn commit(&mut self, bytes: u64) -> Result<(), MemoryError> {
        let wanted = whole_pages(bytes);
        let target = wanted.0 as usize;
        if target > self.region.length() {
            return Err(MemoryError::OverPlan {
                key: self.key(),
                planned: Bytes(self.region.length() as u64),
                wanted,
            });
        }
        if target > self.committed {
            self.region.commit(self.committed, target).map_err(|cause| MemoryError::OutOfMemory {
                action: "commit",
                bytes: Bytes((target - self.committed) as u64),
                key: self.key(),
                cause,
            })?;
            self.committed = target;
            self.account.ledger.set(self.account.index, wanted, Bytes::ZERO);
        }
        Ok(())
    }

    /// Returns every page; the address space stays. A later commit finds zeros.
    pub fn release(&mut self) {
        self.region.release(0, self.committed);
        self.committed = 0;
        self.account.ledger.set(self.account.index, Bytes::ZERO, Bytes::ZERO);
    }

    /// Bytes committed.
    pub fn committed(&self) -> usize {
        self.committed
    }

    /// The committed part as elements of `T`.
    pub fn slice<T: Element>(&self) -> &[T] {
        // SAFETY: the region starts page-aligned, `committed` bytes of it are readable, and every bit pattern is a
        // valid `T`.
        unsafe { std::slice::from_raw_parts(self.region.pointer().cast(), self.committed / size_of::<T>()) }
    }

    /// The committed part as elements of `T`, to be written.
    pub fn slice_mut<T: Element>(&mut self) -> &mut [T] {
        // SAFETY: as in `slice`, and `&mut self` makes the access exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(self.region.pointer().cast(), self.committed / size_of::<T>())
        }
    }

    /// Start of the address space.
    pub(super) fn pointer(&self) -> *mut u8 {
        self.region.pointer()
    }

    fn key(&self) -> String {
        self.account.ledger.accounts().entries[self.account.index].key.clone()
    }
}

/// Types that any bytes are a value of.
pub trait Element: Copy + private::Sealed {}

mod private {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty),*) => { $(impl private::Sealed for $type {} impl Element for $type {})* };
}
elements!(u8, i8, u16, i32, f32);

#[cfg(test)]
pub(super) use tests::plan as test_plan;

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{Backing, BufferClass, ElementType, Lifetime, PlannedBuffer, Role};

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
    fn what_is_not_planned_is_refused() {
        let allocator = Allocator::new(&plan(4096));
        assert!(matches!(allocator.reserve("target/logits/row"), Err(MemoryError::NotPlanned { .. })));
        let mut buffer = allocator.allocate("target/kv_cache/3/keys").unwrap();
        assert!(matches!(buffer.commit(4097), Err(MemoryError::OverPlan { .. })));
    }
}
