//! The rank-sum test of Mann and Whitney for two samples, as `scipy.stats.mannwhitneyu` makes it.

use super::normal::upper_tail;
use super::ranks::ranks;

/// The larger size of the smaller sample up to which the distribution is counted out, where no values are equal.
const EXACT_UP_TO: usize = 8;

/// How likely it is that `after` ranks as high above `before` as it does, where both come from one distribution (one-sided).
/// Exact where a sample has at most 8 values and none are equal, else normal with corrections for ties and continuity.
/// `None` where a sample is empty.
pub fn greater(before: &[f64], after: &[f64]) -> Option<f64> {
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let (n, m) = (after.len(), before.len());
    let all: Vec<f64> = after.iter().chain(before).copied().collect();
    let (ranks, ties) = ranks(&all);
    let u = ranks[..n].iter().sum::<f64>() - (n * (n + 1)) as f64 / 2.0;
    if ties == 0.0 && n.min(m) <= EXACT_UP_TO {
        // Without ties, u is whole.
        let counts = distribution(n, m);
        let total: f64 = counts.iter().sum();
        return Some(counts[u as usize..].iter().sum::<f64>() / total);
    }
    let (n, m) = (n as f64, m as f64);
    let all = n + m;
    let deviation = (n * m / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)))).sqrt();
    // All values are equal: nothing ranks above anything.
    if deviation == 0.0 {
        return Some(1.0);
    }
    Some(upper_tail((u - n * m / 2.0 - 0.5) / deviation))
}

/// In how many orders of `n` and `m` distinct values the statistic U is 0, 1, … n·m.
pub(super) fn distribution(n: usize, m: usize) -> Vec<f64> {
    // counts[j] is the distribution for i values against j; the largest value belongs to one side or the other.
    let mut counts: Vec<Vec<f64>> = (0..=m).map(|_| vec![1.0]).collect();
    for i in 1..=n {
        let mut next = vec![vec![1.0]];
        for j in 1..=m {
            let (of_first, of_second) = (&counts[j], &next[j - 1]);
            let mut here = vec![0.0; i * j + 1];
            of_first.iter().enumerate().for_each(|(u, count)| here[u + j] += count);
            of_second.iter().enumerate().for_each(|(u, count)| here[u] += count);
            next.push(here);
        }
        counts = next;
    }
    counts.swap_remove(m)
}
