//! The floor: what is taken of a machine before a trial's target starts. The first trial's is that of the run.

use std::fmt;

use ledger::{Bytes, Micros, Reading};
use serde::{Deserialize, Serialize};

use super::ConditionsReading;
use crate::number::mib;

/// The machine before a trial's target starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FloorRecord {
    /// What was read last.
    pub reading: FloorReading,
    /// How long was waited until it was back.
    pub settled_us: Micros,
    /// The rest before that, where the scenario asks for one and a trial came before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<CooldownRecord>,
    /// By how much main memory may be off. Nothing where it is not held against the first trial's: the target's memory is counted
    /// by process, whatever other programs take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_tolerance_bytes: Option<Bytes>,
    /// By how much device memory may be off.
    pub device_tolerance_bytes: Bytes,
    /// The state of the machine, to hold the ends of phases against.
    #[serde(default, skip_serializing_if = "ConditionsReading::is_empty")]
    pub conditions: ConditionsReading,
}

/// The rest between two trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CooldownRecord {
    /// How long it was.
    pub rested_us: Micros,
    /// The hottest zone at its end, in thousandths of a degree Celsius. Read only where the scenario names a temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hottest_millidegrees: Option<Reading<i64>>,
}

/// One look at the floor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FloorReading {
    /// `MemAvailable`: what a new process can have. Page cache is in it.
    pub available_bytes: Reading<Bytes>,
    /// Buffers and page cache. Noted, and never part of the floor: it gives way.
    pub page_cache_bytes: Reading<Bytes>,
    /// Freed GPU memory that a board's driver keeps. It gives way, too.
    pub page_pool_bytes: Reading<Bytes>,
    /// Memory that is taken on all devices, whoever holds it.
    pub device_bytes: Reading<Bytes>,
    /// True where device memory is main memory, so that what is missing of one is missing of both.
    #[serde(default)]
    pub unified: bool,
    /// Processes that hold GPU memory of a board, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_holders: Vec<GpuHolder>,
    /// Runtimes that an earlier run started, and that still run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<LeftTarget>,
}

/// A process with GPU memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuHolder {
    /// Its name.
    pub process: String,
    /// Its number, counted by the machine.
    pub pid: u32,
    /// What it holds.
    pub bytes: Bytes,
}

/// A runtime that should have ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftTarget {
    /// Its number.
    pub pid: u32,
    /// What is resident of it.
    pub resident_bytes: Reading<Bytes>,
}

/// What stayed behind: the floor is not that of the first trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remnant {
    /// Main memory is missing.
    Memory {
        /// How much.
        bytes: Bytes,
        /// The trial after which it was missing first.
        after: String,
    },
    /// Device memory is still taken.
    Device {
        /// How much.
        bytes: Bytes,
        /// The trial after which it was taken first.
        after: String,
        /// Processes that did not hold as much of it at the first trial.
        holders: Vec<GpuHolder>,
    },
    /// A runtime of an earlier run still runs.
    Target(LeftTarget),
    /// Whether something stayed cannot be said.
    Unknown {
        /// Of what.
        what: String,
        /// Why.
        why: String,
    },
}

impl fmt::Display for Remnant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remnant::Memory { bytes, after } => {
                write!(f, "{} MiB of main memory are missing since {after}", mib(*bytes))
            }
            Remnant::Device { bytes, after, holders } => {
                write!(f, "{} MiB of device memory that {after} left", mib(*bytes))?;
                for GpuHolder { process, pid, bytes } in holders {
                    write!(f, ", of which process {pid} ({process}) holds {} MiB", mib(*bytes))?;
                }
                Ok(())
            }
            Remnant::Target(LeftTarget { pid, resident_bytes }) => match resident_bytes {
                Reading::Measured(bytes) => {
                    write!(f, "process {pid} of an earlier run still holds {} MiB", mib(*bytes))
                }
                Reading::Unavailable(_) => write!(f, "process {pid} of an earlier run still runs"),
            },
            Remnant::Unknown { what, why } => write!(f, "how much {what} is taken is not known: {why}"),
        }
    }
}
