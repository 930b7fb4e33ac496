//! What only shows once axes and phases come together.

use ledger::Tokens;

use super::super::diagnostic::Diagnostic;
use super::super::file::{PhaseFile, ScenarioFile};
use super::super::located::Located;
use super::super::{Cell, Expansion, Scenario};
use super::Mistakes;
use crate::record::CellRecord;

/// No cell may ask for a prompt or a context that its target would refuse.
pub(super) fn check_cells(file: &ScenarioFile, scenario: &Scenario, mistakes: &mut Mistakes) {
    check_forms(file, scenario, mistakes);
    if !mistakes.is_empty() {
        return;
    }
    let expansion = scenario.expand();
    if expansion.cells.is_empty() {
        let message = "every combination is excluded, nothing would run";
        mistakes.push(Diagnostic::new(message, file.axes.place()));
    }
    check_bases(file, scenario, &expansion, mistakes);
    check_expectations(file, scenario, &expansion, mistakes);
    let place = |decode_first: bool| {
        let place = |phase: &Located<PhaseFile>| match &phase.value {
            PhaseFile::Prefill(file) if !decode_first => Some(file.prompt_tokens.span.clone()),
            PhaseFile::Decode(file) if decode_first => Some(
                file.prompt_tokens.as_ref().map_or(&file.output_tokens.span, |prompt| &prompt.span).clone(),
            ),
            _ => None,
        };
        file.phases.iter().find_map(place)
    };
    for cell in &expansion.cells {
        let limit = cell.settings.max_input_len;
        let prompts = [
            (false, scenario.phases.prefill.map(|prefill| prefill.prompt)),
            (true, scenario.phases.decode.and_then(|decode| decode.prompt)),
        ];
        for (decode, prompt) in prompts {
            let asked = prompt.map_or(Tokens(0), |prompt| prompt.resolve(limit));
            if asked > limit {
                let message = format!(
                    "a prompt of {} tokens does not fit maxInputLen {} of the cell {}",
                    asked.0,
                    limit.0,
                    cell.describe()
                );
                mistakes.push(Diagnostic::new(message, place(decode).unwrap_or(0..0)));
                return;
            }
        }
        if limit > cell.settings.max_kv_cache_capacity {
            let message = format!(
                "maxInputLen {} is larger than maxKVCacheCapacity {} in the cell {}",
                limit.0,
                cell.settings.max_kv_cache_capacity.0,
                cell.describe()
            );
            let settings = &file.settings;
            let span = settings.max_kv_cache_capacity.as_ref().map(|capacity| capacity.span.clone());
            mistakes.push(
                Diagnostic::new(message, span.unwrap_or_else(|| file.axes.place()))
                    .hint("raise maxKVCacheCapacity, lower maxInputLen, or leave maxKVCacheCapacity out"),
            );
            return;
        }
        let (context, capacity) = (scenario.phases.context(limit), cell.settings.max_kv_cache_capacity);
        if context > capacity {
            let message = format!(
                "{} tokens of prompt and output do not fit maxKVCacheCapacity {} of the cell {}",
                context.0,
                capacity.0,
                cell.describe()
            );
            let span = place(true).or_else(|| place(false)).unwrap_or(0..0);
            mistakes.push(Diagnostic::new(message, span));
            return;
        }
    }
}

/// A model must have a form for every target that is to run it.
fn check_forms(file: &ScenarioFile, scenario: &Scenario, mistakes: &mut Mistakes) {
    for (name, forms) in &scenario.models {
        for (target, kind) in &scenario.targets {
            let is_read = forms.iter().any(|form| kind.reads().contains(&form.name()));
            if is_read || !scenario.may_run(name, target) {
                continue;
            }
            let entry = file.models.get(name);
            let reads: Vec<String> = kind.reads().iter().map(|form| format!("`{form}`")).collect();
            mistakes.push(
                Diagnostic::new(
                    format!("the model `{name}` has no form that the target `{target}` reads"),
                    entry.map_or(0..0, |entry| entry.span.clone()),
                )
                .hint(format!("{} reads {}", kind.name(), reads.join(", "))),
            );
        }
    }
}

/// What a lever is judged by must be there: the cell that it is tried on, and the base of that cell.
fn check_bases(file: &ScenarioFile, scenario: &Scenario, expansion: &Expansion, mistakes: &mut Mistakes) {
    let bases = scenario.bases();
    let cells: Vec<CellRecord> = expansion.cells.iter().map(Cell::record).collect();
    for lever in &scenario.levers {
        let span = || {
            let alone = file.axes.one_at_a_time.iter().flat_map(|alone| &alone.0);
            let mut axes = file.axes.grid.iter().flat_map(|grid| &grid.0).chain(alone);
            axes.find(|(name, _)| name.value == lever.axis).map_or(0..0, |(name, _)| name.span.clone())
        };
        let mut tried = cells.iter().filter(|cell| {
            lever.is_tried_by(cell, &bases) && cell.name.as_ref().is_none_or(|name| !name.beside_axes)
        });
        let has_base = |cell: &CellRecord| cells.iter().any(|base| lever.is_base_of(base, cell));
        match tried.clone().next() {
            None => {
                let message = format!("every cell that would try `{}` is excluded", lever.axis);
                mistakes.push(Diagnostic::new(message, span()));
            }
            Some(_) => {
                if let Some(cell) = tried.find(|cell| !has_base(cell)) {
                    let message = format!(
                        "the base of the cell {} is excluded: nothing would say what `{}` moves",
                        cell.describe(),
                        lever.axis
                    );
                    mistakes.push(Diagnostic::new(message, span()));
                }
            }
        }
    }
}

/// An expectation for no cell would never be met, and never be missed.
fn check_expectations(
    file: &ScenarioFile,
    scenario: &Scenario,
    expansion: &Expansion,
    mistakes: &mut Mistakes,
) {
    let cells: Vec<CellRecord> = expansion.cells.iter().map(Cell::record).collect();
    for (expectation, written) in scenario.expectations.iter().zip(&file.expect) {
        if !cells.iter().any(|cell| cell.matches(&expectation.when)) {
            let message = format!("no cell is expected to end so: {}", expectation.when);
            mistakes.push(Diagnostic::new(message, written.when.span.clone()));
        }
    }
}
