//! Which cells something is for: `when`.
//!
//! A condition is total: it holds or it does not, for every cell, and nothing can go wrong when it is asked. Names and values are
//! checked when the scenario is loaded; a name that a cell does not have, in a record of another program, makes a test false.
//!
//! - `token`, `parse`: from text to tests with their places.
//! - this file: what is kept, in memory and in records, and whether it holds.

mod parse;
mod token;

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::magnitude::{is_same, magnitude};

pub(super) use parse::{Test, Written, parse};

/// Which cells something is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// All of these hold. Without any it holds for every cell.
    All(Vec<Condition>),
    /// One of these holds.
    Any(Vec<Condition>),
    /// This does not hold.
    Not(Box<Condition>),
    /// The cell has one of these values.
    OneOf {
        /// An axis, setting or build option, `model`, `target` or `cell`.
        name: String,
        /// The values, as scenario files spell them.
        values: Vec<String>,
    },
    /// The cell's value stands in this order to a bound.
    Compared {
        /// An axis, setting or build option whose values have an order.
        name: String,
        /// How its value must stand to the bound.
        order: Order,
        /// The bound, as scenario files spell it.
        bound: String,
    },
}

/// How a value stands to a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// It is smaller.
    Below,
    /// It is smaller or the same.
    AtMost,
    /// It is larger or the same.
    AtLeast,
    /// It is larger.
    Above,
}

impl Order {
    const fn sign(self) -> &'static str {
        match self {
            Order::Below => "<",
            Order::AtMost => "<=",
            Order::AtLeast => ">=",
            Order::Above => ">",
        }
    }
}

impl Default for Condition {
    /// Every cell.
    fn default() -> Condition {
        Condition::All(Vec::new())
    }
}

impl Condition {
    /// Holds where every name has its value.
    pub fn equal(pairs: impl IntoIterator<Item = (String, String)>) -> Condition {
        let mut tests: Vec<Condition> =
            pairs.into_iter().map(|(name, value)| Condition::OneOf { name, values: vec![value] }).collect();
        if tests.len() == 1 { tests.remove(0) } else { Condition::All(tests) }
    }

    /// True where it asks for nothing.
    pub fn is_every_cell(&self) -> bool {
        matches!(self, Condition::All(all) if all.is_empty())
    }

    /// Whether it holds where `value` tells the value of each name.
    pub fn holds<'v>(&self, value: &impl Fn(&str) -> Option<&'v str>) -> bool {
        match self {
            Condition::All(all) => all.iter().all(|one| one.holds(value)),
            Condition::Any(any) => any.iter().any(|one| one.holds(value)),
            Condition::Not(not) => !not.holds(value),
            Condition::OneOf { name, values } => {
                value(name).is_some_and(|own| values.iter().any(|wanted| is_same(name, own, wanted)))
            }
            Condition::Compared { name, order, bound } => {
                let own = value(name).and_then(|own| magnitude(name, own));
                own.zip(magnitude(name, bound)).is_some_and(|(own, bound)| match order {
                    Order::Below => own < bound,
                    Order::AtMost => own <= bound,
                    Order::AtLeast => own >= bound,
                    Order::Above => own > bound,
                })
            }
        }
    }

    /// Names and values, where it asks for one value of each name and for nothing else.
    fn pairs(&self) -> Option<Vec<(&str, &str)>> {
        fn one(test: &Condition) -> Option<(&str, &str)> {
            match test {
                Condition::OneOf { name, values } => match values.as_slice() {
                    [only] => Some((name, only)),
                    _ => None,
                },
                _ => None,
            }
        }
        match self {
            Condition::All(all) => all.iter().map(one).collect(),
            other => Some(vec![one(other)?]),
        }
    }
}

impl fmt::Display for Condition {
    /// As a scenario may write it; `every cell` where it asks for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// `or` binds less than `and`, and both less than `not`.
        fn write(one: &Condition, f: &mut fmt::Formatter<'_>, outer: u8) -> fmt::Result {
            let (own, tests, word) = match one {
                Condition::Any(any) => (1, any, " or "),
                Condition::All(all) => (2, all, " and "),
                Condition::Not(not) => {
                    f.write_str("not ")?;
                    return write(not, f, 3);
                }
                Condition::OneOf { name, values } => {
                    return match values.as_slice() {
                        [only] => write!(f, "{name} == {}", Quoted(only)),
                        several => {
                            let several: Vec<String> =
                                several.iter().map(|value| Quoted(value).to_string()).collect();
                            write!(f, "{name} in [{}]", several.join(", "))
                        }
                    };
                }
                Condition::Compared { name, order, bound } => {
                    return write!(f, "{name} {} {}", order.sign(), Quoted(bound));
                }
            };
            let brackets = own < outer && tests.len() > 1;
            f.write_str(if brackets { "(" } else { "" })?;
            for (at, test) in tests.iter().enumerate() {
                f.write_str(if at > 0 { word } else { "" })?;
                write(test, f, if tests.len() > 1 { own + 1 } else { outer })?;
            }
            f.write_str(if brackets { ")" } else { "" })
        }
        if self.is_every_cell() { f.write_str("every cell") } else { write(self, f, 0) }
    }
}

/// A value as an expression takes it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('\'') { '"' } else { '\'' };
        if token::is_plain(self.0) { f.write_str(self.0) } else { write!(f, "{quote}{}{quote}", self.0) }
    }
}

