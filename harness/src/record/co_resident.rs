//! What ran beside the target.

use ledger::{Bytes, Reading};
use serde::{Deserialize, Serialize};

/// Memory of one co-resident in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoResidentReading {
    /// Its name in the scenario.
    pub name: String,
    /// The kernel's high-water mark of its process tree within the phase.
    pub peak_resident_bytes: Reading<Bytes>,
    /// Resident memory of its process tree at the end of the phase.
    pub resident_bytes: Reading<Bytes>,
    /// Device memory of its process tree at the end of the phase. `None` where the machine has no GPU that counts any, and in
    /// older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_bytes: Option<Reading<Bytes>>,
}
