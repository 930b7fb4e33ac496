//! From one row of logits to one token: greedy, or drawn after temperature, top-k and top-p, in that order.
//!
//! Tokens are never sorted, and nothing is allocated: the cut that top-k and top-p make is found by a radix search over
//! the bits of the logits, in three passes over the row with 2048 counters on the stack (`cut`). The draw needs
//! one pass more. Equal logits are kept in the order of their ids.
//!
//! The same logits, options and seed give the same token on every machine: the generator and the exponential are this
//! module's own (`random`), in plain IEEE arithmetic.

mod cut;
mod random;

use thiserror::Error;

use cut::Cut;
use random::{Pcg32, exp};

use crate::ops;

/// How a token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    temperature: f32,
    top_k: u32,
    top_p: f32,
    seed: u64,
}

/// Why options for sampling make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum SamplingError {
    /// Temperature is negative, infinite or not a number.
    #[error("temperature {0} is not a finite number from 0 up")]
    Temperature(f32),
    /// Top-p is outside its range.
    #[error("top_p {0} is not above 0 and at most 1")]
    TopP(f32),
}

impl Sampling {
    /// The most likely token, always.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };

    /// `temperature` 0 is greedy; `top_k` 0 and `top_p` 1 keep every token.
    ///
    /// # Errors
    /// When the temperature is negative or not finite, or `top_p` is not in (0, 1].
    pub fn new(temperature: f32, top_k: u32, top_p: f32, seed: u64) -> Result<Sampling, SamplingError> {
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(SamplingError::Temperature(temperature));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(SamplingError::TopP(top_p));
        }
        Ok(Sampling { temperature, top_k, top_p, seed })
    }

    /// Whether the choice is the most likely token, whatever the seed.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 || self.top_k == 1
    }
}

/// Why no token can be chosen from a row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SampleError {
    /// A logit is NaN or +∞: the model has computed nonsense.
    #[error("logit {id} is not a number: the weights or the computation are damaged")]
    NotANumber {
        /// The token.
        id: u32,
    },
    /// There are no logits, or all of them are -∞.
    #[error("no token has a probability above zero")]
    NothingToChoose,
}

/// The largest logit, and the first token that has it.
fn largest(logits: &[f32]) -> Result<(u32, f32), SampleError> {
    ops::largest(logits).ok_or_else(|| {
        let broken = (0..).zip(logits).find(|(_, logit)| logit.is_nan() || **logit == f32::INFINITY);
        broken.map_or(SampleError::NothingToChoose, |(id, _)| SampleError::NotANumber { id })
    })
}

/// Holds drafts against what is chosen in their places, one after the other: `choose(i)` is the token behind draft `i - 1` (behind
/// the token before the drafts for 0). Returns how many drafts are accepted, and the token that follows them; nothing is chosen
/// behind a draft that is not.
///
/// # Errors
/// The first that `choose` has.
pub fn verify_with<E>(
    drafts: &[u32],
    mut choose: impl FnMut(usize) -> Result<u32, E>,
) -> Result<(usize, u32), E> {
    for (place, draft) in drafts.iter().enumerate() {
        let token = choose(place)?;
        if token != *draft {
            return Ok((place, token));
        }
    }
    Ok((drafts.len(), choose(drafts.len())?))
}

/// Chooses tokens, one row of logits after the other. One sampler serves one sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    random: Pcg32,
}

impl Sampler {
    /// A sampler at the start of its random sequence.
    pub fn new(sampling: Sampling) -> Sampler {
        Sampler { sampling, random: Pcg32::new(sampling.seed) }
    }

    /// As [`Sampling::is_greedy`].
    pub fn is_greedy(&self) -> bool {
        self.sampling.is_greedy()
    }

