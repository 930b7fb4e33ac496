//! The values that are tried, knob by knob, once everything that must be kept is taken into account.

use super::keep::{Keep, KeepError, Relation};
use crate::scenario::{KvCacheType, LmHead};

/// A knob that the search turns.
struct Knob {
    name: &'static str,
    /// Tried unless something else is demanded, in the order of preference.
    usual: Vec<String>,
    /// Tried only where a demand rules out every usual value, in the order of preference.
    reserve: Vec<String>,
}

/// The values of every knob, and what was demanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes {
    turned: Vec<(&'static str, Vec<String>)>,
    fixed: Vec<(&'static str, String)>,
    keeps: Vec<Keep>,
}

fn words(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Lengths go up to what the models of this program are used with on a board; a demand may ask for more. Batches and larger
/// prefill chunks must be asked for: they cost memory and save nothing. So must another draft vocabulary, which moves a tenth of a MiB.
fn knobs() -> Vec<Knob> {
    let knob =
        |name, usual: &[&str], reserve: &[&str]| Knob { name, usual: words(usual), reserve: words(reserve) };
    let names = |names: Vec<&str>| words(&names);
    vec![
        Knob {
            name: "lmHead",
            usual: names(LmHead::ALL.iter().map(|it| it.name()).collect()),
            reserve: vec![],
        },
        knob("vocab", &["full", "128k", "64k", "32k"], &[]),
        Knob {
            name: "kvCacheType",
            usual: names(KvCacheType::ALL.iter().map(|it| it.name()).collect()),
            reserve: vec![],
        },
        knob("weightStreamingBudget", &["unset", "min"], &[]),
        knob("mtp", &["false", "true"], &[]),
        knob("maxVerifyTreeSize", &["2", "3", "4", "5", "6", "7", "8"], &[]),
        knob("draftVocab", &["32k"], &["16k", "8k", "full"]),
        knob("maxInputLen", &["4096", "8192", "16384", "32768"], &["2048", "1024"]),
        knob("gdnPrefillMaxSeq", &["256", "128", "64"], &["512", "1024"]),
        knob("maxBatchSize", &["1"], &["2", "4", "8"]),
    ]
}

impl Axes {
    /// The values that meet every demand of `keeps`; knobs that the search does not turn stand where they are put.
    ///
    /// # Errors
    /// When no value of a knob meets all that is demanded of it.
    pub fn of(keeps: &[Keep]) -> Result<Axes, KeepError> {
        let demands_of = |name| keeps.iter().filter(move |keep| keep.knob == name).collect::<Vec<&Keep>>();
        let knobs = knobs();
        let mut axes = Axes { turned: Vec::new(), fixed: Vec::new(), keeps: keeps.to_vec() };
        for knob in &knobs {
            axes.turned.push((knob.name, left(knob, &demands_of(knob.name))?));
        }
        // The capacity follows from the length of prompts, within its demands.
        let others = keeps.iter().filter(|keep| keep.knob != "maxKVCacheCapacity");
        for keep in others.filter(|keep| knobs.iter().all(|knob| knob.name != keep.knob)) {
            let demands = demands_of(keep.knob);
            match demands.iter().find(|keep| keep.relation == Relation::Is) {
                Some(named) if demands.iter().all(|keep| keep.allows(&named.value)) => {
                    axes.fixed.push((named.knob, named.value.clone()));
                }
                _ => return Err(contradiction(keep.knob, &demands)),
            }
        }
        Ok(axes)
    }

    /// The values of a knob that the search turns, in the order of preference.
    pub fn values(&self, knob: &str) -> &[String] {
        self.turned.iter().find(|(name, _)| *name == knob).map_or(&[], |(_, values)| values)
    }

    /// Knobs that the search does not turn, where they were put.
    pub fn fixed(&self) -> &[(&'static str, String)] {
        &self.fixed
    }

    /// What was demanded.
    pub fn keeps(&self) -> &[Keep] {
        &self.keeps
    }

    /// True where `value` meets all that is demanded of `knob`.
    pub fn allows(&self, knob: &str, value: &str) -> bool {
        self.keeps.iter().filter(|keep| keep.knob == knob).all(|keep| keep.allows(value))
    }
}

/// What is left of a knob. A bound that was named is a value, too.
fn left(knob: &Knob, demands: &[&Keep]) -> Result<Vec<String>, KeepError> {
    let allowed = |value: &String| demands.iter().all(|keep| keep.allows(value));
    let named = demands.iter().map(|keep| keep.value.clone());
    let mut values: Vec<String> = knob.usual.iter().filter(|value| allowed(value)).cloned().collect();
    let add = |value: String, values: &mut Vec<String>| {
        let same = |known: &String| {
            Keep { knob: knob.name, relation: Relation::Is, value: value.clone() }.allows(known)
        };
        if allowed(&value) && !values.iter().any(same) {
            values.push(value);
        }
    };
    if values.is_empty() || knob.name == "maxInputLen" || knob.name == "vocab" {
        named.for_each(|value| add(value, &mut values));
    }
    if !knob.usual.iter().any(allowed) {
        knob.reserve.iter().for_each(|value| add(value.clone(), &mut values));
    }
    if values.is_empty() { Err(contradiction(knob.name, demands)) } else { Ok(values) }
}

fn contradiction(knob: &'static str, demands: &[&Keep]) -> KeepError {
    let demands: Vec<String> = demands.iter().map(ToString::to_string).collect();
    KeepError::Contradiction { knob, demands: demands.join(" and ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(keeps: &[&str], knob: &str) -> Result<String, KeepError> {
        let keeps: Vec<Keep> = keeps.iter().map(|keep| keep.parse().expect("valid")).collect();
        Axes::of(&keeps).map(|axes| axes.values(knob).join(" "))
    }

    #[test]
    fn a_demand_leaves_what_meets_it_and_is_a_value_itself() {
        assert_eq!(values(&[], "maxInputLen").as_deref(), Ok("4096 8192 16384 32768"));
        assert_eq!(values(&["maxInputLen>=6000"], "maxInputLen").as_deref(), Ok("8192 16384 32768 6000"));
        assert_eq!(values(&["maxInputLen<=2000"], "maxInputLen").as_deref(), Ok("2000 1024"));
        assert_eq!(values(&["vocab<=64k"], "vocab").as_deref(), Ok("64k 32k"));
        assert_eq!(values(&["gdnPrefillMaxSeq>=512"], "gdnPrefillMaxSeq").as_deref(), Ok("512 1024"));
        assert_eq!(values(&["maxBatchSize>=3"], "maxBatchSize").as_deref(), Ok("3 4 8"));
        assert_eq!(values(&["weightStreamingBudget=1GiB"], "weightStreamingBudget").as_deref(), Ok("1GiB"));
    }

    #[test]
    fn every_value_of_a_type_is_tried() {
        assert_eq!(values(&[], "lmHead").map(|it| it.split(' ').count()), Ok(LmHead::ALL.len()));
        assert_eq!(values(&[], "kvCacheType").map(|it| it.split(' ').count()), Ok(KvCacheType::ALL.len()));
    }

    #[test]
    fn demands_that_rule_each_other_out_are_named() {
        let said = |keeps: &[&str]| values(keeps, "lmHead").expect_err("a contradiction").to_string();
        assert_eq!(
            said(&["lmHead=int8", "lmHead=int4"]),
            "nothing is left of `lmHead`: no value meets lmHead=int8 and lmHead=int4"
        );
        assert!(said(&["maxInputLen>=8192", "maxInputLen<=4096"]).contains("maxInputLen<=4096"));
        assert!(said(&["threads=1", "threads=2"]).contains("threads=1 and threads=2"));
    }
}
