//! What a configuration costs in quality, and what it may cost.

use std::fmt;

use ledger::Tokens;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Reading;
use crate::scenario::Condition;

/// An engine under its settings, held against the exact path of the same checkpoint: f32 arithmetic from the dequantised weights,
/// the whole table as the checkpoint stores it, the KV cache in f32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QualityReading {
    /// Tokens of the text, by the encoding of the reference.
    #[schemars(with = "u32")]
    pub tokens: Tokens,
    /// Positions that were scored.
    pub positions: u64,
    /// Perplexity of the text, by token of the reference's encoding.
    pub perplexity: f64,
    /// The same of the reference.
    pub reference_perplexity: f64,
    /// Mean over the positions of the KL divergence from the reference's distribution, in nats.
    pub mean_kl_nats: f64,
    /// The largest of the positions, in nats.
    pub largest_kl_nats: f64,
    /// Part of the positions whose likeliest token is the reference's, 0 to 1.
    pub top1_agreement: f64,
    /// Part of the tokens of greedy continuations that come before the first one that differs, 0 to 1. `None` without continuations.
    pub token_match: Option<f64>,
    /// Tokens a round in these continuations, accepted drafts and one more. `None` where nothing was drafted.
    pub acceptance_length: Option<f64>,
    /// True where the weights were made from a seed: the numbers say nothing about a trained model then.
    pub synthetic_weights: bool,
}

impl QualityReading {
    /// By which part perplexity is larger than the reference's; negative where it is smaller.
    pub fn ppl_increase(&self) -> f64 {
        self.perplexity / self.reference_perplexity - 1.0
    }
}

/// What a budget on quality limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityMetric {
    /// Mean KL divergence in nats, at most.
    MaxKl,
    /// The part by which perplexity grows, at most.
    MaxPplIncrease,
    /// Agreement of the likeliest token, at least.
    MinTop1,
    /// Tokens of greedy continuations before the first that differs, at least.
    MinTokenMatch,
}

impl fmt::Display for QualityMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            QualityMetric::MaxKl => "mean KL divergence in nats",
            QualityMetric::MaxPplIncrease => "growth of perplexity",
            QualityMetric::MinTop1 => "top-1 agreement",
            QualityMetric::MinTokenMatch => "token match",
        })
    }
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualityBudget {
    /// Its name.
    pub id: String,
    /// The cells that it is for.
    pub when: Condition,
    /// What it limits.
    pub metric: QualityMetric,
    /// The largest value that passes, or the smallest one.
    pub limit: f64,
    /// Why this limit.
    pub why: String,
}

impl QualityBudget {
    /// What is said of `reading` where it is beyond the limit; `None` where it is within. `Err` where it has no such number.
    ///
    /// # Errors
    /// When nothing was measured, or the number is none.
    pub fn exceeded_by(&self, reading: &Reading<QualityReading>) -> Result<Option<String>, String> {
        let reading = match reading {
            Reading::Measured(reading) => reading,
            Reading::Unavailable(why) => return Err(why.clone()),
        };
        let (value, is_floor) = match self.metric {
            QualityMetric::MaxKl => (Some(reading.mean_kl_nats), false),
            QualityMetric::MaxPplIncrease => (Some(reading.ppl_increase()), false),
            QualityMetric::MinTop1 => (Some(reading.top1_agreement), true),
            QualityMetric::MinTokenMatch => (reading.token_match, true),
        };
        let value = value.filter(|value| value.is_finite());
        let value = value.ok_or_else(|| format!("there is no {}", self.metric))?;
        let beyond = if is_floor { value < self.limit } else { value > self.limit };
        let side = if is_floor { "least" } else { "most" };
        let shown =
            if value != 0.0 && value.abs() < 1e-3 { format!("{value:.1e}") } else { format!("{value:.4}") };
        Ok(beyond.then(|| format!("{} is {shown}, at {side} {} may be", self.metric, self.limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> QualityReading {
        QualityReading {
            tokens: Tokens(100),
            positions: 99,
            perplexity: 11.0,
            reference_perplexity: 10.0,
            mean_kl_nats: 0.05,
            largest_kl_nats: 0.4,
            top1_agreement: 0.9,
            token_match: None,
            acceptance_length: None,
            synthetic_weights: false,
        }
    }

    fn held(metric: QualityMetric, limit: f64, reading: &Reading<QualityReading>) -> Result<bool, String> {
        let budget = QualityBudget {
            id: "b".to_owned(),
            when: Condition::default(),
            metric,
            limit,
            why: "w".to_owned(),
        };
        budget.exceeded_by(reading).map(|said| said.is_some())
    }

    #[test]
    fn a_limit_is_the_last_value_that_passes() {
        let measured = Reading::Measured(reading());
        assert_eq!(held(QualityMetric::MaxKl, 0.05, &measured), Ok(false));
        assert_eq!(held(QualityMetric::MaxKl, 0.0499, &measured), Ok(true));
        assert_eq!(held(QualityMetric::MaxPplIncrease, 0.11, &measured), Ok(false));
        assert_eq!(held(QualityMetric::MaxPplIncrease, 0.09, &measured), Ok(true));
        assert_eq!(held(QualityMetric::MinTop1, 0.9, &measured), Ok(false));
        assert_eq!(held(QualityMetric::MinTop1, 0.91, &measured), Ok(true));
    }

    #[test]
    fn what_is_missing_does_not_pass() {
        assert!(held(QualityMetric::MinTokenMatch, 0.0, &Reading::Measured(reading())).is_err());
        let nan = QualityReading { mean_kl_nats: f64::NAN, ..reading() };
        assert!(held(QualityMetric::MaxKl, 1.0, &Reading::Measured(nan)).is_err());
        let unmeasured = Reading::Unavailable("the scorer was killed".to_owned());
        assert_eq!(held(QualityMetric::MaxKl, 1.0, &unmeasured), Err("the scorer was killed".to_owned()));
    }
}