    /// Chooses a token from `logits`, `[vocabulary]`, any scale. `-∞` is never chosen.
    ///
    /// # Errors
    /// When a logit is NaN or +∞, or none is above -∞.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, SampleError> {
        self.choose(logits, None)
    }

    /// Holds drafts against what the target scored: `rows(i)` are its logits behind draft `i - 1` (behind the token before the
    /// drafts for 0), one row more than there are drafts. Returns how many drafts are accepted, and the token that follows them.
    ///
    /// The rule of arXiv 2211.17192, algorithm 1, for drafts that were not drawn but are the draft's likeliest tokens, so that its
    /// distribution is one at the draft and zero elsewhere: a draft is accepted with the probability that the target gives it, and
    /// after a rejection the token is drawn from what the target gives the others. So tokens are distributed as without drafts;
    /// greedily, they are the same.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn verify<'a>(
        &mut self,
        drafts: &[u32],
        rows: impl Fn(usize) -> &'a [f32],
    ) -> Result<(usize, u32), SampleError> {
        verify_with(drafts, |place| self.choose(rows(place), drafts.get(place).copied()))
    }

    /// Chooses a token; a draft first has its chance, as large as its probability.
    fn choose(&mut self, logits: &[f32], draft: Option<u32>) -> Result<u32, SampleError> {
        let (best, maximum) = largest(logits)?;
        if self.sampling.is_greedy() {
            return Ok(best);
        }
        // The weight of a token relative to the most likely one: at most 1, and 1 for `best`.
        let temperature = f64::from(self.sampling.temperature);
        let weight = |logit: f32| exp((f64::from(logit) - f64::from(maximum)) / temperature);

        let mut cut = Cut::EVERYTHING;
        if self.sampling.top_k != 0 && (self.sampling.top_k as usize) < logits.len() {
            cut = cut::largest_sum(logits, cut, f64::from(self.sampling.top_k), |_| 1.0);
        }
        if self.sampling.top_p < 1.0 {
            let total: f64 = cut.kept(logits).map(|(_, logit)| weight(logit)).sum();
            cut = cut::largest_sum(logits, cut, f64::from(self.sampling.top_p) * total, weight);
        }
        let mut total: f64 = cut.kept(logits).map(|(_, logit)| weight(logit)).sum();
        if let Some(draft) = draft {
            let kept = cut.kept(logits).find(|(id, _)| *id == draft);
            let share = kept.map_or(0.0, |(_, logit)| weight(logit));
            if self.random.unit() * total < share {
                return Ok(draft);
            }
            total -= share;
        }
        let target = self.random.unit() * total;
        let (mut sum, mut chosen) = (0.0, best);
        for (id, logit) in cut.kept(logits) {
            let weight = weight(logit);
            if weight > 0.0 && draft != Some(id) {
                (sum, chosen) = (sum + weight, id);
                if sum > target {
                    break;
                }
            }
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_k: u32, top_p: f32) -> Sampler {
        Sampler::new(Sampling::new(temperature, top_k, top_p, 42).unwrap())
    }

    /// How often each of four tokens comes up in `draws` draws.
    fn counts(mut sampler: Sampler, logits: &[f32; 4], draws: usize) -> [usize; 4] {
        let mut counts = [0; 4];
        for _ in 0..draws {
            counts[sampler.sample(logits).unwrap() as usize] += 1;
        }
        counts
    }

    /// Logits of the probabilities 0.1, 0.4, 0.3, 0.2.
    fn logits() -> [f32; 4] {
        [0.1_f32, 0.4, 0.3, 0.2].map(f32::ln)
    }

    fn assert_near(counts: [usize; 4], expected: [f64; 4]) {
        let draws: usize = counts.iter().sum();
        for (count, probability) in counts.into_iter().zip(expected) {
            // Five standard deviations of a binomial; the seed is fixed, so this passes always or never.
            let spread = 5.0 * (probability * (1.0 - probability) * draws as f64).sqrt();
            assert!((count as f64 - probability * draws as f64).abs() <= spread, "{counts:?} {expected:?}");
        }
    }

    #[test]
    fn draws_follow_the_distribution() {
        assert_near(counts(sampler(1.0, 0, 1.0), &logits(), 20_000), [0.1, 0.4, 0.3, 0.2]);
        // Temperature 0.5 squares the probabilities: 1, 16, 9, 4 of 30.
        assert_near(counts(sampler(0.5, 0, 1.0), &logits(), 20_000), [1.0, 16.0, 9.0, 4.0].map(|w| w / 30.0));
        assert_near(counts(sampler(1.0, 3, 1.0), &logits(), 20_000), [0.0, 4.0, 3.0, 2.0].map(|w| w / 9.0));
        assert_near(counts(sampler(1.0, 2, 1.0), &logits(), 20_000), [0.0, 4.0, 3.0, 0.0].map(|w| w / 7.0));
    }

    #[test]
    fn top_p_keeps_the_token_that_crosses_the_edge() {
        assert_near(counts(sampler(1.0, 0, 0.39), &logits(), 1000), [0.0, 1.0, 0.0, 0.0]);
        assert_near(counts(sampler(1.0, 0, 0.41), &logits(), 20_000), [0.0, 4.0, 3.0, 0.0].map(|w| w / 7.0));
        assert_near(counts(sampler(1.0, 0, 0.71), &logits(), 20_000), [0.0, 4.0, 3.0, 2.0].map(|w| w / 9.0));
        assert_near(counts(sampler(1.0, 0, f32::MIN_POSITIVE), &logits(), 100), [0.0, 1.0, 0.0, 0.0]);
        // After top-k, top-p counts within what is left: 4/7 is below 0.6.
        assert_near(counts(sampler(1.0, 2, 0.57), &logits(), 1000), [0.0, 1.0, 0.0, 0.0]);
        assert_near(counts(sampler(1.0, 2, 0.6), &logits(), 20_000), [0.0, 4.0, 3.0, 0.0].map(|w| w / 7.0));
    }

    #[test]
    fn ties_are_kept_in_the_order_of_ids() {
        let equal = [1.0; 4];
        assert_near(counts(sampler(1.0, 2, 1.0), &equal, 20_000), [0.5, 0.5, 0.0, 0.0]);
        assert_near(counts(sampler(1.0, 0, 0.7), &equal, 20_000), [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]);
        assert_eq!(sampler(0.0, 0, 1.0).sample(&equal), Ok(0));
        // Both zeros are the same number.
        assert_near(counts(sampler(1.0, 2, 1.0), &[-0.0, 0.0, -0.0, -1.0], 20_000), [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn temperature_zero_and_top_k_one_are_greedy() {
        let mut row = Pcg32::new(7);
        for _ in 0..50 {
            let logits: Vec<f32> = (0..333).map(|_| (row.unit() * 20.0 - 10.0) as f32).collect();
            let best = (0..333).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32;
            assert_eq!(sampler(0.0, 0, 1.0).sample(&logits), Ok(best));
            assert_eq!(sampler(1.5, 1, 1.0).sample(&logits), Ok(best));
            assert_eq!(sampler(1e-6, 0, 1.0).sample(&logits), Ok(best));
            assert_eq!(sampler(1.0, 0, 1e-6).sample(&logits), Ok(best));
        }
    }

    #[test]
    fn drafts_do_not_change_the_distribution() {
        // Whatever is drafted, the first token of a round is distributed as the target scores it.
        for draft in 0..4 {
            let mut sampler = sampler(1.0, 3, 1.0);
            let row = logits();
            let (mut counts, mut accepted) = ([0; 4], 0);
            for _ in 0..20_000 {
                let (taken, next) = sampler.verify(&[draft], |_| &row).unwrap();
                accepted += taken;
                counts[if taken == 1 { draft } else { next } as usize] += 1;
            }
            assert_near(counts, [0.0, 4.0, 3.0, 2.0].map(|w| w / 9.0));
            assert_eq!(accepted, counts[draft as usize], "a rejected draft is never drawn after all");
        }
    }

    #[test]
    fn greedy_drafts_are_accepted_up_to_the_first_that_differs() {
        let rows = [[0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 3.0]];
        let verify = |drafts: &[u32]| sampler(0.0, 0, 1.0).verify(drafts, |place| &rows[place]).unwrap();
        assert_eq!(verify(&[]), (0, 1));
        assert_eq!(verify(&[1, 0]), (2, 2));
        assert_eq!(verify(&[1, 2]), (1, 0));
        assert_eq!(verify(&[2, 0]), (0, 1));
    }

    #[test]
    fn the_sequence_of_a_seed_is_fixed() {
        let logits: Vec<f32> = (0..1000).map(|id| (id % 37) as f32 * 0.1).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(Sampling::new(0.8, 400, 0.95, seed).unwrap());
            (0..8).map(|_| sampler.sample(&logits).unwrap()).collect::<Vec<u32>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(
            draw(1),
            [332, 35, 257, 509, 184, 110, 662, 72],
            "another machine would draw other tokens"
        );
    }

    #[test]
    fn rows_without_a_choice_are_errors() {
        for mut sampler in [sampler(0.0, 0, 1.0), sampler(1.0, 2, 0.9)] {
            assert_eq!(sampler.sample(&[]), Err(SampleError::NothingToChoose));
            assert_eq!(sampler.sample(&[f32::NEG_INFINITY; 3]), Err(SampleError::NothingToChoose));
            assert_eq!(sampler.sample(&[0.0, f32::NAN]), Err(SampleError::NotANumber { id: 1 }));
            assert_eq!(sampler.sample(&[f32::INFINITY, 1.0]), Err(SampleError::NotANumber { id: 0 }));
            assert_eq!(sampler.sample(&[f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY]), Ok(1));
        }
    }

    #[test]
    fn options_outside_their_range_are_errors() {
        for temperature in [-1.0, f32::NAN, f32::INFINITY] {
            assert!(matches!(Sampling::new(temperature, 0, 1.0, 0), Err(SamplingError::Temperature(_))));
        }
        for top_p in [0.0, -0.5, 1.5, f32::NAN] {
            assert!(matches!(Sampling::new(1.0, 0, top_p, 0), Err(SamplingError::TopP(_))));
        }
    }
}
