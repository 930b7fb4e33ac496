//! Budgets: what they limit, where, and for which cells.

use std::time::Duration;

use ledger::{BufferClass, Bytes, Phase};

use super::super::diagnostic::Diagnostic;
use super::super::file::{BudgetFile, GrowthFile, Limit, ScenarioFile, class_names};
use super::super::located::Located;
use super::super::phases::Phases;
use super::super::units::{DriftRate, LeakRate, Share, Size};
use super::condition::Names;
use super::{Mistakes, check_why};
use crate::record::{BudgetLimit, BudgetRecord, BudgetSubject, GrowthOf};
use crate::verdict::growth::{Growing, LEAST_REQUESTS, LEAST_TIME, TIDYING, WARMING_UP};

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
        let (subject, warn, fail) = subject_of(written, names, phases, mistakes);
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

fn subject_of(
    written: &Located<BudgetFile>,
    names: &Names<'_>,
    phases: Option<&Phases>,
    mistakes: &mut Mistakes,
) -> Subject {
    let class = written.class.as_ref().map(|name| class_of(name, mistakes));
    let totals = [
        (&written.total, BudgetSubject::Total),
        (&written.device, BudgetSubject::Device),
        (&written.host_and_device, BudgetSubject::HostAndDevice),
        (&written.stack, BudgetSubject::Stack),
    ];
    let mut found: Vec<Subject> = Vec::new();
    for (limit, subject) in totals {
        if let Some(limit) = limit {
            found.push(bounded(subject, limit, |size: Size| size.0, mistakes));
        }
    }
    match (class, &written.bytes, &written.share) {
        (Some(class), Some(bytes), None) => {
            found.push(bounded(BudgetSubject::Class(class), bytes, |size: Size| size.0, mistakes));
        }
        (Some(class), None, Some(share)) => {
            check_limit(share, mistakes);
            let limit = |share: Option<Share>| share.map(|share| BudgetLimit::Share(share.0));
            found.push((BudgetSubject::Class(class), limit(share.warn), limit(share.fail)));
        }
        (None, None, None) => {}
        // Half of what a class needs, or too much of it.
        _ => found.clear(),
    }
    let half = class.is_some() && found.is_empty();
    if let Some(growth) = &written.growth {
        let limit = Limit { warn: growth.warn, fail: growth.fail };
        let limit = Located { value: limit, span: growth.span.clone() };
        if let Some(subject) = growth_of(growth, written, names, mistakes) {
            found.push(bounded(subject, &limit, |size: Size| size.0, mistakes));
        }
    }
    if let Some(leak) = &written.leak {
        check_watched(&leak.span, written, Growing::Leak, phases, mistakes);
        found.push(bounded(BudgetSubject::Leak, leak, |rate: LeakRate| rate.0, mistakes));
    }
    if let Some(drift) = &written.drift {
        check_watched(&drift.span, written, Growing::Drift, phases, mistakes);
        found.push(bounded(BudgetSubject::Drift, drift, |rate: DriftRate| rate.0, mistakes));
    }
    let growth_was_wrong = written.growth.is_some() && found.is_empty();
    match found.as_slice() {
        [only] if !half => *only,
        _ if growth_was_wrong => (BudgetSubject::Total, None, None),
        _ => {
            mistakes.push(
                Diagnostic::new(
                    format!("what does the budget `{}` limit?", written.id.value),
                    written.id.span.clone(),
                )
                .hint(
                    "give it `total`, `device`, `hostAndDevice` or `stack`, or `class` with one of `bytes` and `share`, \
                     or `growth`, `leak` or `drift`",
                ),
            );
            (BudgetSubject::Total, None, None)
        }
    }
}

fn class_of(name: &Located<String>, mistakes: &mut Mistakes) -> BufferClass {
    name.parse::<BufferClass>().unwrap_or_else(|_| {
        mistakes.push(
            Diagnostic::new(format!("there is no buffer class `{}`", name.value), name.span.clone())
                .suggest(name, class_names()),
        );
        BufferClass::Unaccounted
    })
}

