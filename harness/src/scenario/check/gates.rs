//! Gates: what they compare, and by how much it may be worse.

use ledger::{BufferClass, Bytes, Phase};

use super::super::diagnostic::Diagnostic;
use super::super::file::{GateFile, ScenarioFile, class_names};
use super::super::located::Located;
use super::super::phases::Phases;
use super::super::units::{Share, Size};
use super::condition::Names;
use super::{Mistakes, check_why};
use crate::record::{Allowance, Gate, GateMetric, NoMetric};

pub(super) fn gates_of(
    file: &ScenarioFile,
    names: &Names<'_>,
    phases: Option<&Phases>,
    mistakes: &mut Mistakes,
) -> Vec<Gate> {
    let mut gates: Vec<Gate> = Vec::new();
    for written in &file.gates {
        if gates.iter().any(|earlier| earlier.id == written.id.value) {
            let message = format!("the gate `{}` stands here for the second time", written.id.value);
            mistakes.push(Diagnostic::new(message, written.id.span.clone()));
        }
        check_why(&written.why, "a gate", &written.id.span, mistakes);
        let when = written.when.as_ref().map(|when| names.condition(when, mistakes)).unwrap_or_default();
        let Some(metric) = metric_of(&written.metric, phases, mistakes) else { continue };
        let Some(allow) = allowance_of(written, metric, mistakes) else { continue };
        let (id, why) = (written.id.value.clone(), written.why.clone());
        gates.push(Gate { id, when, metric, allow, why });
    }
    gates
}

fn metric_of(text: &Located<String>, phases: Option<&Phases>, mistakes: &mut Mistakes) -> Option<GateMetric> {
    let mistake = |message: String| Diagnostic::new(message, text.span.clone());
    let metric = match text.value.parse() {
        Ok(metric) => metric,
        Err(NoMetric::Form) => {
            let message = format!("a gate cannot be about `{}`", text.value);
            mistakes.push(mistake(message).suggest(text, GateMetric::FORMS));
            return None;
        }
        Err(NoMetric::Class(name)) => {
            let message = format!("there is no buffer class `{name}`");
            mistakes.push(mistake(message).suggest(&name, class_names()));
            return None;
        }
    };
    if metric == GateMetric::Planned(BufferClass::Unaccounted) {
        mistakes.push(mistake("no plan has `unaccounted`: it is what no buffer owns".to_owned()));
    }
    let needs: &[Phase] = match metric {
        GateMetric::Ttft | GateMetric::PrefillRate => &[Phase::Prefill, Phase::Decode],
        GateMetric::DecodeRate => &[Phase::Decode],
        _ => &[],
    };
    let has = |phases: &Phases| needs.is_empty() || needs.iter().any(|need| phases.listed().contains(need));
    if phases.is_some_and(|phases| !has(phases)) {
        mistakes.push(mistake(format!("no trial has a phase that tells `{metric}`")));
    }
    Some(metric)
}

fn allowance_of(
    written: &Located<GateFile>,
    metric: GateMetric,
    mistakes: &mut Mistakes,
) -> Option<Allowance> {
    let text = written.allow.0.as_str();
    let parsed = if text.trim_end().ends_with('%') {
        text.parse::<Share>().map(|share| Allowance::Share(share.0))
    } else {
        text.parse::<Size>().map(|size| Allowance::Bytes(size.0))
    };
    match parsed {
        Ok(Allowance::Bytes(Bytes(_))) if !metric.is_memory() => {
            let message = format!("`{metric}` is no size");
            mistakes.push(Diagnostic::new(message, written.allow.span.clone()).hint("for example `5 %`"));
            None
        }
        Ok(allow) => Some(allow),
        Err(_) => {
            let message = format!("`{text}` is neither a size nor a share");
            let example = if metric.is_memory() { "`16 MiB` or `1 %`" } else { "`5 %`" };
            let hint = format!("for example {example}");
            mistakes.push(Diagnostic::new(message, written.allow.span.clone()).hint(hint));
            None
        }
    }
}
