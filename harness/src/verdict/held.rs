//! One budget held against one cell.

use ledger::{Bytes, MemoryKind, Phase};
use schemars::JsonSchema;
use serde::Serialize;

use super::Word;
use super::budget::{Amount, Budget, Limit, Subject};
use super::observe::observe;
use super::responsible::{Among, Responsible, responsible};
use crate::number::mib;
use crate::record::{Reading, RecordedTrial, schema};

/// Trials from which on their scatter says how thin a margin is.
const TRIALS_FOR_SCATTER: usize = 3;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BudgetResult {
    /// The budget's name.
    pub id: String,
    /// What it limits.
    #[schemars(with = "String")]
    pub subject: Subject,
    /// PASS, WARN, FAIL or INCONCLUSIVE.
    pub word: Word,
    /// Why it is not a plain pass, in words.
    pub reason: Option<String>,
    /// The worst of all trials.
    #[schemars(with = "schema::Reading<Amount>")]
    pub measured: Reading<Amount>,
    /// True where a peak that was judged, of any trial, is a lower bound: the worst may be worse.
    pub is_lower_bound: bool,
    /// The trial that it comes from.
    pub trial: Option<u32>,
    /// The phase that it comes from.
    #[schemars(with = "Option<schema::PhaseName>")]
    pub phase: Option<Phase>,
    /// The warning limit.
    pub warn: Option<Limit>,
    /// The failing limit.
    pub fail: Option<Limit>,
    /// Bytes that are left up to the decisive limit; negative where it is exceeded.
    pub margin_bytes: Option<i64>,
    /// The class behind an overage.
    pub responsible: Option<Responsible>,
}

impl BudgetResult {
    /// The failing limit, else the warning one.
    pub fn decisive(&self) -> Option<Limit> {
        self.fail.or(self.warn)
    }
}

/// Holds `budget` against the worst of `trials`, of which there should be `expected`.
pub fn hold(budget: &Budget, trials: &[&RecordedTrial], expected: u32) -> BudgetResult {
    let mut missing: Vec<String> = Vec::new();
    if (trials.len() as u64) < u64::from(expected.max(1)) {
        missing.push(format!("{} of {expected} trials were recorded", trials.len()));
    }
    let mut amounts: Vec<Bytes> = Vec::new();
    let mut worst: Option<(Amount, Option<Phase>, &RecordedTrial)> = None;
    let mut with_swap = Bytes::ZERO;
    let mut is_lower_bound = false;
    for trial in trials {
        // A disturbed trial neither clears nor exceeds a budget, whatever it shows.
        if let Some(why) = trial.record.inconclusive() {
            missing.push(format!("trial {} {why}", trial.record.trial));
            continue;
        }
        let seen = observe(trial, budget);
        is_lower_bound |= seen.lower_bound;
        missing.extend(seen.missing);
        let Some((amount, phase)) = seen.worst else { continue };
        amounts.push(amount.bytes);
        with_swap = with_swap.max(amount.bytes + seen.swapped);
        if worst.is_none_or(|(so_far, ..)| is_worse(amount, so_far, budget)) {
            worst = Some((amount, phase, trial));
        }
    }

    let exceeded = |limit: Option<Limit>| match (limit, worst) {
        (Some(limit), Some((amount, ..))) => limit.is_exceeded_by(amount),
        _ => false,
    };
    let hidden = |limit: Option<Limit>| match limit {
        Some(Limit::Bytes(limit)) => with_swap > limit,
        _ => false,
    };
    let (word, reason) = if exceeded(budget.fail) {
        (Word::Fail, None)
    } else if !missing.is_empty() {
        (Word::Inconclusive, Some(summary(&missing)))
    } else if worst.is_none() {
        (Word::Inconclusive, Some("nothing was measured".to_owned()))
    } else if hidden(budget.decisive()) {
        let why = format!("with the pages that were swapped out it may need {} MiB", mib(with_swap));
        (Word::Inconclusive, Some(why))
    } else if exceeded(budget.warn) {
        (Word::Warn, Some("over the warning limit".to_owned()))
    } else if let Some(why) = thin_margin(budget, &mut amounts) {
        (Word::Warn, Some(why))
    } else {
        (Word::Pass, None)
    };

    let margin_bytes = worst.and_then(|(amount, ..)| {
        let limit = budget.decisive()?.bytes_of(amount.of);
        Some(limit.signed_difference(amount.bytes))
    });
    let among = match budget.subject {
        Subject::Class(class, _) | Subject::ClassShare(class, _) => Among::Class(class),
        Subject::Total | Subject::PhasePeak(_) => Among::Memory(MemoryKind::Host),
        Subject::Device(_) => Among::Memory(MemoryKind::Device),
        Subject::Growth(..) | Subject::Leak(_) | Subject::Drift => Among::Both,
        Subject::HostAndDevice(_) | Subject::Stack(_) => Among::Both,
    };
    let behind = match (word, worst, margin_bytes) {
        (Word::Fail | Word::Warn, Some((_, phase, trial)), Some(margin)) => {
            let overage = Bytes(margin.min(0).unsigned_abs());
            responsible(&trial.record, phase, overage, among)
        }
        _ => None,
    };
    let reason =
        reason.or_else(|| (word == Word::Fail).then(|| overage_sentence(margin_bytes, behind.as_ref())));
    BudgetResult {
        id: budget.id.clone(),
        subject: budget.subject,
        word,
        reason,
        measured: match worst {
            Some((amount, ..)) => Reading::Measured(amount),
            None => Reading::Unavailable(summary(&missing)),
        },
        is_lower_bound,
        trial: worst.map(|(.., trial)| trial.record.trial),
        phase: worst.and_then(|(_, phase, _)| phase),
        warn: budget.warn,
        fail: budget.fail,
        margin_bytes,
        responsible: behind,
    }
}