/// What grows with what. Without cells that differ in it, nothing would ever be compared.
fn growth_of(
    growth: &Located<GrowthFile>,
    written: &Located<BudgetFile>,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Option<BudgetSubject> {
    let of = match growth.of.as_str() {
        "total" => GrowthOf::Total,
        "device" => GrowthOf::Device,
        "hostAndDevice" => GrowthOf::HostAndDevice,
        name if class_names().contains(&name) => GrowthOf::Class(class_of(&growth.of, mistakes)),
        name => {
            let known = ["total", "device", "hostAndDevice"].into_iter().chain(class_names());
            mistakes.push(
                Diagnostic::new(format!("`{name}` is nothing that grows"), growth.of.span.clone())
                    .suggest(name, known),
            );
            return None;
        }
    };
    match growth.per.axis() {
        Some(axis) => {
            if !names.axes.alone().any(|(name, values)| name == axis && values.len() > 1) {
                mistakes.push(
                    Diagnostic::new(format!("no two cells differ in `{axis}` alone"), growth.span.clone())
                        .hint(format!("put `{axis}` with two values or more on `grid` or `one_at_a_time`")),
                );
                return None;
            }
        }
        None => {
            if !matches!(of, GrowthOf::Class(_)) {
                mistakes.push(
                    Diagnostic::new(
                        "what a program reads in while it works would count as growth with context",
                        growth.of.span.clone(),
                    )
                    .hint("name a buffer class, for example `kv_cache`"),
                );
                return None;
            }
            if let Some(phase) =
                written.phase.as_ref().filter(|phase| !["prefill", "decode"].contains(&phase.as_str()))
            {
                let message = format!("no sequence grows in `{}`", phase.value);
                mistakes.push(
                    Diagnostic::new(message, phase.span.clone()).hint("it takes `prefill` or `decode`"),
                );
            }
        }
    }
    Some(BudgetSubject::Growth { of, per: growth.per })
}

/// A growth that no trial watches for long enough would never be found.
fn check_watched(
    span: &std::ops::Range<usize>,
    written: &Located<BudgetFile>,
    growing: Growing,
    phases: Option<&Phases>,
    mistakes: &mut Mistakes,
) {
    let allowed: &[&str] = match growing {
        Growing::Leak => &["idle", "settle"],
        Growing::Drift => &["prefill"],
    };
    if let Some(phase) = written.phase.as_ref().filter(|phase| !allowed.contains(&phase.as_str())) {
        let message = format!("this is not looked for in `{}`", phase.value);
        let hint = format!("it takes {}", allowed.join(" or "));
        mistakes.push(Diagnostic::new(message, phase.span.clone()).hint(hint));
    }
    let Some(phases) = phases else { return };
    match growing {
        Growing::Leak => {
            let least = Duration::from_micros(TIDYING.0 + LEAST_TIME.0);
            let mut waits = [("idle", phases.idle), ("settle", phases.settle)].into_iter();
            let is_meant = |name: &str| written.phase.as_ref().is_none_or(|phase| phase.value == name);
            if !waits.any(|(name, wait)| is_meant(name) && wait.is_some_and(|wait| wait.lasts > least)) {
                mistakes.push(
                    Diagnostic::new(
                        "no phase in which nothing is asked lasts long enough to see a leak",
                        span.clone(),
                    )
                    .hint(format!("let `idle` or `settle` last longer than {} s", least.as_secs_f64())),
                );
            }
        }
        Growing::Drift => {
            let least = (WARMING_UP + LEAST_REQUESTS) as u32;
            if phases.prefill.is_none_or(|prefill| prefill.requests < least) {
                mistakes.push(
                    Diagnostic::new("no phase has enough requests to see a drift", span.clone())
                        .hint(format!("give `prefill` at least {least} requests")),
                );
            }
        }
    }
}

/// The subject with its limits in bytes.
fn bounded<T: PartialOrd + Copy>(
    subject: BudgetSubject,
    limit: &Located<Limit<T>>,
    bytes: fn(T) -> Bytes,
    mistakes: &mut Mistakes,
) -> Subject {
    check_limit(limit, mistakes);
    let bytes = |limit: Option<T>| limit.map(|limit| BudgetLimit::Bytes(bytes(limit)));
    (subject, bytes(limit.warn), bytes(limit.fail))
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
