//! How quality is measured, and its budgets.

use ledger::Tokens;

use super::super::diagnostic::Diagnostic;
use super::super::file::{QualityBudgetFile, QualityFile};
use super::super::located::Located;
use super::super::model::ModelSource;
use super::super::quality::Quality;
use super::condition::Names;
use super::{Mistakes, check_why};
use crate::record::{QualityBudget, QualityMetric};

/// Tokens that are scored where a file does not say.
const TOKENS: u32 = 2048;

/// Continuations where a file does not say.
const CONTINUATIONS: u32 = 4;

pub(super) fn quality_of(file: &Located<QualityFile>, names: &Names<'_>, mistakes: &mut Mistakes) -> Quality {
    let written = &file.value;
    let tokens = written.tokens.as_ref().map_or(TOKENS, |tokens| tokens.value);
    if !(2..=1_048_576).contains(&tokens) {
        mistakes.push(Diagnostic::new("a text is scored over 2 to 1048576 tokens", file.span.clone()));
    }
    let when = written.when.as_ref().map(|when| names.condition(when, mistakes)).unwrap_or_default();
    let mut budgets: Vec<QualityBudget> = Vec::new();
    for budget in &written.budgets {
        let QualityBudgetFile { id, when: of_budget, why, .. } = &budget.value;
        if budgets.iter().any(|earlier| earlier.id == id.value) {
            let message = format!("the budget `{}` stands here for the second time", id.value);
            mistakes.push(Diagnostic::new(message, id.span.clone()));
        }
        check_why(why, "a budget", &id.span, mistakes);
        // Without a word, a limit is for what is measured.
        let when = of_budget.as_ref().map_or_else(|| when.clone(), |when| names.condition(when, mistakes));
        let Some((metric, limit)) = limit_of(&budget.value, mistakes) else { continue };
        budgets.push(QualityBudget { id: id.value.clone(), when, metric, limit, why: why.clone() });
    }
    Quality {
        when,
        text: written.text.clone(),
        reference: written.reference.clone().map(ModelSource::Checkpoint),
        tokens: Tokens(tokens),
        continuations: written.continuations.unwrap_or(CONTINUATIONS),
        timeout: written.timeout.0,
        budgets,
    }
}

fn limit_of(file: &QualityBudgetFile, mistakes: &mut Mistakes) -> Option<(QualityMetric, f64)> {
    let limits = [
        (QualityMetric::MaxKl, file.max_kl),
        (QualityMetric::MaxPplIncrease, file.max_ppl_increase.map(|share| share.0)),
        (QualityMetric::MinTop1, file.min_top1.map(|share| share.0)),
        (QualityMetric::MinTokenMatch, file.min_token_match.map(|share| share.0)),
    ];
    let mut given = limits.into_iter().filter_map(|(metric, limit)| Some((metric, limit?)));
    let mistake = match (given.next(), given.next()) {
        (Some((metric, limit)), None) if limit.is_finite() && limit >= 0.0 => return Some((metric, limit)),
        (Some(_), None) => "a limit on quality is a number from 0".to_owned(),
        _ => format!("the budget `{}` needs one limit, and only one", file.id.value),
    };
    mistakes.push(
        Diagnostic::new(mistake, file.id.span.clone()).hint(
            "`max_kl: 0.02` (nats), `max_ppl_increase: 2 %`, `min_top1: 95 %` or `min_token_match: 80 %`",
        ),
    );
    None
}
