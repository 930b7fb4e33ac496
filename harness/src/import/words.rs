//! What is said of an account beside its numbers.

use std::fmt;

use ledger::{Bytes, Reading};

use super::Account;
use super::evidence::{MachineUse, Place};
use crate::number::{mib, signed_mib};

/// The file of a part that no log names: it was given on the command line.
pub const GIVEN: &str = "--part";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file.as_os_str() == GIVEN {
            true => f.write_str(GIVEN),
            false => write!(f, "{}:{}", self.file.display(), self.line),
        }
    }
}

impl Account {
    /// The account in one sentence.
    pub fn finding(&self) -> String {
        let named = mib(self.named_bytes);
        match (&self.used, &self.unexplained_bytes) {
            (Reading::Measured(used), Reading::Measured(unexplained)) => format!(
                "{} MiB are used by the machine: {named} MiB are named by the logs, {} MiB are unexplained",
                mib(used.used_bytes),
                match u64::try_from(*unexplained) {
                    Ok(bytes) => mib(Bytes(bytes)),
                    Err(_) => signed_mib(*unexplained),
                }
            ),
            _ => format!("{named} MiB are named by the logs; what the machine used is not known"),
        }
    }

    /// What the numbers mean and what they leave out, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match &self.used {
            Reading::Measured(used) => notes.push(format!(
                "Used is what all programs of the machine take of its {} MiB: the operating system is in what is unexplained.",
                mib(used.total_bytes)
            )),
            Reading::Unavailable(why) => notes.push(format!("What is unexplained is not known: {why}.")),
        }
        if let (Reading::Measured(least), Reading::Measured(used)) = (&self.least_used, &self.used) {
            notes.push(growth(least, used));
        }
        if let Reading::Measured(device) = &self.device {
            notes.push(format!(
                "Not added: {} MiB were taken of the whole device after {} ({}), whoever held them.",
                mib(device.bytes),
                device.after,
                device.place
            ));
        }
        if self.parts.iter().any(|part| part.mapped) {
            notes.push("Not added: mapped files are page cache, which does not count as used.".to_owned());
        }
        if !self.unknown_classes.is_empty() {
            let names: Vec<&str> = self.unknown_classes.iter().map(|class| class.name()).collect();
            notes.push(format!("No log speaks of {}.", names.join(", ")));
        }
        notes
    }
}

fn growth(least: &MachineUse, used: &MachineUse) -> String {
    format!(
        "At the least it was {} MiB ({}): the most is {} MiB above that.",
        mib(least.used_bytes),
        least.place,
        mib(used.used_bytes.saturating_sub(least.used_bytes))
    )
}
