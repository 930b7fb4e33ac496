//! Times, from pairs of trials that ran one after the other in the order A B B A: what drifts meanwhile moves both of a pair.

use super::comparison::{Metric, Shift};
use super::gates::Allowed;
use crate::verdict::Word;
use crate::verdict::statistics::{median, median_interval, signed_rank};

/// Pairs below which nothing is decided.
pub(super) const PAIRS: usize = 10;

/// What a time must change by.
const THRESHOLD: f64 = 0.03;

/// How likely differences as these may be without a cause.
const SIGNIFICANT: f64 = 0.05;

/// The change of `metric` from `before` to `after`, which are of one pair at each place. `None` without pairs.
///
/// A change counts where three agree: its interval does not include none, the signed ranks are unlikely, and it is the threshold at least.
pub(super) fn changed(
    metric: Metric,
    before: &[f64],
    after: &[f64],
    allowed: Option<Allowed>,
) -> Option<Shift> {
    let threshold = allowed.as_ref().map_or(THRESHOLD, |allowed| allowed.threshold);
    let pairs = || before.iter().zip(after).filter(|(before, after)| **before > 0.0 && **after > 0.0);
    let ratios: Vec<f64> = pairs().map(|(before, after)| (after / before).ln()).collect();
    let middle = median(&ratios)?;
    let interval = median_interval(&ratios).filter(|_| ratios.len() >= PAIRS);
    let p_value = signed_rank::two_sided(&ratios).or(Some(1.0)).filter(|_| interval.is_some());
    let (word, reason) = match (interval, p_value) {
        (Some((low, high)), Some(p)) => {
            let counts = p < SIGNIFICANT && middle.abs() >= threshold.ln_1p();
            let word = match counts {
                true if low > 0.0 => Word::Regression,
                true if high < 0.0 => Word::Improved,
                _ => Word::Pass,
            };
            (Some(word), None)
        }
        _ => (None, Some(format!("{} pairs: times are judged from {PAIRS} on", ratios.len()))),
    };
    let was = median(&pairs().map(|(before, _)| *before).collect::<Vec<f64>>())?;
    let is = median(&pairs().map(|(_, after)| *after).collect::<Vec<f64>>())?;
    let trials = (ratios.len(), ratios.len());
    let interval = interval.map(|(low, high)| (low.exp_m1(), high.exp_m1()));
    let gate = allowed.map(|allowed| allowed.gate);
    let unjudged = Shift::new(metric, trials, [was, is], middle.exp_m1(), threshold);
    Some(Shift { interval, p_value, word, reason, gate, ..unjudged })
}

/// Times of two samples that are no pairs: shown, and judged by nothing.
pub(super) fn unpaired(metric: Metric, before: &[f64], after: &[f64]) -> Option<Shift> {
    let (was, is) = (median(before)?, median(after)?);
    let reason = Some("times drift, so they are judged from pairs alone".to_owned());
    let trials = (before.len(), after.len());
    Some(Shift { reason, ..Shift::new(metric, trials, [was, is], is / was - 1.0, THRESHOLD) })
}
