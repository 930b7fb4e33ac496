//! What a target says of the device that it runs on: whose memory it is, what the driver took, what the ledger holds.

use serde::{Deserialize, Serialize};

use crate::{Bytes, Reading};

/// A device and its memory at one moment, as the target and the device's driver see it.
///
/// ```text
/// used by the process = context + buffers + unaccounted
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Its name, by the driver: `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// What it executes, by the driver: `sm_90`.
    pub architecture: String,
    /// The driver, by the newest interface that it speaks: `CUDA 13.0`.
    pub driver: String,
    /// True where the device has no memory of its own: its bytes and the host's are the same chips.
    pub unified: bool,
    /// Bytes of its memory, by the driver.
    pub total: Bytes,
    /// Bytes that were free when context and modules were there and no buffer was yet (`cuMemGetInfo`). Of the whole
    /// device, other processes included.
    pub free_at_start: Bytes,
    /// Bytes that are free now (`cuMemGetInfo`), of the whole device.
    pub free_now: Bytes,
    /// Bytes that the driver took for context and modules: how much less was free once they were there. On unified
    /// memory less what the process's resident memory grew by meanwhile, which is counted with the host.
    pub context: Bytes,
    /// Bytes that the process grew by in resident memory while context and modules were made: the driver's part of the host.
    #[serde(default)]
    pub driver_on_host: Bytes,
    /// Bytes that the ledger's device buffers hold now.
    pub buffers: Bytes,
    /// Bytes of the device that this process uses, by the driver's management library (NVML).
    #[serde(default)]
    pub used_by_process: Reading<Bytes>,
    /// Bytes used, less context and buffers, with their sign: see [`DeviceReport::used`] for what counts as used.
    #[serde(default)]
    pub unaccounted: Reading<i64>,
}

/// Who counted the bytes of a device that a process uses, the best witness first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// The driver, for this process alone (NVML).
    Process,
    /// The driver, by how much less is free on the whole device: another process that comes or goes is in it.
    Device,
    /// Nobody but the target: context and buffers by its ledger.
    Ledger,
}

impl CountedBy {
    /// In words, for tables.
    pub const fn words(self) -> &'static str {
        match self {
            CountedBy::Process => "NVML, this process",
            CountedBy::Device => "the driver's free memory, all processes",
            CountedBy::Ledger => "the target's ledger alone",
        }
    }
}

impl DeviceReport {
    /// This report with what the management library says of the process, and what is unaccounted by the best witness.
    pub fn witnessed(mut self, used_by_process: Reading<Bytes>) -> DeviceReport {
        self.used_by_process = used_by_process;
        let (used, counted_by) = self.used(&self.used_by_process);
        self.unaccounted = self.unaccounted_of(used, counted_by);
        self
    }

    /// Bytes of the device that the process uses, and who counted them: `outside`, a reading of the process from without,
    /// else the process's own, else how much less is free than before the context. On unified memory free bytes are
    /// those of the whole machine, so that context and buffers stand in there, as the target has them.
    pub fn used(&self, outside: &Reading<Bytes>) -> (Bytes, CountedBy) {
        match outside.measured().or(self.used_by_process.measured()) {
            Some(bytes) => (*bytes, CountedBy::Process),
            None if self.unified => (self.owned(), CountedBy::Ledger),
            None => (self.context + self.free_at_start.saturating_sub(self.free_now), CountedBy::Device),
        }
    }

    /// `used` less context and buffers.
    pub fn unaccounted_of(&self, used: Bytes, counted_by: CountedBy) -> Reading<i64> {
        match counted_by {
            CountedBy::Process | CountedBy::Device => Reading::Measured(used.signed_difference(self.owned())),
            CountedBy::Ledger => Reading::Unavailable(match &self.used_by_process {
                Reading::Unavailable(why) => format!("nobody but the target counts its device memory: {why}"),
                Reading::Measured(_) => "nobody but the target counts its device memory".to_owned(),
            }),
        }
    }

    /// Context and buffers.
    pub fn owned(&self) -> Bytes {
        self.context + self.buffers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(unified: bool) -> DeviceReport {
        DeviceReport {
            name: "a card".to_owned(),
            architecture: "sm_90".to_owned(),
            driver: "CUDA 13.0".to_owned(),
            unified,
            total: Bytes::gib(80),
            free_at_start: Bytes::gib(70),
            free_now: Bytes::gib(67),
            context: Bytes::mib(400),
            driver_on_host: Bytes::mib(100),
            buffers: Bytes::gib(2),
            used_by_process: Reading::default(),
            unaccounted: Reading::default(),
        }
    }

    #[test]
    fn the_process_is_the_best_witness() {
        let seen = report(false).witnessed(Reading::Measured(Bytes::mib(2500)));
        assert_eq!(seen.unaccounted, Reading::Measured(52 << 20));
        let outside = Reading::Measured(Bytes::mib(2400));
        assert_eq!(seen.used(&outside), (Bytes::mib(2400), CountedBy::Process));
    }

    #[test]
    fn a_card_that_does_not_count_by_process_is_read_as_a_whole() {
        let seen = report(false).witnessed(Reading::Unavailable("not supported".to_owned()));
        assert_eq!(seen.used(&Reading::default()), (Bytes::mib(400 + 3072), CountedBy::Device));
        assert_eq!(seen.unaccounted, Reading::Measured(1 << 30), "another process may be in it");
    }

    #[test]
    fn on_unified_memory_free_bytes_are_no_witness() {
        let seen = report(true).witnessed(Reading::Unavailable("not supported".to_owned()));
        assert_eq!(seen.used(&Reading::default()), (Bytes::mib(400 + 2048), CountedBy::Ledger));
        assert!(matches!(seen.unaccounted, Reading::Unavailable(why) if why.ends_with(": not supported")));
    }

    #[test]
    fn a_ledger_that_claims_more_than_is_used_keeps_its_sign() {
        let seen = report(false).witnessed(Reading::Measured(Bytes::mib(2440)));
        assert_eq!(seen.unaccounted, Reading::Measured(-(8 << 20)));
    }
}
