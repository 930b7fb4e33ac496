//! Levers: which axes are expected to move memory, and what of it.

use ledger::Phase;

use super::super::diagnostic::Diagnostic;
use super::super::file::{LeverFile, ScenarioFile};
use super::super::located::Located;
use super::super::phases::Phases;
use super::axes::CheckedAxes;
use super::{Mistakes, check_why};
use crate::record::{LeverMetric, LeverRecord};

/// Phases whose peak a lever can be about. What is resident when a phase begins is part of its peak, so that the later ones
/// would show what the earlier ones held.
const PHASES: [Phase; 3] = [Phase::Load, Phase::Prefill, Phase::Decode];

/// Axes that are no knob of one runtime with one model.
const IS_NO_LEVER: [&str; 2] = ["model", "target"];

pub(super) fn levers_of(
    file: &ScenarioFile,
    axes: &CheckedAxes,
    phases: Option<&Phases>,
    mistakes: &mut Mistakes,
) -> Vec<LeverRecord> {
    let Some(written) = &file.levers else {
        let alone = axes.one_at_a_time.iter();
        return alone
            .filter_map(|(axis, values)| Some(LeverRecord::of_axis(axis, values.first()?)))
            .collect();
    };
    let mut levers: Vec<LeverRecord> = Vec::new();
    for lever in written {
        check_why(&lever.why, "a lever", &lever.axis.span, mistakes);
        let metric = metric_of(lever, phases, mistakes);
        if levers.iter().any(|earlier| earlier.axis == lever.axis.value && earlier.metric == metric) {
            let message = format!("the lever `{}` stands here for the second time", lever.axis.value);
            mistakes.push(Diagnostic::new(message, lever.axis.span.clone()));
        }
        let above = lever.works_above.as_ref();
        if let Some(above) = above.filter(|above| above.0 <= 0.0) {
            mistakes.push(
                Diagnostic::new(
                    "a lever that works without moving anything says nothing",
                    above.span.clone(),
                )
                .hint("for example 90 %"),
            );
        }
        let base =
            axes.alone().find(|(axis, _)| *axis == lever.axis.value && !IS_NO_LEVER.contains(&axis.as_str()));
        match base.and_then(|(_, values)| values.first()) {
            Some(base) => levers.push(LeverRecord {
                metric,
                works_above: above.map_or(LeverRecord::WORKS_ABOVE, |share| share.0),
                why: Some(lever.why.clone()),
                ..LeverRecord::of_axis(&lever.axis, base)
            }),
            None => {
                let known =
                    axes.alone().map(|(axis, _)| axis.as_str()).filter(|axis| !IS_NO_LEVER.contains(axis));
                mistakes.push(
                    Diagnostic::new(
                        format!("there is no axis `{}` that could be a lever", lever.axis.value),
                        lever.axis.span.clone(),
                    )
                    .suggest(&lever.axis, known),
                );
            }
        }
    }
    levers
}

fn metric_of(lever: &Located<LeverFile>, phases: Option<&Phases>, mistakes: &mut Mistakes) -> LeverMetric {
    let Some(name) = lever.metric.as_ref().filter(|name| name.value != "peak") else {
        return LeverMetric::Peak;
    };
    let Some(phase) = PHASES.into_iter().find(|phase| phase.name() == name.value) else {
        let known = ["peak"].into_iter().chain(PHASES.map(Phase::name));
        mistakes.push(
            Diagnostic::new(format!("a lever cannot be about `{}`", name.value), name.span.clone())
                .suggest(name, known),
        );
        return LeverMetric::Peak;
    };
    if phases.is_some_and(|phases| !phases.listed().contains(&phase)) {
        let message = format!("no trial has a phase `{phase}`, so this lever would never be judged");
        mistakes.push(Diagnostic::new(message, name.span.clone()));
    }
    LeverMetric::Phase(phase)
}
