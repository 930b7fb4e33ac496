//! Series with noise: E-divisive (Matteson and James 2014). A stretch is cut where its two sides differ most in their distances,
//! as long as a cut of shuffled values hardly ever separates them as well. Shuffling follows from a fixed seed, so that the same
//! series always gives the same answer.

use crate::random::SplitMix64;
use crate::verdict::statistics::median;

/// Values that are looked at together; a longer series is looked at in windows of this length, each half over the one before.
const WINDOW: usize = 50;

/// Fewer runs than this are a spike, not a level.
const SHORTEST: usize = 3;

/// Shuffled copies that a cut is held against, and how many of them may be cut as well as the series itself: 1 in 100, the
/// series counted among them.
const SHUFFLES: u32 = 999;
const AS_GOOD: u32 = 9;

const SEED: u64 = 0x5eed;

/// Places at which `values` went to another level that is at least the part `magnitude` away from the one before.
pub(super) fn changes(values: &[f64], magnitude: f64) -> Vec<usize> {
    let mut cuts: Vec<usize> = Vec::new();
    let mut from = 0;
    loop {
        let to = values.len().min(from + WINDOW);
        divide(values, from, to, &mut cuts);
        if to == values.len() {
            break;
        }
        from += WINDOW / 2;
    }
    cuts.sort_unstable();
    cuts.dedup();
    merged(values, cuts, magnitude)
}

/// Cuts `from..to` in two where that is better than chance, and then each part.
fn divide(values: &[f64], from: usize, to: usize, cuts: &mut Vec<usize>) {
    let Some((at, gain)) = best_cut(&values[from..to]) else { return };
    if gain <= 0.0 || !is_better_than_chance(&values[from..to], gain) {
        return;
    }
    divide(values, from, from + at, cuts);
    cuts.push(from + at);
    divide(values, from + at, to, cuts);
}

/// Two parts of `l` and `r` values: l·r/(l + r) times twice the mean distance between the parts, less the mean distances within
/// each. `None` where a part would be too short.
fn best_cut(values: &[f64]) -> Option<(usize, f64)> {
    let count = values.len();
    let distance = |one: usize, other: usize| (values[one] - values[other]).abs();
    // Sums of distances over pairs. One value after the other goes from the right part to the left one.
    let (mut left, mut across) = (0.0, 0.0);
    let mut right: f64 = (0..count).flat_map(|one| (0..one).map(move |other| distance(one, other))).sum();
    let mut best: Option<(usize, f64)> = None;
    for moved in 0..count.saturating_sub(SHORTEST) {
        let to_left: f64 = (0..moved).map(|other| distance(moved, other)).sum();
        let to_right: f64 = (moved + 1..count).map(|other| distance(moved, other)).sum();
        left += to_left;
        right -= to_right;
        across += to_right - to_left;
        let (l, r) = ((moved + 1) as f64, (count - moved - 1) as f64);
        if moved + 1 < SHORTEST {
            continue;
        }
        let within = |sum: f64, n: f64| sum / (n * (n - 1.0) / 2.0);
        let gain = l * r / (l + r) * (2.0 * across / (l * r) - within(left, l) - within(right, r));
        if best.is_none_or(|(_, most)| gain > most) {
            best = Some((moved + 1, gain));
        }
    }
    best
}

fn is_better_than_chance(values: &[f64], gain: f64) -> bool {
    let mut random = SplitMix64::new(SEED);
    let mut shuffled = values.to_vec();
    let mut as_good = 0;
    for _ in 0..SHUFFLES {
        for place in (1..shuffled.len()).rev() {
            shuffled.swap(place, random.below(place + 1));
        }
        // Sums in another order round otherwise: what is as good but for that is as good.
        if best_cut(&shuffled).is_some_and(|(_, other)| other >= gain * (1.0 - 1e-9)) {
            as_good += 1;
            if as_good > AS_GOOD {
                return false;
            }
        }
    }
    true
}

