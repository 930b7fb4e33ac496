//! The percentile bootstrap of a median (Efron 1979), seeded, so that a record always gives the same answer.

use super::median::{median, middle, quantile};
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
    Some((quantile(&medians, 0.025)?, quantile(&medians, 0.975)?))
}
