//! How far one model's scores are from another's.
//!
//! With `p = softmax(expected)` and `q = softmax(found)`, position by position:
//!
//! ```text
//! KL(p || q) = sum_i p_i (ln p_i - ln q_i)        in nats
//! ln softmax(x)_i = x_i - ln sum_j exp(x_j)       with the largest x taken out first, so that nothing overflows
//! ```

use runtime::ops::argmax;

/// Scores that are no numbers, or two rows of different length, cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the scores are no numbers, or not of the same tokens")]
pub struct Incomparable;

/// What is left of the comparison of many positions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Divergence {
    positions: usize,
    sum: f64,
    largest: f64,
    agreed: usize,
}

impl Divergence {
    /// Takes in one position.
    ///
    /// # Errors
    /// When the scores cannot be compared; nothing is taken in then.
    pub fn add(&mut self, expected: &[f32], found: &[f32]) -> Result<(), Incomparable> {
        let divergence = kl_divergence(expected, found)?;
        self.take_in(divergence, argmax(expected) == argmax(found));
        Ok(())
    }

    /// Takes in one position of a model whose rows are those of the ids `kept`: the divergence over these rows, and `-ln` of the
    /// probability that `expected` gives to them.
    ///
    /// # Errors
    /// As [`Divergence::add`].
    pub fn add_trimmed(&mut self, expected: &[f32], kept: &[u32], found: &[f32]) -> Result<(), Incomparable> {
        let left = kept.iter().map(|id| expected.get(*id as usize).copied().ok_or(Incomparable));
        let left = left.collect::<Result<Vec<f32>, Incomparable>>()?;
        let trimmed_away = (log_sum_exp(expected)? - log_sum_exp(&left)?).max(0.0);
        let divergence = kl_divergence(&left, found)? + trimmed_away;
        let same = kept[argmax(found) as usize] == argmax(expected);
        self.take_in(divergence, same);
        Ok(())
    }

    fn take_in(&mut self, divergence: f64, same_top1: bool) {
        self.positions += 1;
        self.sum += divergence;
        self.largest = self.largest.max(divergence);
        self.agreed += usize::from(same_top1);
    }

    /// Mean over the positions, in nats. `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.positions > 0).then(|| self.sum / self.positions as f64)
    }

    /// The largest of the positions, in nats. `None` without any.
    pub fn largest(&self) -> Option<f64> {
        (self.positions > 0).then_some(self.largest)
    }

    /// The part of the positions whose likeliest token is the same, 0 to 1. `None` without any.
    pub fn agreement(&self) -> Option<f64> {
        (self.positions > 0).then(|| self.agreed as f64 / self.positions as f64)
    }
}

/// KL divergence of `softmax(found)` from `softmax(expected)`, in nats, from scores.
///
/// # Errors
/// When a score is not finite, there is none, or the lengths differ.
pub fn kl_divergence(expected: &[f32], found: &[f32]) -> Result<f64, Incomparable> {
    if expected.len() != found.len() {
        return Err(Incomparable);
    }
    let (of_expected, of_found) = (log_sum_exp(expected)?, log_sum_exp(found)?);
    let terms = expected.iter().zip(found).map(|(&expected, &found)| {
        let (expected, found) = (f64::from(expected) - of_expected, f64::from(found) - of_found);
        expected.exp() * (expected - found)
    });
    // It is never negative; what rounding leaves below zero is zero.
    Ok(terms.sum::<f64>().max(0.0))
}

/// `ln` of the probability of `row` under `softmax(scores)`.
///
/// # Errors
/// When a score is not finite, or there is no such row.
pub(super) fn log_likelihood(scores: &[f32], row: usize) -> Result<f64, Incomparable> {
    let score = scores.get(row).ok_or(Incomparable)?;
    Ok(f64::from(*score) - log_sum_exp(scores)?)
}