/// Takes out the least step again and again, until each is large enough and each level long enough.
fn merged(values: &[f64], mut cuts: Vec<usize>, magnitude: f64) -> Vec<usize> {
    loop {
        let edges: Vec<usize> = [0].into_iter().chain(cuts.iter().copied()).chain([values.len()]).collect();
        let step = |at: usize| {
            let (before, after) = (&values[edges[at]..edges[at + 1]], &values[edges[at + 1]..edges[at + 2]]);
            let is_short = before.len().min(after.len()) < SHORTEST;
            // A part of zero is any part: what began from nothing counts.
            let part = median(before).zip(median(after)).map(|(was, is)| match was == is {
                true => 0.0,
                false => (is - was).abs() / was.abs(),
            });
            if is_short { 0.0 } else { part.unwrap_or(0.0) }
        };
        let least = (0..cuts.len()).map(|at| (at, step(at))).min_by(|one, other| one.1.total_cmp(&other.1));
        match least {
            Some((at, size)) if size < magnitude => drop(cuts.remove(at)),
            _ => return cuts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    /// Values about a level, scattered evenly within the part `noise` of it to either side.
    fn noisy(random: &mut SplitMix64, level: f64, noise: f64, count: usize) -> Vec<f64> {
        let part = |word: u64| (word >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 - 1.0;
        (0..count).map(|_| level * (1.0 + noise * part(random.next_word()))).collect()
    }

    #[test]
    fn planted_steps_are_found_where_they_are() {
        let mut random = SplitMix64::new(1);
        let levels = [(100.0, 20), (106.0, 15), (101.0, 40)];
        let values: Vec<f64> =
            levels.iter().flat_map(|(level, count)| noisy(&mut random, *level, 0.01, *count)).collect();
        assert_eq!(changes(&values, 0.01), [20, 35]);
        assert_eq!(changes(&values, 0.01), changes(&values, 0.01), "the same answer each time");
        let first = &values[..35];
        let scaled: Vec<f64> = first.iter().map(|value| value * 1e9).collect();
        assert_eq!(changes(&scaled, 0.01), [20], "whatever the unit");
    }

    #[test]
    fn a_spike_is_no_level() {
        let mut random = SplitMix64::new(2);
        let mut values = noisy(&mut random, 100.0, 0.01, 60);
        values[30] *= 2.0;
        assert_eq!(changes(&values, 0.01), NONE);
        values[31] *= 2.0;
        assert_eq!(changes(&values, 0.01), NONE, "two are none, either");
    }

    #[test]
    fn constants_and_short_series_have_none() {
        assert_eq!(changes(&[7.0; 80], 0.01), NONE);
        assert_eq!(changes(&[0.0; 80], 0.01), NONE);
        let step: Vec<f64> = [vec![7.0; 20], vec![8.0; 20]].concat();
        assert_eq!(changes(&step, 0.01), [20], "without any scatter");
        let from_nothing: Vec<f64> = [vec![0.0; 20], vec![8.0; 20]].concat();
        assert_eq!(changes(&from_nothing, 0.01), [20]);
        for count in 0..6 {
            assert_eq!(changes(&step[..count], 0.01), NONE);
        }
    }

    #[test]
    fn steps_that_are_certain_and_small_are_left_out() {
        let mut random = SplitMix64::new(3);
        let mut values = noisy(&mut random, 100.0, 0.001, 25);
        values.extend(noisy(&mut random, 102.0, 0.001, 25));
        assert_eq!(changes(&values, 0.03), NONE);
        assert_eq!(changes(&values, 0.01), [25]);
    }

    #[test]
    fn noise_alone_seldom_looks_like_a_step() {
        let mut random = SplitMix64::new(4);
        let found =
            (0..100).filter(|_| !changes(&noisy(&mut random, 100.0, 0.08, 40), 0.03).is_empty()).count();
        assert!(found <= 4, "{found} of 100, where one in a hundred is expected");
    }
}
