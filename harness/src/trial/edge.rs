//! What is read where a phase ends: measured memory, the target's own ledger, and what lies between the two.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes};

use crate::probe::{Conditions, Gpu, ProcessMemory, SystemMemory};
use crate::record::{ConditionsReading, EdgeReading, Reading, ResidentMemory};
use crate::target::TargetAccount;

/// What an edge is read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct EdgeProbes<'a> {
    pub(super) process: &'a ProcessMemory,
    pub(super) system: &'a SystemMemory,
    pub(super) gpu: &'a Gpu,
    pub(super) conditions: &'a Conditions,
}

impl EdgeProbes<'_> {
    /// Reads everything. `account` is what the target said a moment ago, or the reason why it did not.
    pub(super) async fn read(&self, account: &Reading<TargetAccount>) -> EdgeReading {
        // Right after the ledger, so that both speak of the same moment.
        let tree = self.process.read_now();
        let gone = || self.process.why_empty().to_owned();
        let resident =
            tree.map_or_else(|| Reading::Unavailable(gone()), |tree| Reading::Measured(tree.resident));
        let swap = tree.map_or_else(|| Reading::Unavailable(gone()), |tree| Reading::Measured(tree.swapped));
        // On another thread: it takes long enough to delay the time stamps of tokens that arrive meanwhile.
        let process = self.process.clone();
        let proportional = tokio::task::spawn_blocking(move || process.proportional()).await;
        let proportional = proportional.unwrap_or_else(|error| Reading::Unavailable(error.to_string()));
        let pids: Vec<u32> = self.process.identities().iter().map(|process| process.pid).collect();
        let conditions = read_conditions(self.conditions, pids.clone()).await;
        let device = account.measured().and_then(|account| account.device.clone());
        let told = |of: fn(&TargetAccount) -> &BTreeMap<BufferClass, Bytes>| match account {
            Reading::Measured(account) => Reading::Measured(of(account).clone()),
            Reading::Unavailable(why) => Reading::Unavailable(why.clone()),
        };
        let on_device = account.measured().filter(|account| account.device.is_none());
        EdgeReading {
            unaccounted_bytes: unaccounted(&resident, &told(|account| &account.on_host)),
            resident,
            proportional_bytes: proportional,
            by_class_bytes: told(|account| &account.by_class),
            device_class_bytes: on_device.map(|account| account.on_device.clone()).unwrap_or_default(),
            // Who runs on a device holds memory of it: not to be counted there is no zero.
            gpu_bytes: if device.is_some() { self.gpu.held_by(&pids) } else { self.gpu.used_by(&pids) },
            device,
            swap_bytes: swap,
            mem_available_bytes: self.system.available_now(),
            conditions,
        }
    }
}

/// On another thread, too: a sensor behind a slow bus must not delay anything.
async fn read_conditions(conditions: &Conditions, pids: Vec<u32>) -> ConditionsReading {
    let conditions = conditions.clone();
    tokio::task::spawn_blocking(move || conditions.read(&pids)).await.unwrap_or_default()
}

/// An edge at which nothing of the target could be read: what it left behind is seen all the same.
pub(super) async fn unreadable(why: &str, system: &SystemMemory, conditions: &Conditions) -> EdgeReading {
    EdgeReading {
        resident: Reading::Unavailable(why.to_owned()),
        proportional_bytes: Reading::Unavailable(why.to_owned()),
        by_class_bytes: Reading::Unavailable(why.to_owned()),
        unaccounted_bytes: Reading::Unavailable(why.to_owned()),
        gpu_bytes: Reading::Unavailable(why.to_owned()),
        device: None,
        device_class_bytes: BTreeMap::new(),
        swap_bytes: Reading::Unavailable(why.to_owned()),
        mem_available_bytes: system.available_now(),
        conditions: read_conditions(conditions, Vec::new()).await,
    }
}

/// Measured minus owned: with it the classes sum up to what was measured, always.
fn unaccounted(
    resident: &Reading<ResidentMemory>,
    by_class: &Reading<BTreeMap<BufferClass, Bytes>>,
) -> Reading<i64> {
    match (resident, by_class) {
        (Reading::Measured(resident), Reading::Measured(classes)) => {
            let owned: Bytes = classes
                .iter()
                .filter(|(class, _)| **class != BufferClass::Unaccounted)
                .map(|(_, bytes)| *bytes)
                .sum();
            Reading::Measured(resident.total().signed_difference(owned))
        }
        (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => Reading::Unavailable(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_the_rest_sum_up_to_what_was_measured() {
        let resident =
            ResidentMemory { anonymous_bytes: Bytes(700), file_bytes: Bytes(250), shared_bytes: Bytes(50) };
        let classes = |kv: u64| {
            let pairs = [
                (BufferClass::KvCache, Bytes(kv)),
                (BufferClass::Program, Bytes(300)),
                (BufferClass::Unaccounted, Bytes(12_345)),
            ];
            Reading::Measured(BTreeMap::from(pairs))
        };
        let measured = Reading::Measured(resident);
        assert_eq!(unaccounted(&measured, &classes(600)), Reading::Measured(100));
        assert_eq!(
            unaccounted(&measured, &classes(900)),
            Reading::Measured(-200),
            "claims must not be cut off at zero"
        );
        let silent = Reading::Unavailable("it does not say".to_owned());
        assert_eq!(unaccounted(&measured, &silent), Reading::Unavailable("it does not say".to_owned()));
    }
}