fn is_worse(amount: Amount, than: Amount, budget: &Budget) -> bool {
    match budget.decisive() {
        Some(Limit::ShareBillionths(_)) => {
            u128::from(amount.bytes.0) * u128::from(than.of.0)
                > u128::from(than.bytes.0) * u128::from(amount.of.0)
        }
        _ => amount.bytes > than.bytes,
    }
}

/// The first reason, and how many more there are.
pub(super) fn summary(reasons: &[String]) -> String {
    match reasons {
        [] => "nothing was measured".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

fn overage_sentence(margin: Option<i64>, behind: Option<&Responsible>) -> String {
    let over = Bytes(margin.unwrap_or_default().min(0).unsigned_abs());
    let over = if over < Bytes::kib(103) {
        format!("over by {} B", over.0)
    } else {
        format!("over by {} MiB", mib(over))
    };
    match behind {
        Some(behind) => format!("{over}; {}", behind.sentence()),
        None => over,
    }
}

/// Where trials scatter, the worst of a few is not the worst that there is: a margin below three median absolute
/// deviations of the trials is called thin.
fn thin_margin(budget: &Budget, amounts: &mut [Bytes]) -> Option<String> {
    let Some(Limit::Bytes(limit)) = budget.fail else { return None };
    if amounts.len() < TRIALS_FOR_SCATTER {
        return None;
    }
    let worst = amounts.iter().copied().max()?;
    let middle = upper_median(amounts)?;
    let mut deviations: Vec<Bytes> =
        amounts.iter().map(|amount| Bytes(amount.0.abs_diff(middle.0))).collect();
    let scatter = Bytes(upper_median(&mut deviations)?.0.saturating_mul(3));
    (worst.0.saturating_add(scatter.0) > limit.0).then(|| {
        format!(
            "thin margin: {} MiB are left, three deviations of the {} trials are {} MiB",
            mib(limit.saturating_sub(worst)),
            amounts.len(),
            mib(scatter)
        )
    })
}

fn upper_median(values: &mut [Bytes]) -> Option<Bytes> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
