//! Resident memory of processes, which scatters by one to seven percent: a shift counts where even the near end of its interval
//! is more than scatter explains.

use super::comparison::{Metric, Shift};
use super::gates::Allowed;
use crate::verdict::Word;
use crate::verdict::statistics::{median, rank_sum, shift};

/// Processes on each side below which nothing is decided.
const TRIALS: usize = 5;

/// What a shift must exceed: the larger of 2 % of the baseline and 32 MiB.
fn threshold(middle: f64) -> f64 {
    (0.02 * middle).max(32.0 * 1_048_576.0)
}

/// The shift of `metric`; `None` where a side has no value. The word is what the interval alone says; `chance` has the last one.
pub(super) fn moved(
    metric: Metric,
    before: &[f64],
    after: &[f64],
    allowed: Option<Allowed>,
) -> Option<Shift> {
    let (was, is) = (median(before)?, median(after)?);
    let found = shift(before, after)?;
    let threshold = allowed.as_ref().map_or_else(|| threshold(was), |allowed| allowed.threshold);
    let enough = before.len().min(after.len()) >= TRIALS;
    let interval = found.interval.filter(|_| enough);
    let (word, reason) = match interval {
        None => {
            let few =
                format!("{} trials against {}: what scatters is judged from 5 on", after.len(), before.len());
            (None, Some(few))
        }
        Some((low, _)) if low > threshold => (Some(Word::Regression), None),
        Some((_, high)) if high < -threshold => (Some(Word::Improved), None),
        Some((low, _)) if found.estimate > threshold => {
            let why = format!("it may be as little as {}", super::signed_size(low.round() as i64));
            (Some(Word::Warn), Some(why))
        }
        Some(_) => (Some(Word::Pass), None),
    };
    // How likely a shift beyond the threshold would be by chance, to whichever side it is.
    let beyond = |from: &[f64], to: &[f64]| {
        rank_sum::greater(from, &to.iter().map(|value| value - threshold).collect::<Vec<f64>>())
    };
    let p_value = interval.and_then(|_| match found.estimate >= 0.0 {
        true => beyond(before, after),
        false => beyond(after, before),
    });
    let trials = (before.len(), after.len());
    let gate = allowed.map(|allowed| allowed.gate);
    let unjudged = Shift::new(metric, trials, [was, is], found.estimate, threshold);
    Some(Shift { interval, p_value, word, reason, gate, ..unjudged })
}
