//! `when`: its names are known, its values are values of these names, and what is compared has an order.

use std::ops::Range;

use super::super::condition::{Condition, Test, Written, parse};
use super::super::diagnostic::Diagnostic;
use super::super::file::{Include, Scalar, ScenarioFile, WhenFile};
use super::super::located::Located;
use super::super::magnitude::{has_order, is_same, magnitude};
use super::Mistakes;
use super::axes::{CheckedAxes, check_value, value_names};

/// Which names a `when` may use.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum WhenNames {
    /// Axes.
    AxesOnly,
    /// Any setting and build option, too, and `cell`, the name of one.
    Everything,
}

/// What a name in a `when` must be one of, and what its values are.
pub(super) struct Names<'a> {
    pub(super) file: &'a ScenarioFile,
    pub(super) axes: &'a CheckedAxes,
    pub(super) which: WhenNames,
}

impl Names<'_> {
    /// The meaning of `when`.
    pub(super) fn condition(&self, when: &Located<WhenFile>, mistakes: &mut Mistakes) -> Condition {
        match &when.value {
            WhenFile::Equal(entries) => {
                if entries.0.is_empty() {
                    mistakes.push(Diagnostic::new(
                        "`when` is empty and would match every cell",
                        when.span.clone(),
                    ));
                }
                for (name, value) in &entries.0 {
                    if self.check_name(name, mistakes) {
                        self.check_equal(name, value, mistakes);
                    }
                }
                let pairs = entries.0.iter().map(|(name, value)| (name.value.clone(), value.0.clone()));
                Condition::equal(pairs)
            }
            WhenFile::Expression(text) => {
                let in_file = |span: Range<usize>| place(&when.span, text, span);
                match parse(text) {
                    Ok(written) => self.meaning(&written, &in_file, mistakes),
                    Err(mistake) => {
                        let span = in_file(mistake.span.clone());
                        mistakes.push(Diagnostic { span, ..mistake });
                        Condition::default()
                    }
                }
            }
        }
    }

    fn meaning(
        &self,
        written: &Written,
        in_file: &impl Fn(Range<usize>) -> Range<usize>,
        mistakes: &mut Mistakes,
    ) -> Condition {
        let mut of = |several: &[Written]| -> Vec<Condition> {
            several.iter().map(|one| self.meaning(one, in_file, mistakes)).collect()
        };
        let (name, test) = match written {
            Written::All(all) => return Condition::All(of(all)),
            Written::Any(any) => return Condition::Any(of(any)),
            Written::Not(not) => return Condition::Not(Box::new(self.meaning(not, in_file, mistakes))),
            Written::Test(name, test) => (name, test),
        };
        let name = Located { value: name.value.clone(), span: in_file(name.span.clone()) };
        let placed = |value: &Located<String>| Located {
            value: Scalar(value.value.clone()),
            span: in_file(value.span.clone()),
        };
        let known = self.check_name(&name, mistakes);
        let texts = |values: &[Located<String>]| values.iter().map(|value| value.value.clone()).collect();
        if let (true, Test::OneOf(values) | Test::NoneOf(values)) = (known, test) {
            for value in values {
                self.check_equal(&name, &placed(value), mistakes);
            }
        }
        let name_text = name.value.clone();
        match test {
            Test::IsOn => {
                if known && name.value != "mtp" {
                    let message = format!("`{}` alone is neither true nor false", name.value);
                    let example = if has_order(&name) { ">= VALUE" } else { "== VALUE" };
                    mistakes.push(
                        Diagnostic::new(message, name.span.clone())
                            .hint(format!("compare it: `{} {example}`", name.value)),
                    );
                }
                Condition::OneOf { name: name_text, values: vec!["true".to_owned()] }
            }
            Test::OneOf(values) => Condition::OneOf { name: name_text, values: texts(values) },
            Test::NoneOf(values) => {
                Condition::Not(Box::new(Condition::OneOf { name: name_text, values: texts(values) }))
            }
            Test::Compared(order, bound) => {
                if known {
                    self.check_bound(&name, &placed(bound), mistakes);
                }
                Condition::Compared { name: name_text, order: *order, bound: bound.value.clone() }
            }
        }
    }

    /// True where the name may stand in this `when`.
    fn check_name(&self, name: &Located<String>, mistakes: &mut Mistakes) -> bool {
        let is_axis = self.axes.all().any(|(axis, _)| *axis == name.value);
        let is_other = || name.value == "cell" || value_names().any(|known| known == name.value);
        if is_axis || (self.which == WhenNames::Everything && is_other()) {
            return true;
        }
        let mut known: Vec<&str> = self.axes.all().map(|(axis, _)| axis.as_str()).collect();
        if self.which == WhenNames::Everything {
            value_names().chain(["cell"]).for_each(|name| known.push(name));
        }
        mistakes.push(
            Diagnostic::new(format!("there is no axis `{}`", name.value), name.span.clone())
                .suggest(name, known),
        );
        false
    }

    /// A value that no cell can have is a mistake.
    fn check_equal(&self, name: &Located<String>, value: &Located<Scalar>, mistakes: &mut Mistakes) {
        let axis = self.axes.all().find(|(axis, _)| *axis == name.value);
        let same = |own: &str| is_same(name, own, &value.0);
        let of_a_name = |included: &Include| included.cell.get(name).is_some_and(|own| same(&own.0));
        match axis {
            None if name.value == "cell" => {
                let known = || self.file.include.iter().map(|included| included.name.as_str());
                if !known().any(|known| known == value.0) {
                    mistakes.push(
                        Diagnostic::new(format!("no cell has the name `{}`", value.0), value.span.clone())
                            .suggest(&value.0, known()),
                    );
                }
            }
            Some((_, values))
                if !values.iter().any(|own| same(own)) && !self.file.include.iter().any(of_a_name) =>
            {
                mistakes.push(
                    Diagnostic::new(
                        format!("the axis `{}` has no value `{}`", name.value, value.0),
                        value.span.clone(),
                    )
                    .suggest(&value.0, values.iter().map(String::as_str)),
                );
            }
            Some(_) => {}
            None => {
                check_value(self.file, name, value, mistakes);
            }
        }
    }

    /// A bound must be a value of its name, and have a place in an order.
    fn check_bound(&self, name: &Located<String>, bound: &Located<Scalar>, mistakes: &mut Mistakes) {
        if !has_order(name) {
            mistakes.push(
                Diagnostic::new(
                    format!("`{}` has no larger and smaller values", name.value),
                    name.span.clone(),
                )
                .hint(format!("write `{0} == VALUE` or `{0} in [VALUE, …]`", name.value)),
            );
            return;
        }
        let before = mistakes.len();
        check_value(self.file, name, bound, mistakes);
        if mistakes.len() == before && magnitude(name, &bound.0).is_none() {
            let message = format!("nothing is larger or smaller than `{}`", bound.0);
            mistakes.push(Diagnostic::new(message, bound.span.clone()));
        }
    }
}

/// Where `span` of the expression `text` is in the file. An expression that the file writes with escapes or over several lines is
/// shown as a whole.
fn place(whole: &Range<usize>, text: &str, span: Range<usize>) -> Range<usize> {
    let quotes = match whole.len().checked_sub(text.len()) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return whole.clone(),
    };
    let start = whole.start + quotes;
    start + span.start..start + span.end
}
