//! From what is written to what it means: every mistake is collected, so that one look shows them all.

mod axes;
mod budgets;
mod cells;
mod co_residents;
mod condition;
mod cooldown;
mod expectations;
mod gates;
mod levers;
mod models;
mod needs;
mod phases;
mod quality;
mod targets;

use std::ops::Range;
use std::time::Duration;

use axes::{axes_of, include_of};
use budgets::budgets_of;
use cells::check_cells;
use co_residents::co_residents_of;
use condition::{Names, WhenNames};
use cooldown::cooldown_of;
use expectations::expectations_of;
use gates::gates_of;
use levers::levers_of;
use models::models_of;
use needs::needs_of;
use phases::phases_of;
use quality::quality_of;
use targets::targets_of;

use super::diagnostic::Diagnostic;
use super::file::{BuildFile, ScenarioFile, SettingsFile};
use super::located::Located;
use super::settings::{BuildOptions, SettingsDraft};
use super::{Expected, Floor, Scenario};

type Mistakes = Vec<Diagnostic>;

/// The meaning of `file`, or everything that is wrong with it.
pub(in crate::scenario) fn check(file: &ScenarioFile) -> Result<Scenario, Mistakes> {
    let mut mistakes = Mistakes::new();
    check_name(&file.name, "a scenario's name becomes part of file names", &mut mistakes);
    if file.trials.value == 0 || file.trials.value > 1000 {
        mistakes.push(Diagnostic::new("a cell needs 1 to 1000 trials", file.trials.span.clone()));
    }
    let every = file.sample.every.as_ref();
    if let Some(every) = every.filter(|every| every.0 < Duration::from_millis(1)) {
        mistakes.push(Diagnostic::new("1 ms is the shortest interval between samples", every.span.clone()));
    }
    let models = models_of(file, &mut mistakes);
    let targets = targets_of(file, &mut mistakes);
    let needs = needs_of(file, &mut mistakes);
    let settings = settings_of(&file.settings, &mut mistakes);
    let build = build_of(&file.build, &mut mistakes);
    let axes = axes_of(file, &mut mistakes);
    let include = include_of(file, &axes, &mut mistakes);
    let exclude = file
        .exclude
        .iter()
        .map(|exclude| {
            check_why(&exclude.why, "an exclusion", &exclude.when.span, &mut mistakes);
            let names = Names { file, axes: &axes, which: WhenNames::AxesOnly };
            (names.condition(&exclude.when, &mut mistakes), exclude.why.clone())
        })
        .collect();
    let co_residents = co_residents_of(file, &mut mistakes);
    let phases = phases_of(&file.phases, &mut mistakes);
    let levers = levers_of(file, &axes, phases.as_ref(), &mut mistakes);
    let names = Names { file, axes: &axes, which: WhenNames::Everything };
    let budgets = budgets_of(file, &names, phases.as_ref(), &mut mistakes);
    let gates = gates_of(file, &names, phases.as_ref(), &mut mistakes);
    let expectations = expectations_of(file, &names, &mut mistakes);
    let quality = file.quality.as_ref().map(|quality| quality_of(quality, &names, &mut mistakes));
    let cooldown = file.cooldown.as_ref().and_then(|cooldown| cooldown_of(cooldown, &mut mistakes));
    match phases {
        Some(phases) if mistakes.is_empty() => {
            let scenario = Scenario {
                path: Default::default(),
                text: String::new(),
                sha256: String::new(),
                name: file.name.value.clone(),
                why: file.why.clone(),
                seed: file.seed,
                models,
                grid: axes.grid,
                zip: axes.zip,
                one_at_a_time: axes.one_at_a_time,
                include,
                exclude,
                settings,
                build,
                targets,
                trials: file.trials.value,
                order: file.order,
                cooldown,
                needs,
                memory_limit: file.limits.memory.map(|size| size.0),
                min_available: file.limits.min_available.map(|size| size.0),
                co_residents,
                sample_every: every.map_or(Duration::from_millis(10), |every| every.0),
                floor: Floor {
                    tolerance: file.floor.tolerance.map(|size| size.0),
                    timeout: file.floor.timeout.map_or(Floor::TIMEOUT, |period| period.0),
                },
                phases,
                quality,
                levers,
                budgets,
                gates,
                expectations,
            };
            check_cells(file, &scenario, &mut mistakes);
            if mistakes.is_empty() { Ok(scenario) } else { Err(mistakes) }
        }
        _ => Err(mistakes),
    }
}

fn check_name(name: &Located<String>, reason: &str, mistakes: &mut Mistakes) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        mistakes
            .push(Diagnostic::new(reason, name.span.clone()).hint("use letters, digits, `-`, `_` and `.`"));
    }
}

fn check_why(why: &str, what: &str, span: &Range<usize>, mistakes: &mut Mistakes) {
    if why.trim().is_empty() {
        mistakes.push(Diagnostic::new(format!("{what} needs a reason: `why` is empty"), span.clone()));
    }
}

fn build_of(file: &BuildFile, mistakes: &mut Mistakes) -> BuildOptions {
    let mut build = BuildOptions::default();
    build.lm_head = file.lm_head.unwrap_or(build.lm_head);
    build.linears = file.linears.unwrap_or(build.linears);
    if let Some(vocab) = &file.vocab {
        let known = build.set("vocab", &vocab.0);
        refuse("vocab", &vocab.0, &vocab.span, known, mistakes);
    }
    build
}

fn settings_of(file: &SettingsFile, mistakes: &mut Mistakes) -> SettingsDraft {
    let mut draft = SettingsDraft::default();
    let counts = [
        ("maxInputLen", &file.max_input_len),
        ("maxKVCacheCapacity", &file.max_kv_cache_capacity),
        ("gdnPrefillMaxSeq", &file.gdn_prefill_max_seq),
        ("maxVerifyTreeSize", &file.max_verify_tree_size),
        ("maxBatchSize", &file.max_batch_size),
    ];
    for (name, count) in counts {
        if let Some(count) = count {
            set(&mut draft, name, &count.value.to_string(), &count.span, mistakes);
        }
    }
    let words = [
        ("device", &file.device),
        ("threads", &file.threads),
        ("draftVocab", &file.draft_vocab),
        ("weightStreamingBudget", &file.weight_streaming_budget),
    ];
    for (name, word) in words {
        if let Some(word) = word {
            set(&mut draft, name, &word.0, &word.span, mistakes);
        }
    }
    if let Some(value) = file.mtp {
        set(&mut draft, "mtp", &value.to_string(), &(0..0), mistakes);
    }
    if let Some(value) = file.kv_cache_type {
        set(&mut draft, "kvCacheType", value.name(), &(0..0), mistakes);
    }
    if let Some(value) = file.precision {
        set(&mut draft, "precision", value.name(), &(0..0), mistakes);
    }
    if let Some(value) = file.weights {
        set(&mut draft, "weights", value.name(), &(0..0), mistakes);
    }
    draft
}

fn set(draft: &mut SettingsDraft, name: &str, text: &str, span: &Range<usize>, mistakes: &mut Mistakes) {
    let known = draft.set(name, text);
    refuse(name, text, span, known, mistakes);
}

/// Notes a value that was refused, with what its place takes.
fn refuse(
    name: &str,
    text: &str,
    span: &Range<usize>,
    known: Option<Result<(), Expected>>,
    mistakes: &mut Mistakes,
) {
    if let Some(Err(Expected(expected))) = known {
        mistakes.push(
            Diagnostic::new(format!("`{name}` cannot be `{text}`"), span.clone())
                .hint(format!("it takes {expected}")),
        );
    }
}
