//! What only shows once axes and phases come together.

use ledger::Tokens;

use super::super::Scenario;
use super::super::diagnostic::Diagnostic;
use super::super::file::{PhaseFile, ScenarioFile};
use super::super::located::Located;
use super::Mistakes;

/// No cell may ask for a prompt or a context that its target would refuse.
pub(super) fn check_cells(file: &ScenarioFile, scenario: &Scenario, mistakes: &mut Mistakes) {
    let expansion = scenario.expand();
    if expansion.cells.is_empty() {
        let message = "every combination is excluded, nothing would run";
        mistakes.push(Diagnostic::new(message, file.axes.grid.span.clone()));
    }
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
                Diagnostic::new(message, span.unwrap_or_else(|| file.axes.grid.span.clone()))
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
