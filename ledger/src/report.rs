//! The ledger as data: what is allocated now, what was at the peak, and what the program itself takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BufferClass, Bytes, DeviceReport, FORMAT_VERSION, MemoryKind, MemoryPlan, Phase, Role};

/// One buffer of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The key of the planned buffer that this one was allocated for.
    pub key: String,
    /// Target or draft.
    pub role: Role,
    /// What the buffer is for.
    pub class: BufferClass,
    /// The decoder layer it belongs to, where it belongs to one.
    pub layer: Option<u32>,
    /// Whose memory it takes.
    #[serde(default, skip_serializing_if = "MemoryKind::is_host")]
    pub memory: MemoryKind,
    /// Bytes committed at this moment.
    pub now: Bytes,
    /// The most that was ever committed.
    pub peak: Bytes,
    /// Address space set aside, whether or not memory stands behind it.
    pub reserved: Bytes,
}

/// The moment of a phase at which most was held in one kind of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhasePeak {
    /// The phase, as the target itself goes through it.
    pub phase: Phase,
    /// Which memory. Host and device need not peak at the same moment.
    #[serde(default, skip_serializing_if = "MemoryKind::is_host")]
    pub memory: MemoryKind,
    /// What all of its buffers together held then.
    pub total: Bytes,
    /// The same by class; classes that held nothing are left out.
    pub by_class: BTreeMap<BufferClass, Bytes>,
}

/// The ledger at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerSnapshot {
    /// Every buffer that was ever allocated, in plan order.
    pub entries: Vec<LedgerEntry>,
    /// The most that all buffers together ever held at one moment.
    pub peak_total: Bytes,
    /// The peak of each phase that was entered, in order of phases, over all sequences so far; of device memory only
    /// where a buffer lies there.
    #[serde(default)]
    pub phases: Vec<PhasePeak>,
}

impl LedgerSnapshot {
    /// Bytes committed at this moment, over all buffers.
    pub fn total_now(&self) -> Bytes {
        self.entries.iter().map(|entry| entry.now).sum()
    }

    /// What host memory held by class when `phase` held most there; `None` where it was never entered.
    pub fn at_peak_of(&self, phase: Phase) -> Option<&PhasePeak> {
        self.at_peak_in(MemoryKind::Host, phase)
    }

    /// The same of one kind of memory.
    pub fn at_peak_in(&self, memory: MemoryKind, phase: Phase) -> Option<&PhasePeak> {
        self.phases.iter().find(|peak| peak.phase == phase && peak.memory == memory)
    }

    /// Bytes committed at this moment, by class, in both kinds of memory.
    pub fn by_class(&self) -> BTreeMap<BufferClass, Bytes> {
        sum_by_class(self.entries.iter())
    }

    /// Bytes committed at this moment in one kind of memory, by class.
    pub fn by_class_in(&self, memory: MemoryKind) -> BTreeMap<BufferClass, Bytes> {
        sum_by_class(self.entries.iter().filter(|entry| entry.memory == memory))
    }
}

fn sum_by_class<'a>(entries: impl Iterator<Item = &'a LedgerEntry>) -> BTreeMap<BufferClass, Bytes> {
    let mut totals = BTreeMap::new();
    for entry in entries {
        *totals.entry(entry.class).or_insert(Bytes::ZERO) += entry.now;
    }
    totals
}

/// What the program takes beside the ledger's buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgramMemory {
    /// Resident memory of the process before the engine was loaded: code, libraries, stacks.
    pub resident_at_start: Bytes,
    /// Growth of the general heap since then, as its allocator counts it.
    pub heap_growth: Bytes,
}

impl ProgramMemory {
    /// Code, libraries, stacks and heap together.
    pub fn total(&self) -> Bytes {
        self.resident_at_start + self.heap_growth
    }
}

/// What `/v1/memory` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// Version of this form.
    pub format_version: u32,
    /// Every buffer that the loaded configuration may need.
    pub plan: MemoryPlan,
    /// Every buffer that is or was allocated.
    pub ledger: LedgerSnapshot,
    /// The program itself.
    pub program: ProgramMemory,
    /// Bytes committed now by class, in both kinds of memory, `program`, `driver` and `device_context` included.
    pub by_class_bytes: BTreeMap<BufferClass, Bytes>,
    /// The device that the target runs on, where it runs on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceReport>,
}

impl MemoryReport {
    /// The report of a target at one moment, with its sums.
    pub fn new(
        plan: MemoryPlan,
        ledger: LedgerSnapshot,
        program: ProgramMemory,
        device: Option<DeviceReport>,
    ) -> MemoryReport {
        let mut by_class_bytes = ledger.by_class();
        by_class_bytes.insert(BufferClass::Program, program.total());
        if let Some(device) = &device {
            by_class_bytes.insert(BufferClass::Driver, device.driver_on_host);
            by_class_bytes.insert(BufferClass::DeviceContext, device.context);
        }
        MemoryReport { format_version: FORMAT_VERSION, plan, ledger, program, by_class_bytes, device }
    }

    /// Bytes committed now in one kind of memory, by class: the host's with `program` and `driver`, a device's with `device_context`.
    pub fn by_class_in(&self, memory: MemoryKind) -> BTreeMap<BufferClass, Bytes> {
        let mut totals = self.ledger.by_class_in(memory);
        match (memory, &self.device) {
            (MemoryKind::Host, device) => {
                totals.insert(BufferClass::Program, self.program.total());
                totals.extend(device.as_ref().map(|device| (BufferClass::Driver, device.driver_on_host)));
            }
            (MemoryKind::Device, Some(device)) => {
                totals.insert(BufferClass::DeviceContext, device.context);
            }
            (MemoryKind::Device, None) => {}
        }
        totals
    }
}
