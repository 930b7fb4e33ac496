//! The ledger: what is committed, buffer by buffer, and the accounts through which it is kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::{BufferClass, Bytes, LedgerEntry, LedgerSnapshot, MemoryKind, MemoryPlan, Phase, PhasePeak};

use super::MemoryError;

/// What is committed, buffer by buffer, for one plan.
#[derive(Debug)]
pub struct Ledger {
    index_of: HashMap<String, usize>,
    planned: Vec<Planned>,
    accounts: Mutex<Accounts>,
}

/// What the plan gives a buffer.
#[derive(Debug, Clone, Copy)]
struct Planned {
    bytes: Bytes,
    page: Bytes,
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
    /// A ledger of nothing held yet, with an entry for each buffer of `plan`.
    pub(super) fn new(plan: &MemoryPlan) -> Arc<Ledger> {
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
        let planned =
            plan.buffers.iter().map(|buffer| Planned { bytes: buffer.bytes, page: buffer.page }).collect();
        let accounts = Mutex::new(Accounts {
            entries,
            total: Bytes::ZERO,
            peak_total: Bytes::ZERO,
            by_class: BTreeMap::from([(MemoryKind::Host, BTreeMap::new())]),
            phase: Phase::Load,
            phases: BTreeMap::new(),
        });
        Arc::new(Ledger { index_of, planned, accounts })
    }

    /// The account of the planned buffer `key`: its bytes are set aside, and none is held.
    pub(super) fn open(self: &Arc<Self>, key: &str) -> Result<Account, MemoryError> {
        let index = self.index_of.get(key).copied();
        let index = index.ok_or_else(|| MemoryError::NotPlanned { key: key.to_owned() })?;
        self.set(index, Bytes::ZERO, self.planned[index].bytes);
        Ok(Account { ledger: self.clone(), index })
    }

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

/// What the ledger knows of one planned buffer, wherever its memory is. Dropping it takes its bytes off.
#[derive(Debug)]
pub struct Account {
    ledger: Arc<Ledger>,
    index: usize,
}

impl Account {
    /// The buffer's key.
    pub fn key(&self) -> String {
        self.ledger.accounts().entries[self.index].key.clone()
    }

    /// The most that the buffer may hold.
    pub fn planned(&self) -> Bytes {
        self.ledger.planned[self.index].bytes
    }

    /// What is committed is a multiple of this.
    pub fn page(&self) -> Bytes {
        self.ledger.planned[self.index].page
    }

    /// Whether the plan lets the buffer hold `bytes`; asked before memory is taken.
    ///
    /// # Errors
    /// [`MemoryError::OverPlan`] where it does not.
    pub fn check(&self, bytes: Bytes) -> Result<(), MemoryError> {
        match self.planned() {
            planned if bytes > planned => {
                Err(MemoryError::OverPlan { key: self.key(), planned, wanted: bytes })
            }
            _ => Ok(()),
        }
    }

    /// Notes that the buffer holds `bytes` now, no more than [`Account::check`] allows.
    pub fn hold(&mut self, bytes: Bytes) {
        debug_assert!(bytes <= self.planned(), "checked before the memory was taken");
        self.ledger.set(self.index, bytes, Bytes::ZERO);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.ledger.set(self.index, Bytes::ZERO, Bytes::ZERO);
    }
}
