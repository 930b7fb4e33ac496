//! The buffers of a trial: what the plan expects of each, and what the ledger saw. Those that differ in their layer or
//! their sequence only are one group.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes, LedgerEntry, Lifetime, PlannedBuffer, Role};

use super::evidence;
use crate::record::TrialRecord;

/// Buffers of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct BufferGroup<'a> {
    /// Target or draft.
    pub role: Role,
    /// What they are for.
    pub class: BufferClass,
    /// Their name, with a star for the layer's number: `model.layers.*.mlp.gate_proj.weight`.
    pub name: String,
    /// How many there are.
    pub count: usize,
    /// The first of them in the plan; `None` where nobody planned them.
    pub planned: Option<&'a PlannedBuffer>,
    /// What the plan expects of all of them together: of the sizes that it allows, the one closest to what was measured.
    pub expected: Bytes,
    /// The most that each ever held, together. `None` where the target gave no ledger.
    pub measured: Option<Bytes>,
}

impl BufferGroup<'_> {
    /// By how much more was held than expected.
    pub fn over_plan(&self) -> Option<i64> {
        Some(self.measured?.signed_difference(self.expected))
    }

    /// What was held, else what is expected.
    pub fn bytes(&self) -> Bytes {
        self.measured.unwrap_or(self.expected)
    }

    /// Bytes that each further token takes, and of what it is a token. `None` for buffers of one size.
    pub fn slope(&self) -> Option<(Bytes, &'static str)> {
        let planned = self.planned?;
        let growth = planned.growth.filter(|growth| growth.tokens.0 > 0)?;
        let each = growth.bytes.0.saturating_mul(self.count as u64) / u64::from(growth.tokens.0);
        let of = match planned.lifetime {
            Lifetime::PerPrefillChunk => "token of a chunk",
            Lifetime::PerStep => "token of a step",
            Lifetime::Resident | Lifetime::PerSequence => "token of context",
        };
        Some((Bytes(each), of))
    }
}

/// What tells one group from another.
type Key<'a> = (Role, BufferClass, String, Bytes, &'a [u64]);

/// Every group of buffers of `trial`, the largest first; groups of one size in the order of the plan, unplanned ones last.
pub fn buffer_groups(trial: &TrialRecord) -> Vec<BufferGroup<'_>> {
    let ledger = trial.ledger.measured();
    let mut entries: BTreeMap<&str, &LedgerEntry> = ledger
        .into_iter()
        .flat_map(|ledger| &ledger.entries)
        .map(|entry| (entry.key.as_str(), entry))
        .collect();
    let mut groups: Vec<BufferGroup<'_>> = Vec::new();
    let mut places: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    for buffer in trial.plan.iter().flat_map(|plan| &plan.buffers) {
        let name = without_layer(&buffer.name, buffer.layer);
        let key = (buffer.role, buffer.class, name.clone(), buffer.bytes, buffer.shape.as_slice());
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(BufferGroup {
                role: buffer.role,
                class: buffer.class,
                name,
                count: 0,
                planned: Some(buffer),
                expected: Bytes::ZERO,
                measured: ledger.map(|_| Bytes::ZERO),
            });
            groups.len() - 1
        });
        let held = entries.remove(buffer.key().as_str()).map_or(Bytes::ZERO, |entry| entry.peak);
        let allowed = evidence::planned_range(trial, buffer);
        let group = &mut groups[place];
        group.count += 1;
        group.expected += match ledger {
            Some(_) => held.clamp(*allowed.start(), *allowed.end()),
            None => *allowed.end(),
        };
        group.measured = group.measured.map(|measured| measured + held);
    }
    for entry in entries.into_values() {
        let name = group_name(&entry.key);
        let is_same = |group: &&mut BufferGroup<'_>| {
            group.planned.is_none()
                && (group.role, group.class, group.name.as_str()) == (entry.role, entry.class, name.as_str())
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => {
                group.count += 1;
                group.measured = group.measured.map(|measured| measured + entry.peak);
            }
            None => groups.push(BufferGroup {
                role: entry.role,
                class: entry.class,
                name,
                count: 1,
                planned: None,
                expected: Bytes::ZERO,
                measured: Some(entry.peak),
            }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.bytes()));
    groups
}

/// The name of the group that the buffer with the ledger's key `key` is in: `target/kv_cache/3/keys#1` is one of `keys`.
pub fn group_name(key: &str) -> String {
    // Role and class.
    let name = key.splitn(3, '/').nth(2).unwrap_or(key);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let (layer, name) = match name.split_once('/') {
        Some((layer, name)) if is_number(layer) => (layer.parse().ok(), name),
        _ => (None, name),
    };
    let name = match name.rsplit_once('#') {
        Some((name, sequence)) if is_number(sequence) => name,
        _ => name,
    };
    without_layer(name, layer)
}

/// The name with the layer's number replaced.
fn without_layer(name: &str, layer: Option<u32>) -> String {
    let Some(layer) = layer else { return name.to_owned() };
    let number = layer.to_string();
    let parts = name.split('.').map(|part| if part == number { "*" } else { part });
    parts.collect::<Vec<&str>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_its_group() {
        for (key, name) in [
            ("target/rollback/3/updates", "updates"),
            ("draft/kv_cache/0/keys#12", "keys"),
            (
                "target/weights.linear/7/model.layers.7.mlp.up_proj.weight",
                "model.layers.*.mlp.up_proj.weight",
            ),
            ("target/logits/scores", "scores"),
            ("odd", "odd"),
        ] {
            assert_eq!(group_name(key), name);
        }
    }
}
