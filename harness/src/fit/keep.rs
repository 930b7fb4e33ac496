//! What must be kept: `KNOB>=N`, `KNOB<=N` or `KNOB=VALUE`, checked like the values of a scenario.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::scenario::{BuildOptions, Expected, SettingsDraft, closest, magnitude};

/// How a value stands to the one that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is larger or the same.
    AtLeast,
    /// It is smaller or the same.
    AtMost,
    /// It is the same.
    Is,
}

/// One demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The setting or build option, as scenario files spell it.
    pub knob: &'static str,
    /// How its value stands to `value`.
    pub relation: Relation,
    /// The value, as scenario files spell it.
    pub value: String,
}

/// Why a demand cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// There is no relation in it.
    #[error(
        "`{0}` says nothing to keep: write KNOB>=N, KNOB<=N or KNOB=VALUE, for example maxInputLen>=4096"
    )]
    Form(String),
    /// No such knob.
    #[error("there is no setting or build option `{knob}`; {hint}")]
    UnknownKnob {
        /// What was typed.
        knob: String,
        /// The one that was probably meant, or all of them.
        hint: String,
    },
    /// The knob does not take the value.
    #[error("`{knob}` cannot be `{value}`: it takes {expected}")]
    Value {
        /// The knob.
        knob: &'static str,
        /// What was typed.
        value: String,
        /// What it takes.
        expected: String,
    },
    /// More or less of something that has no order.
    #[error("`{0}` has no larger and smaller values: write {0}=VALUE")]
    Unordered(&'static str),
    /// Demands that no value meets together.
    #[error("nothing is left of `{knob}`: no value meets {demands}")]
    Contradiction {
        /// The knob.
        knob: &'static str,
        /// All that was demanded of it.
        demands: String,
    },
    /// An engine is built already.
    #[error(
        "`{0}` is decided when an engine is built; leave it out, or name the checkpoint instead of the engine"
    )]
    Built(&'static str),
}

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Keep, KeepError> {
        let relations = [(">=", Relation::AtLeast), ("<=", Relation::AtMost), ("=", Relation::Is)];
        let split = relations.iter().find_map(|(sign, relation)| {
            text.split_once(sign).map(|(knob, value)| (knob.trim(), *relation, value.trim()))
        });
        let Some((typed, relation, value)) = split else { return Err(KeepError::Form(text.to_owned())) };
        let knob = known().find(|name| *name == typed).ok_or_else(|| unknown(typed))?;
        let set =
            SettingsDraft::default().set(knob, value).or_else(|| BuildOptions::default().set(knob, value));
        if let Some(Err(Expected(expected))) = set {
            return Err(KeepError::Value { knob, value: value.to_owned(), expected });
        }
        if relation != Relation::Is && magnitude(knob, value).is_none() {
            return Err(KeepError::Unordered(knob));
        }
        Ok(Keep { knob, relation, value: value.to_owned() })
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.relation {
            Relation::AtLeast => ">=",
            Relation::AtMost => "<=",
            Relation::Is => "=",
        };
        write!(f, "{}{sign}{}", self.knob, self.value)
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Keep {
    /// True where `value` of the same knob meets the demand.
    pub fn allows(&self, value: &str) -> bool {
        let order = magnitude(self.knob, value).zip(magnitude(self.knob, &self.value));
        match (self.relation, order) {
            (Relation::AtLeast, Some((value, bound))) => value >= bound,
            (Relation::AtMost, Some((value, bound))) => value <= bound,
            (Relation::Is, Some((value, bound))) => value == bound,
            (Relation::Is, None) => value == self.value,
            (_, None) => false,
        }
    }
}

/// Every name that can be kept.
fn known() -> impl Iterator<Item = &'static str> {
    SettingsDraft::NAMES.into_iter().chain(BuildOptions::NAMES)
}

fn unknown(typed: &str) -> KeepError {
    let names: Vec<&str> = known().collect();
    let hint = match closest(typed, &names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", names.join(", ")),
    };
    KeepError::UnknownKnob { knob: typed.to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        text.parse::<Keep>().map_or_else(|error| error.to_string(), |keep| keep.to_string())
    }

    #[test]
    fn demands_are_read_and_written_alike() {
        for text in
            ["maxInputLen>=4096", "mtp=true", "vocab<=64k", "weightStreamingBudget<=1GiB", "lmHead=int4"]
        {
            assert_eq!(said(text), text);
        }
        assert_eq!(said("maxInputLen >= 4096"), "maxInputLen>=4096");
    }

    #[test]
    fn mistakes_say_what_to_write_instead() {
        assert!(said("maxInputLength>=4").contains("did you mean `maxInputLen`?"));
        assert!(said("colour=red").contains("known here: maxInputLen, "));
        assert!(said("maxInputLen>=4 MiB").contains("it takes a number of tokens"));
        assert!(said("mtp=yes").contains("it takes true or false"));
        assert!(said("lmHead>=int4").contains("write lmHead=VALUE"));
        assert!(said("maxInputLen").contains("write KNOB>=N"));
        assert!(said("maxInputLen>4096").contains("write KNOB>=N"));
    }

    #[test]
    fn rows_and_sizes_have_an_order() {
        let keep = |text: &str| text.parse::<Keep>().expect("valid");
        assert!(keep("vocab>=64k").allows("full") && !keep("vocab>=64k").allows("32k"));
        assert!(keep("vocab=64k").allows("65536"));
        assert!(keep("weightStreamingBudget<=1GiB").allows("min"));
        assert!(!keep("weightStreamingBudget<=1GiB").allows("unset"));
    }
}