/// `ln sum exp(scores)`.
fn log_sum_exp(scores: &[f32]) -> Result<f64, Incomparable> {
    if scores.is_empty() || !scores.iter().all(|score| score.is_finite()) {
        return Err(Incomparable);
    }
    let largest = f64::from(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    Ok(largest + scores.iter().map(|&score| (f64::from(score) - largest).exp()).sum::<f64>().ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found}, expected {expected}");
    }

    #[test]
    fn a_model_does_not_diverge_from_itself() {
        let scores = [1.5, -3.0, 0.25, 88.0, -90.0];
        assert_eq!(kl_divergence(&scores, &scores), Ok(0.0));
    }

    #[test]
    fn known_distributions_have_their_divergence() {
        let scores = |odds: &[f32]| odds.iter().map(|p| p.ln()).collect::<Vec<f32>>();
        // Fair against three to one: ln 2 - (ln 3)/2, up to the rounding of scores in f32.
        let divergence = kl_divergence(&scores(&[0.5, 0.5]), &scores(&[0.75, 0.25])).unwrap();
        assert!((divergence - (2f64.ln() - 3f64.ln() / 2.0 + (4f64 / 2.0).ln() - 2f64.ln())).abs() < 1e-6);
        // The other way round it is another number: 0.75 ln 1.5 + 0.25 ln 0.5.
        let divergence = kl_divergence(&scores(&[0.75, 0.25]), &scores(&[0.5, 0.5])).unwrap();
        assert!((divergence - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-6);
        // Certain of one of four against no idea: ln 4.
        assert_near(kl_divergence(&[200.0, 0.0, 0.0, 0.0], &[0.0; 4]).unwrap(), 4f64.ln());
    }

    #[test]
    fn an_offset_of_all_scores_changes_nothing_and_large_ones_do_not_overflow() {
        let (a, b) = ([1.0, 2.0, 3.0], [3.0, 1.0, 2.0]);
        let plain = kl_divergence(&a, &b).unwrap();
        assert!(plain > 0.1);
        for offset in [-16384.0f32, 16384.0] {
            assert_near(kl_divergence(&a.map(|x| x + offset), &b).unwrap(), plain);
        }
        let far = kl_divergence(&[3e38, -3e38], &[-3e38, 3e38]).unwrap();
        assert!(far.is_finite() && far > 1e38, "{far}");
        assert_eq!(kl_divergence(&[3e38, -3e38], &[3e38, -3e38]), Ok(0.0));
    }

    #[test]
    fn what_is_no_number_is_said() {
        for scores in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY, 0.0]] {
            assert_eq!(kl_divergence(&scores, &[0.0; 2]), Err(Incomparable));
            assert_eq!(kl_divergence(&[0.0; 2], &scores), Err(Incomparable));
        }
        assert_eq!(kl_divergence(&[], &[]), Err(Incomparable));
        assert_eq!(kl_divergence(&[0.0], &[0.0, 0.0]), Err(Incomparable));
        let mut divergence = Divergence::default();
        assert_eq!(divergence.add(&[f32::NAN], &[0.0]), Err(Incomparable));
        assert_eq!((divergence.mean(), divergence.largest(), divergence.agreement()), (None, None, None));
    }

    #[test]
    fn a_trimmed_model_pays_for_what_it_cannot_say() {
        // Two of four equally likely rows are left, and scored alike: ln 2, for the half that is gone.
        let mut divergence = Divergence::default();
        divergence.add_trimmed(&[0.0; 4], &[0, 2], &[5.0, 5.0]).unwrap();
        assert_near(divergence.mean().unwrap(), 2f64.ln());
        assert_eq!(divergence.agreement(), Some(1.0));
        // The likeliest row is gone.
        divergence.add_trimmed(&[0.0, 9.0, 0.0, 0.0], &[0, 2], &[5.0, 5.0]).unwrap();
        assert_eq!(divergence.agreement(), Some(0.5));
        assert_eq!(divergence.add_trimmed(&[0.0; 2], &[2], &[0.0]), Err(Incomparable));
        // Nothing is gone: as without trimming.
        let (a, b) = ([1.0, 2.0, 3.0], [3.0, 1.0, 2.0]);
        let mut whole = Divergence::default();
        whole.add_trimmed(&a, &[0, 1, 2], &b).unwrap();
        assert_near(whole.mean().unwrap(), kl_divergence(&a, &b).unwrap());
    }

    #[test]
    fn a_likelihood_is_a_probability() {
        let scores = [2.0; 4];
        assert_near(log_likelihood(&scores, 0).unwrap(), 0.25f64.ln());
        assert_near(log_likelihood(&[1.0, 0.0], 1).unwrap(), -1.0 - (-1f64).exp().ln_1p());
        assert_eq!(log_likelihood(&scores, 4), Err(Incomparable));
        assert_eq!(log_likelihood(&[f32::NAN, 0.0], 1), Err(Incomparable));
    }

    #[test]
    fn positions_add_up() {
        let mut divergence = Divergence::default();
        divergence.add(&[0.0, 1.0], &[0.0, 1.0]).unwrap();
        divergence.add(&[0.0, 1.0], &[1.0, 0.0]).unwrap();
        let one = kl_divergence(&[0.0, 1.0], &[1.0, 0.0]).unwrap();
        assert_eq!(divergence.mean(), Some(one / 2.0));
        assert_eq!(divergence.largest(), Some(one));
        assert_eq!(divergence.agreement(), Some(0.5));
        // Of equal scores the first is taken, as greedy decoding does.
        divergence.add(&[1.0, 1.0], &[1.0, 0.0]).unwrap();
        assert_eq!(divergence.agreement(), Some(2.0 / 3.0));
    }
}
