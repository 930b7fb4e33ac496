//! The signed-rank test of Wilcoxon for pairs, as `scipy.stats.wilcoxon` makes it.

use super::normal::upper_tail;
use super::ranks::ranks;

/// Differences up to which the distribution is counted out, where no two are of one size.
const EXACT_UP_TO: usize = 50;

/// How likely differences are that lie as much to one side as these, where they are symmetric around nothing (two-sided).
/// Pairs without a difference are left out. Exact up to 50 differences of distinct sizes, else normal with corrections for
/// ties and continuity. `None` where no pair differs.
pub fn two_sided(differences: &[f64]) -> Option<f64> {
    let differing: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    if differing.is_empty() {
        return None;
    }
    let sizes: Vec<f64> = differing.iter().map(|difference| difference.abs()).collect();
    let (ranks, ties) = ranks(&sizes);
    let count = differing.len();
    let upward: f64 =
        differing.iter().zip(&ranks).filter(|(difference, _)| **difference > 0.0).map(|(_, rank)| rank).sum();
    let all = (count * (count + 1)) as f64 / 2.0;
    if ties == 0.0 && count <= EXACT_UP_TO {
        let counts = distribution(count);
        let smaller = upward.min(all - upward) as usize;
        let tail: f64 = counts[..=smaller].iter().sum();
        return Some((2.0 * tail / counts.iter().sum::<f64>()).min(1.0));
    }
    let n = count as f64;
    let deviation = ((n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0).sqrt();
    let beyond = (upward - all / 2.0).abs();
    // Half a rank towards the middle, and not past it.
    let corrected = if beyond == 0.0 { 0.0 } else { beyond - 0.5 };
    Some((2.0 * upper_tail(corrected / deviation)).min(1.0))
}

/// In how many ways signs can be given to the ranks 1 to `count` so that the positive ones sum to 0, 1, …
fn distribution(count: usize) -> Vec<f64> {
    let mut counts = vec![1.0];
    for rank in 1..=count {
        let mut next = vec![0.0; counts.len() + rank];
        for (sum, ways) in counts.iter().enumerate() {
            next[sum] += ways;
            next[sum + rank] += ways;
        }
        counts = next;
    }
    counts
}
