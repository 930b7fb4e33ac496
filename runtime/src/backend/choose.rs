//! Which device a word means on this machine.

use super::cuda;
use crate::plan::{Device, DeviceChoice};

/// A GPU that was asked for and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cuda:{ordinal} cannot be used: {reason}; choose another device, for example cpu")]
pub struct NoDevice {
    /// The GPU's number.
    pub ordinal: u32,
    /// Why not.
    pub reason: String,
}

/// The device that `choice` means here. `auto` is the first GPU if it can be used, else the CPU.
///
/// # Errors
/// When a GPU that was asked for by name cannot be used.
pub fn resolve(choice: DeviceChoice) -> Result<Device, NoDevice> {
    resolve_with(choice, cuda::probe)
}

/// The device that a plan for `choice` is made for. A GPU that is named need not be here: a plan is arithmetic.
pub fn planned(choice: DeviceChoice) -> Device {
    match choice {
        DeviceChoice::Cpu => Device::Cpu,
        DeviceChoice::Auto => resolve(choice).unwrap_or_default(),
        DeviceChoice::Cuda(ordinal) => Device::Cuda { ordinal },
    }
}

fn resolve_with(choice: DeviceChoice, probe: impl Fn(u32) -> Result<(), String>) -> Result<Device, NoDevice> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto => match probe(0) {
            Ok(()) => Ok(Device::Cuda { ordinal: 0 }),
            Err(_) => Ok(Device::Cpu),
        },
        DeviceChoice::Cuda(ordinal) => match probe(ordinal) {
            Ok(()) => Ok(Device::Cuda { ordinal }),
            Err(reason) => Err(NoDevice { ordinal, reason }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gpu_is_taken_where_it_can_be_and_a_named_one_must_be() {
        let usable = |ordinal| if ordinal < 2 { Ok(()) } else { Err("there are 2".to_owned()) };
        let none = |_| Err("no driver".to_owned());
        let resolve = |choice: &str, machine: &dyn Fn(u32) -> Result<(), String>| {
            resolve_with(choice.parse().unwrap(), machine)
        };
        assert_eq!(resolve("auto", &usable), Ok(Device::Cuda { ordinal: 0 }));
        assert_eq!(resolve("auto", &none), Ok(Device::Cpu));
        assert_eq!(resolve("cpu", &usable), Ok(Device::Cpu));
        assert_eq!(resolve("cuda:1", &usable), Ok(Device::Cuda { ordinal: 1 }));
        let refused = resolve("cuda:2", &usable).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cuda:2 cannot be used: there are 2; choose another device, for example cpu"
        );
        assert!(resolve("cuda", &none).unwrap_err().to_string().contains("no driver"));
        assert_eq!(planned(DeviceChoice::Cuda(9)), Device::Cuda { ordinal: 9 });
        assert_eq!(planned(DeviceChoice::Cpu), Device::Cpu);
    }

    /// Whatever this machine has, asking is an answer.
    #[test]
    fn asking_never_panics() {
        assert!(resolve_with(DeviceChoice::Auto, cuda::probe).is_ok());
        let refused = resolve(DeviceChoice::Cuda(u32::MAX)).unwrap_err();
        assert!(!refused.reason.is_empty());
    }
}
