//! The percentile bootstrap of a median (Efron 1979), seeded, so that a record always gives the same answer.

use super::median::{median, middle};
use crate::random::SplitMix64;

/// Samples that are drawn from the sample.
const RESAMPLES: usize = 10_000;

/// Decides which.
const SEED: u64 = 1;

/// The interval of the median of `values` at 95 %; `None` of none. Below 8 values it is too narrow to be believed.
pub fn median_interval(values: &[f64]) -> Option<(f64, f64)> {
    median(values)?;
    let mut random = SplitMix64::new(SEED);
    let mut drawn = vec![0.0; values.len()];
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            drawn.iter_mut().for_each(|value| *value = values[random.below(values.len())]);
            drawn.sort_unstable_by(f64::total_cmp);
            middle(&drawn)
        })
        .collect();
    medians.sort_unstable_by(f64::total_cmp);
    Some((percentile(&medians, 0.025), percentile(&medians, 0.975)))
}

/// The value below which `part` of values that ascend lie, between two of them where it falls between.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}
