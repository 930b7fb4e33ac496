//! Where an engine runs: what is asked for, and what it comes to on a machine.

use std::fmt;
use std::str::FromStr;

use ledger::{Backing, Bytes, MemoryKind, PlannedBuffer};
use serde::{Deserialize, Serialize};

use crate::memory::{DEVICE_PAGE, SMALLEST_PAGED};

/// The device of a load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Device {
    /// The processors of the machine.
    #[default]
    Cpu,
    /// An NVIDIA GPU.
    Cuda {
        /// Its number, as the driver counts.
        ordinal: u32,
    },
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda { ordinal } => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// What people type. [`crate::backend::resolve`] makes a [`Device`] of it, on the machine that loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// The first GPU that can be used, and the CPU where there is none.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number.
    Cuda(u32),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.pad("auto"),
            DeviceChoice::Cpu => f.pad("cpu"),
            DeviceChoice::Cuda(0) => f.pad("cuda"),
            DeviceChoice::Cuda(ordinal) => f.pad(&format!("cuda:{ordinal}")),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        let ordinal = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(ordinal)
                .map(DeviceChoice::Cuda)
                .ok_or_else(|| "auto, cpu, cuda, or a GPU by its number, for example cuda:1".to_owned()),
        }
    }
}

/// Plans a buffer in the memory of a device. A large one has pages of its own; weights are laid out segment by segment, in
/// the pages that they have in the file.
pub(super) fn place_on_device(buffer: &mut PlannedBuffer) {
    buffer.memory = MemoryKind::Device;
    buffer.backing = Backing::Anonymous;
    if !buffer.class.is_weights() && buffer.bytes >= Bytes(SMALLEST_PAGED) {
        buffer.page = Bytes(DEVICE_PAGE);
        buffer.bytes = on_device(buffer.bytes);
    }
}

/// What a buffer of `bytes` takes on a device.
pub(super) fn on_device(bytes: Bytes) -> Bytes {
    if bytes >= Bytes(SMALLEST_PAGED) { bytes.round_up(DEVICE_PAGE) } else { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parsed_as_they_are_printed() {
        for text in ["auto", "cpu", "cuda", "cuda:1", "cuda:12"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda:0".parse(), Ok(DeviceChoice::Cuda(0)));
        for text in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda: 1", "cuda1", "cuda:4294967296"]
        {
            let refused = text.parse::<DeviceChoice>().unwrap_err();
            assert!(refused.contains("cuda:1"), "{text}: {refused}");
        }
    }

    #[test]
    fn options_without_a_device_run_on_the_cpu() {
        let options = crate::plan::RuntimeOptions::new(ledger::Tokens(64), 1);
        let mut json = serde_json::to_value(&options).unwrap();
        assert_eq!(json["device"], "cpu");
        json.as_object_mut().unwrap().remove("device");
        let read: crate::plan::RuntimeOptions = serde_json::from_value(json).unwrap();
        assert_eq!(read.device, Device::Cpu);
    }
}
