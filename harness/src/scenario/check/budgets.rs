//! Budgets: what they limit, where, and for which cells.

use ledger::{BufferClass, Phase};

use super::super::diagnostic::Diagnostic;
use super::super::file::{BudgetFile, Limit, ScenarioFile, class_names};
use super::super::located::Located;
use super::super::phases::Phases;
use super::super::units::{Share, Size};
use super::condition::Names;
use super::{Mistakes, check_why};
use crate::record::{BudgetLimit, BudgetRecord, BudgetSubject};

pub(super) fn budgets_of(
    file: &ScenarioFile,
    names: &Names<'_>,
    phases: Option<&Phases>,
    mistakes: &mut Mistakes,
) -> Vec<BudgetRecord> {
    let mut budgets: Vec<BudgetRecord> = Vec::new();
    for written in &file.budgets {
        if budgets.iter().any(|earlier| earlier.id == written.id.value) {
            let message = format!("the budget `{}` stands here for the second time", written.id.value);
            mistakes.push(Diagnostic::new(message, written.id.span.clone()));
        }
        check_why(&written.why, "a budget", &written.id.span, mistakes);
        let when = written.when.as_ref();
        let when = when.map(|when| names.condition(when, mistakes));
        let (subject, warn, fail) = subject_of(written, mistakes);
        budgets.push(BudgetRecord {
            id: written.id.value.clone(),
            when: when.unwrap_or_default(),
            subject,
            phase: written.phase.as_ref().and_then(|phase| phase_of(phase, phases, mistakes)),
            warn,
            fail,
            why: written.why.clone(),
        });
    }
    budgets
}

fn phase_of(name: &Located<String>, phases: Option<&Phases>, mistakes: &mut Mistakes) -> Option<Phase> {
    let Some(phase) = Phase::ALL.into_iter().find(|phase| phase.name() == name.value) else {
        mistakes.push(
            Diagnostic::new(format!("there is no phase `{}`", name.value), name.span.clone())
                .suggest(name, Phase::ALL.map(Phase::name)),
        );
        return None;
    };
    if phases.is_some_and(|phases| !phases.listed().contains(&phase)) {
        let message = format!("no trial has a phase `{phase}`, so this budget would never be checked");
        mistakes.push(Diagnostic::new(message, name.span.clone()));
    }
    Some(phase)
}

type Subject = (BudgetSubject, Option<BudgetLimit>, Option<BudgetLimit>);

fn subject_of(written: &Located<BudgetFile>, mistakes: &mut Mistakes) -> Subject {
    let class = written.class.as_ref().map(|name| {
        name.parse::<BufferClass>().unwrap_or_else(|_| {
            mistakes.push(
                Diagnostic::new(format!("there is no buffer class `{}`", name.value), name.span.clone())
                    .suggest(name, class_names()),
            );
            BufferClass::Unaccounted
        })
    });
    let totals = [
        (&written.total, BudgetSubject::Total),
        (&written.device, BudgetSubject::Device),
        (&written.host_and_device, BudgetSubject::HostAndDevice),
        (&written.stack, BudgetSubject::Stack),
    ];
    let mut totals = totals.into_iter().filter_map(|(limit, subject)| Some((limit.as_ref()?, subject)));
    match (totals.next(), totals.next(), class, &written.bytes, &written.share) {
        (Some((limit, subject)), None, None, None, None) => {
            let (warn, fail) = sizes(limit, mistakes);
            (subject, warn, fail)
        }
        (None, None, Some(class), Some(bytes), None) => {
            let (warn, fail) = sizes(bytes, mistakes);
            (BudgetSubject::Class(class), warn, fail)
        }
        (None, None, Some(class), None, Some(share)) => {
            check_limit(share, mistakes);
            let limit = |share: Option<Share>| share.map(|share| BudgetLimit::Share(share.0));
            (BudgetSubject::Class(class), limit(share.warn), limit(share.fail))
        }
        _ => {
            mistakes.push(
                Diagnostic::new(
                    format!("what does the budget `{}` limit?", written.id.value),
                    written.id.span.clone(),
                )
                .hint("give it `total`, `device`, `hostAndDevice` or `stack`, or `class` with one of `bytes` and `share`"),
            );
            (BudgetSubject::Total, None, None)
        }
    }
}

fn sizes(
    limit: &Located<Limit<Size>>,
    mistakes: &mut Mistakes,
) -> (Option<BudgetLimit>, Option<BudgetLimit>) {
    check_limit(limit, mistakes);
    let bytes = |size: Option<Size>| size.map(|size| BudgetLimit::Bytes(size.0));
    (bytes(limit.warn), bytes(limit.fail))
}

fn check_limit<T: PartialOrd + Copy>(limit: &Located<Limit<T>>, mistakes: &mut Mistakes) {
    match (limit.warn, limit.fail) {
        (None, None) => mistakes.push(
            Diagnostic::new("this limit has neither `warn` nor `fail`", limit.span.clone())
                .hint("for example `{warn: 2700 MiB, fail: 2720 MiB}`"),
        ),
        (Some(warn), Some(fail)) if warn > fail => {
            mistakes
                .push(Diagnostic::new("`warn` is above `fail` and would never be seen", limit.span.clone()));
        }
        _ => {}
    }
}
