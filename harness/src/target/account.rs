//! What a target says that it holds, from wherever it says it.

use std::collections::BTreeMap;
use std::path::Path;

use ledger::{
    BufferClass, Bytes, LedgerEntry, LedgerSnapshot, MemoryKind, MemoryPlan, MemoryReport, Reading,
    buffer_key,
};

use crate::import::{LogKind, Part, parts_of};
use crate::record::DeviceReading;

/// A target's account of its memory at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetAccount {
    /// Every buffer that it may need; empty where it gives no plan.
    pub plan: MemoryPlan,
    /// Every buffer that it names.
    pub ledger: LedgerSnapshot,
    /// By class, in both kinds of memory.
    pub by_class: BTreeMap<BufferClass, Bytes>,
    /// By class, in host memory.
    pub on_host: BTreeMap<BufferClass, Bytes>,
    /// By class, in device memory.
    pub on_device: BTreeMap<BufferClass, Bytes>,
    /// The device, where it says something of it.
    pub device: Option<DeviceReading>,
}

impl From<MemoryReport> for TargetAccount {
    fn from(report: MemoryReport) -> TargetAccount {
        let on_device = report.by_class_in(MemoryKind::Device);
        let device = report.device.clone();
        TargetAccount {
            by_class: report.by_class_bytes.clone(),
            on_host: report.by_class_in(MemoryKind::Host),
            device: device.map(|report| DeviceReading { report, by_class_bytes: on_device.clone() }),
            on_device,
            plan: report.plan,
            ledger: report.ledger,
        }
    }
}

impl TargetAccount {
    /// The buffers that a log of `kind` names so far, or why it names none.
    pub fn of_log(kind: LogKind, log: &Path) -> Reading<TargetAccount> {
        match parts_of(kind, log) {
            Ok(parts) if parts.is_empty() => {
                Reading::Unavailable("its log names no buffer so far".to_owned())
            }
            Ok(parts) => Reading::Measured(TargetAccount::of_parts(&parts)),
            Err(error) => Reading::Unavailable(error.to_string()),
        }
    }

    /// Buffers of one name are several of them: a log says the size of each.
    fn of_parts(parts: &[Part]) -> TargetAccount {
        let mut entries: Vec<LedgerEntry> = Vec::new();
        for part in parts {
            let key = buffer_key(part.role, part.class, None, &part.what, 0);
            match entries.iter_mut().find(|entry| entry.key == key) {
                Some(entry) => {
                    entry.now += part.bytes;
                    entry.peak += part.bytes;
                    entry.reserved += part.bytes;
                }
                None => entries.push(LedgerEntry {
                    key,
                    role: part.role,
                    class: part.class,
                    layer: None,
                    memory: part.memory,
                    now: part.bytes,
                    peak: part.bytes,
                    reserved: part.bytes,
                }),
            }
        }
        let peak_total = entries.iter().map(|entry| entry.peak).sum();
        let ledger = LedgerSnapshot { entries, peak_total, phases: Vec::new() };
        TargetAccount {
            plan: MemoryPlan { buffers: Vec::new() },
            by_class: ledger.by_class(),
            on_host: ledger.by_class_in(MemoryKind::Host),
            on_device: ledger.by_class_in(MemoryKind::Device),
            device: None,
            ledger,
        }
    }
}