impl Serialize for Condition {
    /// Names and values as a list, as records always had them; anything else as a tree.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.pairs() {
            Some(pairs) => pairs.serialize(serializer),
            None => Condition::serialize(self, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Condition, D::Error> {
        struct ConditionVisitor;

        impl<'de> Visitor<'de> for ConditionVisitor {
            type Value = Condition;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names with values, or a condition")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Condition, A::Error> {
                let mut pairs: Vec<(String, String)> = Vec::new();
                while let Some(pair) = list.next_element()? {
                    pairs.push(pair);
                }
                Ok(Condition::equal(pairs))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Condition, A::Error> {
                Condition::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(ConditionVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The condition of `text`, whose names are not checked.
    fn read(text: &str) -> Condition {
        fn of(written: Written) -> Condition {
            let texts = |values: Vec<super::super::located::Located<String>>| {
                values.into_iter().map(|value| value.value).collect::<Vec<_>>()
            };
            match written {
                Written::All(all) => Condition::All(all.into_iter().map(of).collect()),
                Written::Any(any) => Condition::Any(any.into_iter().map(of).collect()),
                Written::Not(not) => Condition::Not(Box::new(of(*not))),
                Written::Test(name, test) => {
                    let name = name.value;
                    match test {
                        Test::IsOn => Condition::OneOf { name, values: vec!["true".to_owned()] },
                        Test::OneOf(values) => Condition::OneOf { name, values: texts(values) },
                        Test::NoneOf(values) => {
                            Condition::Not(Box::new(Condition::OneOf { name, values: texts(values) }))
                        }
                        Test::Compared(order, bound) => {
                            Condition::Compared { name, order, bound: bound.value }
                        }
                    }
                }
            }
        }
        of(parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    fn value(name: &str) -> Option<&'static str> {
        match name {
            "model" => Some("tiny"),
            "maxInputLen" => Some("1024"),
            "mtp" => Some("true"),
            "vocab" => Some("32k"),
            "draftVocab" => Some("full"),
            "weightStreamingBudget" => Some("1.5GiB"),
            "threads" => Some("auto"),
            _ => None,
        }
    }

    #[test]
    fn and_binds_more_than_or_and_not_most() {
        let holds = |text: &str| read(text).holds(&value);
        assert!(holds("model == tiny or model == x and mtp == false"));
        assert!(!holds("(model == tiny or model == x) and mtp == false"));
        assert!(holds("not mtp or model == tiny") && !holds("not (mtp or model == tiny)"));
        assert!(holds("not not mtp") && !holds("not mtp and model == tiny"));
        for (text, shown) in [
            ("a == 1 or b==2 and not c", "a == 1 or b == 2 and not c == true"),
            ("((a == 1) or (b == 2)) and c != 3", "(a == 1 or b == 2) and not c == 3"),
            ("not (a == 1 and b < 2)", "not (a == 1 and b < 2)"),
            ("a not in [1, 'two words', \"it's\"]", "not a in [1, 'two words', \"it's\"]"),
            ("w <= 1 GiB", "w <= 1GiB"),
        ] {
            assert_eq!(read(text).to_string(), shown);
            assert_eq!(read(shown), read(text), "what is shown can be written");
        }
        assert_eq!(Condition::default().to_string(), "every cell");
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        let holds = |text: &str| read(text).holds(&value);
        assert!(holds("vocab == 32768") && holds("vocab in [64k, 32k]") && !holds("vocab != 32k"));
        assert!(holds("vocab < full") && holds("draftVocab > 128k") && !holds("vocab > 32k"));
        assert!(holds("maxInputLen >= 1024") && holds("maxInputLen <= 1024") && !holds("maxInputLen < 1024"));
        assert!(holds("weightStreamingBudget < 1.6 GiB") && holds("weightStreamingBudget > 1_500 MiB"));
        assert!(holds("weightStreamingBudget == 1536 MiB"));
        assert!(!holds("threads < 9") && !holds("threads >= 9"), "`auto` has no place in an order");
        assert!(!holds("nosuch == 1") && holds("not nosuch == 1") && !holds("nosuch < 1"));
    }

    #[test]
    fn a_record_keeps_what_it_means_and_earlier_ones_are_read() {
        let plain = Condition::equal([("model", "tiny"), ("mtp", "true")].map(|(n, v)| (n.into(), v.into())));
        let json = |condition: &Condition| serde_json::to_string(condition).unwrap();
        assert_eq!(json(&plain), r#"[["model","tiny"],["mtp","true"]]"#);
        assert_eq!(json(&Condition::default()), "[]");
        for text in
            ["model == tiny", "not mtp", "a == 1 and (b < 2 or c in [3, 4])", "not (a == 1 and b == 2)"]
        {
            let read = read(text);
            assert_eq!(serde_json::from_str::<Condition>(&json(&read)).unwrap(), read, "{}", json(&read));
        }
        assert!(serde_json::from_str::<Condition>(r#"{"most":[]}"#).is_err());
        let deepest = format!("{}a == 1{}", "(b == 2 or c == 3 and not ".repeat(8), ")".repeat(8));
        let deepest = read(&deepest);
        assert_eq!(serde_json::from_str::<Condition>(&json(&deepest)).unwrap(), deepest);
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn words_in_any_order_are_read_or_refused(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "and", "or", "not", "in", "(", ")", "[", "]", ",", "==", "!=", "<", "<=", ">", ">=", "=", "mtp",
                    "maxInputLen", "1024", "1", "GiB", "32k", "'x y'", "\"", "é", "$", "&&",
                ]),
                0..24,
            )
        ) {
            let text = words.join(" ");
            match parse(&text) {
                Err(mistake) => {
                    let span = mistake.span;
                    prop_assert!(span.start <= span.end && text.get(span).is_some(), "{}", text);
                }
                Ok(_) => {
                    let condition = read(&text);
                    let shown = condition.to_string();
                    prop_assert_eq!(read(&shown).holds(&value), condition.holds(&value), "{} {}", text, shown);
                }
            }
        }
    }
}
