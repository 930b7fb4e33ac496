//! Which machine this is: for people and for records. Nothing is decided by it.

use serde::Serialize;

use crate::probe::Reading;
use crate::probe::root::{SystemRoot, reading};

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Board {
    /// The device tree's model, or what the firmware calls the machine.
    pub model: Reading<String>,
    /// Jetson Linux, for example `36.4.3` (`/etc/nv_tegra_release`).
    pub l4t: Reading<String>,
    /// The kernel's release (`/proc/sys/kernel/osrelease`).
    pub kernel: Reading<String>,
    /// The CUDA toolkit (`/usr/local/cuda/version.json`).
    pub cuda: Reading<String>,
}

impl Board {
    /// Reads it.
    pub fn read(root: &SystemRoot) -> Board {
        let device_tree = root.text("/proc/device-tree/model");
        let model = device_tree.or_else(|_| root.text("/sys/class/dmi/id/product_name"));
        Board {
            model: reading(model),
            l4t: l4t(root),
            kernel: reading(root.text("/proc/sys/kernel/osrelease")),
            cuda: cuda(root),
        }
    }
}

fn l4t(root: &SystemRoot) -> Reading<String> {
    let path = "/etc/nv_tegra_release";
    match root.text(path) {
        Ok(text) => parse_release(&text)
            .map_or_else(|| Reading::Unavailable(format!("{path} names no release")), Reading::Measured),
        Err(error) => Reading::Unavailable(error.to_string()),
    }
}

/// `# R36 (release), REVISION: 4.3, GCID: …`.
fn parse_release(text: &str) -> Option<String> {
    let line = text.lines().next()?;
    let major = line.strip_prefix("# R")?.split(|c: char| !c.is_ascii_digit()).next()?;
    let revision = line.split("REVISION: ").nth(1)?.split(',').next()?.trim();
    let numbers =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (numbers(major) && numbers(revision)).then(|| format!("{major}.{revision}"))
}

fn cuda(root: &SystemRoot) -> Reading<String> {
    let path = "/usr/local/cuda/version.json";
    let text = match root.text(path) {
        Ok(text) => text,
        Err(error) => return Reading::Unavailable(error.to_string()),
    };
    let version = serde_json::from_str::<serde_json::Value>(&text).ok();
    let version = version.as_ref().and_then(|file| file.get("cuda")?.get("version")?.as_str());
    version.map_or_else(
        || Reading::Unavailable(format!("{path} names no version")),
        |version| Reading::Measured(version.to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_orin_and_thor() {
        let orin = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n";
        assert_eq!(parse_release(orin).as_deref(), Some("36.4.3"));
        assert_eq!(
            parse_release("# R38 (release), REVISION: 2.2, GCID: 42205042").as_deref(),
            Some("38.2.2")
        );
        for text in ["", "R36", "# R (release), REVISION: 4.3,", "# R36 (release), REVISION: ,"] {
            assert_eq!(parse_release(text), None, "{text}");
        }
    }
}
