//! Declared bytes, buffer by buffer. They follow from model and options, so that any growth is one.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes};

use super::comparison::{BufferChange, DeclaredChange};

/// What shrinks by less is no improvement that a baseline should be made again for.
pub(super) const GRANULE: Bytes = Bytes(ledger::plan::PAGE);

/// Every buffer whose bytes changed, the largest growth first. A buffer that is gone and a new one of its class and size are
/// one buffer under a new name, and no change.
pub(crate) fn changes(
    before: &BTreeMap<String, Bytes>,
    after: &BTreeMap<String, Bytes>,
) -> Vec<BufferChange> {
    let mut gone: Vec<(&String, Bytes)> = before
        .iter()
        .filter(|(key, _)| !after.contains_key(*key))
        .map(|(key, bytes)| (key, *bytes))
        .collect();
    let mut changes: Vec<BufferChange> = Vec::new();
    for (key, bytes) in after {
        let was = before.get(key).copied();
        if was == Some(*bytes) {
            continue;
        }
        let renamed = |(old, size): &(&String, Bytes)| *size == *bytes && owner_of(old) == owner_of(key);
        if was.is_none()
            && let Some(at) = gone.iter().position(renamed)
        {
            gone.remove(at);
            continue;
        }
        changes.push(change(key, was, Some(*bytes)));
    }
    changes.extend(gone.into_iter().map(|(key, bytes)| change(key, Some(bytes), None)));
    changes.sort_by(|one, other| {
        other.growth_bytes().cmp(&one.growth_bytes()).then_with(|| one.buffer.cmp(&other.buffer))
    });
    changes
}

/// The sums, where both sides declare something.
pub(super) fn total(
    before: &BTreeMap<String, Bytes>,
    after: &BTreeMap<String, Bytes>,
) -> Option<DeclaredChange> {
    let sum = |side: &BTreeMap<String, Bytes>| side.values().copied().sum();
    (!before.is_empty() && !after.is_empty())
        .then(|| DeclaredChange { before_bytes: sum(before), after_bytes: sum(after) })
}

fn change(key: &str, before_bytes: Option<Bytes>, after_bytes: Option<Bytes>) -> BufferChange {
    let class = class_of(key);
    BufferChange { buffer: key.to_owned(), class, before_bytes, after_bytes, allowed_by: None }
}

/// The class of a ledger's key. One that this program does not know is owned by nobody that it could name.
pub(crate) fn class_of(key: &str) -> BufferClass {
    owner_of(key).1.parse().unwrap_or(BufferClass::Unaccounted)
}

/// Role and class of a ledger's key.
fn owner_of(key: &str) -> (&str, &str) {
    let mut parts = key.splitn(3, '/');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers(of: &[(&str, u64)]) -> BTreeMap<String, Bytes> {
        of.iter().map(|(key, bytes)| ((*key).to_owned(), Bytes(*bytes))).collect()
    }

    #[test]
    fn a_byte_is_a_change_and_a_new_name_is_none() {
        let before = buffers(&[
            ("target/kv_cache/kv", 100),
            ("target/logits/row", 7),
            ("target/rollback/old", 50),
            ("target/rope/angles", 9),
        ]);
        let after = buffers(&[
            ("target/kv_cache/kv", 101),
            ("target/logits/row", 5),
            ("target/rollback/new", 50),
            ("draft/rope/angles", 9),
        ]);
        let found = changes(&before, &after);
        let said: Vec<(&str, i64)> =
            found.iter().map(|change| (change.buffer.as_str(), change.growth_bytes())).collect();
        assert_eq!(
            said,
            [
                ("draft/rope/angles", 9),
                ("target/kv_cache/kv", 1),
                ("target/logits/row", -2),
                ("target/rope/angles", -9),
            ],
            "another role is another owner"
        );
        assert_eq!(found[0].class, BufferClass::Rope);
        assert_eq!(changes(&before, &before), []);
    }
}
