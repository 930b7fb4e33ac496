//! Device memory, which a driver gives out in granules: the medians of a few processes, and a step that is more than a granule
//! or what the baseline scatters by.

use super::comparison::{Metric, Shift};
use super::gates::Allowed;
use crate::verdict::Word;
use crate::verdict::statistics::{mad, median};

/// Processes on each side below which nothing is decided.
const TRIALS: usize = 3;

/// What a driver gives out at once.
const GRANULE: f64 = 2.0 * MIB;
const MIB: f64 = 1_048_576.0;

/// What a step must exceed: the largest of two granules, three deviations of the baseline's trials, 1 % of it, and 16 MiB.
fn threshold(before: &[f64], middle: f64) -> f64 {
    let scatter = 3.0 * mad(before).unwrap_or(0.0);
    [2.0 * GRANULE, scatter, 0.01 * middle, 16.0 * MIB].into_iter().fold(0.0, f64::max)
}

/// The step of `metric`; `None` where a side has no value.
pub(super) fn step(metric: Metric, before: &[f64], after: &[f64], allowed: Option<Allowed>) -> Option<Shift> {
    let (was, is) = (median(before)?, median(after)?);
    let threshold = allowed.as_ref().map_or_else(|| threshold(before, was), |allowed| allowed.threshold);
    let (word, reason) = if before.len().min(after.len()) < TRIALS {
        let few = format!("{} trials against {}: a step is judged from 3 on", after.len(), before.len());
        (None, Some(few))
    } else if is - was > threshold {
        (Some(Word::Regression), None)
    } else if was - is > threshold {
        (Some(Word::Improved), None)
    } else {
        (Some(Word::Pass), None)
    };
    let trials = (before.len(), after.len());
    let gate = allowed.map(|allowed| allowed.gate);
    Some(Shift { word, reason, gate, ..Shift::new(metric, trials, [was, is], is - was, threshold) })
}
