//! All logs together.

use std::path::PathBuf;

use ledger::{BufferClass, Bytes, Reading};
use serde::{Deserialize, Serialize};

use super::FORMAT_VERSION;
use super::evidence::{Evidence, LogKind, MachineUse, Part, WholeDevice};

/// Classes of which a runtime for language models has something: where no log speaks of one, that is said.
const EXPECTED: [BufferClass; 6] = [
    BufferClass::WeightsLinear,
    BufferClass::WeightsEmbedding,
    BufferClass::KvCache,
    BufferClass::RecurrentState,
    BufferClass::PrefillWorkspace,
    BufferClass::DeviceContext,
];

/// What logs say of one machine and one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Version of this form.
    pub format_version: u32,
    /// The logs, and what they are.
    pub logs: Vec<(PathBuf, Vec<LogKind>)>,
    /// The most that the whole machine used, by all its programs.
    pub used: Reading<MachineUse>,
    /// The least, where there are several readings: what was there without the target, if the first came before it.
    pub least_used: Reading<MachineUse>,
    /// Parts that have an owner, the largest first.
    pub parts: Vec<Part>,
    /// Their sum, mapped files left out.
    pub named_bytes: Bytes,
    /// Used less named, with its sign: the operating system and other programs are in it.
    pub unexplained_bytes: Reading<i64>,
    /// Classes that no log speaks of.
    pub unknown_classes: Vec<BufferClass>,
    /// The most that was taken of a device, whoever held it. Not added: it has the parts in it.
    pub device: Reading<WholeDevice>,
}

impl Account {
    /// Puts together what the logs say.
    pub fn of(logs: Vec<(PathBuf, Vec<LogKind>, Evidence)>) -> Account {
        let machine = || logs.iter().flat_map(|(_, _, evidence)| &evidence.machine);
        let silent = "no log says what the machine used; `free -m` and tegrastats do";
        let used = machine().max_by_key(|reading| reading.used_bytes).cloned();
        let used = used.map_or_else(|| Reading::Unavailable(silent.to_owned()), Reading::Measured);
        let least_used = machine().min_by_key(|reading| reading.used_bytes).filter(|_| machine().count() > 1);
        let alone = || Reading::Unavailable("there are not two readings".to_owned());
        let mut parts: Vec<Part> = logs.iter().flat_map(|(_, _, evidence)| evidence.parts.clone()).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        // No sum of a log is so large, and the difference below stays one.
        let named =
            parts.iter().filter(|part| !part.mapped).map(|part| part.bytes.0).fold(0, u64::saturating_add);
        let named_bytes = Bytes(named.min(i64::MAX as u64));
        let devices = logs.iter().flat_map(|(_, _, evidence)| &evidence.devices);
        let device = devices.max_by_key(|device| device.bytes).cloned();
        let is_unknown = |class: &BufferClass| !parts.iter().any(|part| part.class == *class);
        Account {
            format_version: FORMAT_VERSION,
            unexplained_bytes: used.clone().map(|used| used.used_bytes.signed_difference(named_bytes)),
            used,
            least_used: least_used.cloned().map_or_else(alone, Reading::Measured),
            named_bytes,
            unknown_classes: EXPECTED.into_iter().filter(is_unknown).collect(),
            parts,
            device: device.map_or_else(
                || Reading::Unavailable("no log says what is taken of a device".to_owned()),
                Reading::Measured,
            ),
            logs: logs.into_iter().map(|(path, kinds, _)| (path, kinds)).collect(),
        }
    }
}
