//! The cut between tokens that are kept and tokens that are not, found without sorting.

/// Which tokens are kept: those with a larger key, and of those with exactly this key the first few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// The smallest key that is kept.
    key: u32,
    /// How many tokens with exactly that key are kept, in the order of their ids.
    equal: usize,
}

/// Bits of a key that one pass looks at.
const DIGITS: [u32; 3] = [11, 11, 10];

impl Cut {
    /// Every token is kept.
    pub(super) const EVERYTHING: Cut = Cut { key: 0, equal: usize::MAX };

    /// The kept tokens with their logits, by id.
    pub(super) fn kept(self, logits: &[f32]) -> impl Iterator<Item = (u32, f32)> {
        let mut equal = self.equal;
        (0..).zip(logits.iter().copied()).filter(move |(_, logit)| {
            let key = key(*logit);
            if key != self.key {
                return key > self.key;
            }
            let keep = equal > 0;
            equal = equal.saturating_sub(1);
            keep
        })
    }
}

/// A number that orders as the logit does. Both zeros have the same one.
fn key(logit: f32) -> u32 {
    let bits = (logit + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The fewest tokens, largest logits first, whose weights add up to `goal` or more; of the tokens that `within` keeps.
/// All of them, if their sum falls short. `weight` depends on the logit alone.
///
/// A radix search: the first pass adds up weights by the top bits of the keys and finds the bucket in which the sum
/// crosses the goal, the next two do the same inside that bucket.
pub(super) fn largest_sum(logits: &[f32], within: Cut, goal: f64, weight: impl Fn(f32) -> f64) -> Cut {
    let (mut prefix, mut shift, mut above) = (0_u32, 32, 0.0);
    for digits in DIGITS {
        let mut sums = [0.0_f64; 1 << 11];
        let mut lowest = None;
        for (_, logit) in within.kept(logits) {
            let key = key(logit);
            if shift == 32 || key >> shift == prefix {
                let digit = (key >> (shift - digits)) as usize & ((1 << digits) - 1);
                sums[digit] += weight(logit);
                lowest = Some(lowest.unwrap_or(digit).min(digit));
            }
        }
        let Some(lowest) = lowest else { return within };
        let mut digit = (1 << digits) - 1;
        while digit > lowest && above + sums[digit] < goal {
            above += sums[digit];
            digit -= 1;
        }
        shift -= digits;
        prefix = prefix << digits | digit as u32;
    }
    // Only equal logits are left in the bucket: as many of them as the goal still needs, and one at least.
    let mut equal = 0;
    for (_, logit) in within.kept(logits).filter(|(_, logit)| key(*logit) == prefix) {
        if equal > 0 && above >= goal {
            break;
        }
        above += weight(logit);
        equal += 1;
    }
    Cut { key: prefix, equal }
}
#[cfg(test)]
mod tests {
    use super::*;

    /// The same by sorting.
    fn sorted(logits: &[f32], goal: f64, weight: impl Fn(f32) -> f64) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        ids.sort_by(|a, b| logits[*b as usize].partial_cmp(&logits[*a as usize]).unwrap().then(a.cmp(b)));
        let mut sum = 0.0;
        let mut kept: Vec<u32> = Vec::new();
        for id in ids {
            if !kept.is_empty() && sum >= goal {
                break;
            }
            sum += weight(logits[id as usize]);
            kept.push(id);
        }
        kept.sort_unstable();
        kept
    }

    #[test]
    fn the_search_agrees_with_sorting() {
        let mut random = super::super::random::Pcg32::new(3);
        for round in 0..60 {
            // Few distinct values in some rounds, so that ties matter; powers of two as weights, so that sums are exact.
            let distinct = [4.0, 40.0, 1e9][round % 3];
            let logits: Vec<f32> = (0..500)
                .map(|_| (((random.unit() - 0.5) * distinct).round() / distinct * 30.0) as f32)
                .collect();
            let kept = |cut: Cut| cut.kept(&logits).map(|(id, _)| id).collect::<Vec<u32>>();
            for count in [1.0, 2.0, 7.0, 250.0, 499.0, 500.0, 800.0] {
                let cut = largest_sum(&logits, Cut::EVERYTHING, count, |_| 1.0);
                assert_eq!(kept(cut), sorted(&logits, count, |_| 1.0), "{distinct} {count}");
            }
            let weight = |logit: f32| f64::from(logit.round()).exp2();
            let total: f64 = logits.iter().map(|logit| weight(*logit)).sum();
            for share in [0.01, 0.5, 0.9, 1.0] {
                let cut = largest_sum(&logits, Cut::EVERYTHING, share * total, weight);
                assert_eq!(kept(cut), sorted(&logits, share * total, weight), "{distinct} {share}");
            }
        }
    }

    #[test]
    fn keys_order_as_logits_do() {
        let logits =
            [f32::NEG_INFINITY, f32::MIN, -1.0, -f32::MIN_POSITIVE, 0.0, f32::MIN_POSITIVE, 2.5, f32::MAX];
        assert!(logits.is_sorted_by_key(|logit| key(*logit)));
        assert_eq!(key(-0.0), key(0.0));
    }
}
