//! Sensor chips under `/sys/class/hwmon`. Their numbers change from boot to boot, their names do not.

use crate::probe::root::{ReadError, SystemRoot};

const FOLDER: &str = "/sys/class/hwmon";

/// A chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chip {
    /// What its driver calls it, for example `ina3221`.
    pub(super) name: String,
    /// Its folder.
    pub(super) folder: String,
}

/// Every chip of one of these names, in the order of their numbers.
pub(super) fn chips(root: &SystemRoot, names: &[&str]) -> Result<Vec<Chip>, ReadError> {
    let folders = root.list(FOLDER)?.into_iter().map(|entry| format!("{FOLDER}/{entry}"));
    let chip = |folder: String| Some(Chip { name: root.text(&format!("{folder}/name")).ok()?, folder });
    Ok(folders.filter_map(chip).filter(|chip| names.contains(&chip.name.as_str())).collect())
}
