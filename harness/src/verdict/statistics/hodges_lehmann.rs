//! By how much one sample is shifted against another: the median of all differences between them (Hodges and Lehmann 1963).

use super::median::middle;
use super::normal::QUANTILE_975;
use super::rank_sum::distribution;

/// Values of the larger sample up to which the distribution behind the interval is counted out, as R's `wilcox.test` does.
const EXACT_BELOW: usize = 50;

/// Half of what an interval of 95 % leaves out.
const TAIL: f64 = 0.025;

/// A shift, with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shifted {
    /// The estimate.
    pub estimate: f64,
    /// The interval at 95 % (two-sided). `None` where the samples are too small for one: below 4 against 4 values, no order of
    /// them is unlikely enough.
    pub interval: Option<(f64, f64)>,
}

/// The shift from `before` to `after`; `None` where one is empty.
///
/// The interval ends at two of the sorted differences. Which ones follows from the distribution of the rank sum: counted out
/// below 50 values, else normal. Equal values make it wider, not narrower.
pub fn shift(before: &[f64], after: &[f64]) -> Option<Shifted> {
    let mut differences: Vec<f64> =
        after.iter().flat_map(|after| before.iter().map(move |before| after - before)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let estimate = middle(&differences)?;
    let left_out = left_out(before.len(), after.len());
    let interval =
        (left_out > 0).then(|| (differences[left_out - 1], differences[differences.len() - left_out]));
    Some(Shifted { estimate, interval })
}

/// How many differences lie at or beyond each end of the interval.
fn left_out(n: usize, m: usize) -> usize {
    if n.max(m) < EXACT_BELOW {
        let counts = distribution(n, m);
        let most = counts.iter().sum::<f64>() * TAIL;
        let mut below = 0.0;
        return counts
            .iter()
            .take_while(|count| {
                below += **count;
                below <= most
            })
            .count();
    }
    let (n, m) = (n as f64, m as f64);
    let deviation = (n * m * (n + m + 1.0) / 12.0).sqrt();
    (n * m / 2.0 - QUANTILE_975 * deviation).floor().max(0.0) as usize
}
