//! What a trial was measured in: the facts by which two measurements can be held against each other, and their hash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Reading;
use crate::scenario::hex_sha256;

/// The fact that is there where a recorded machine stood for the board. Whatever its files say, nothing was measured on it.
pub const RECORDED_MACHINE: &str = "recorded";

/// The environment of a trial, as it was before the target started. The host's name is not part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentRecord {
    /// SHA-256 over the facts: names and values, and that a value is missing, without its reason.
    pub sha256: String,
    /// Name to value.
    pub facts: BTreeMap<String, Reading<String>>,
}

impl EnvironmentRecord {
    /// With the hash of `facts`.
    pub fn new(facts: BTreeMap<String, Reading<String>>) -> EnvironmentRecord {
        let mut text = String::new();
        for (name, value) in &facts {
            // Lengths keep names and values apart, whatever is in them.
            let value = value.measured();
            let mark = value.map_or_else(|| "missing".to_owned(), |value| value.len().to_string());
            text += &format!("{} {name} {mark} {}\n", name.len(), value.map_or("", String::as_str));
        }
        EnvironmentRecord { sha256: hex_sha256(text.as_bytes()), facts }
    }

    /// Facts in which `other` differs, each with both values; none where the hashes are the same.
    pub fn differences(&self, other: &EnvironmentRecord) -> Vec<String> {
        let mut names: Vec<&String> = self.facts.keys().chain(other.facts.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let value = |of: &EnvironmentRecord, name: &String| of.facts.get(name)?.measured().cloned();
        let shown = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
        let differs = |name: &String| {
            let (here, there) = (value(self, name), value(other, name));
            (here != there).then(|| format!("{name}: {} and {}", shown(here), shown(there)))
        };
        names.into_iter().filter_map(differs).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(facts: &[(&str, Option<&str>)]) -> EnvironmentRecord {
        let reading = |value: Option<&str>| match value {
            Some(value) => Reading::Measured(value.to_owned()),
            None => Reading::Unavailable("no such file".to_owned()),
        };
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), reading(*value)));
        EnvironmentRecord::new(facts.collect())
    }

    #[test]
    fn every_fact_is_in_the_hash_and_the_reason_of_a_missing_one_is_not() {
        let base = of(&[("kernel", Some("5.15")), ("power_mode", Some("15W"))]);
        let other = of(&[("kernel", Some("5.15")), ("power_mode", Some("MAXN"))]);
        assert_ne!(base.sha256, other.sha256);
        assert_eq!(base.differences(&other), ["power_mode: 15W and MAXN"]);
        let missing = of(&[("kernel", Some("5.15")), ("power_mode", None)]);
        assert_ne!(base.sha256, missing.sha256);
        assert_eq!(base.differences(&missing), ["power_mode: 15W and unknown"]);
        assert_ne!(of(&[("a", Some(""))]).sha256, of(&[("a", None)]).sha256, "empty is not missing");
        let mut reworded = missing.facts.clone();
        reworded.insert("power_mode".to_owned(), Reading::Unavailable("not permitted".to_owned()));
        assert_eq!(EnvironmentRecord::new(reworded).sha256, missing.sha256);
        assert_eq!(base.differences(&base), Vec::<String>::new());
    }
}
