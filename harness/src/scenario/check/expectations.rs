//! Cells that are known not to run to their end: with a day on which that ends, and a reason.

use jiff::civil::Date;

use super::super::diagnostic::Diagnostic;
use super::super::file::ScenarioFile;
use super::condition::Names;
use super::{Mistakes, check_why};
use crate::record::Expectation;

pub(super) fn expectations_of(
    file: &ScenarioFile,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Vec<Expectation> {
    let mut expectations = Vec::new();
    for written in &file.expect {
        check_why(&written.why, "an expectation", &written.until.span, mistakes);
        let when = names.condition(&written.when, mistakes);
        // Other forms of a date would not sort by time.
        let until = written.until.0.as_str();
        if !until.parse::<Date>().is_ok_and(|date| date.to_string() == until) {
            let message = format!("`{until}` is no day");
            mistakes
                .push(Diagnostic::new(message, written.until.span.clone()).hint("for example `2027-01-31`"));
        }
        expectations.push(Expectation {
            outcome: written.outcome,
            when,
            until: until.to_owned(),
            why: written.why.clone(),
        });
    }
    expectations
}
