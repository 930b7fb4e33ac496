//! What a search came to: what fits, which of it none other beats, and in which order.

use std::cmp::Ordering;

use ledger::Bytes;

use super::loss::Loss;
use super::planner::Configuration;
use super::speed::Speed;

/// A configuration that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What it is.
    pub configuration: Configuration,
    /// Its predicted peak, the program included.
    pub total: Bytes,
    /// What it costs in quality.
    pub loss: Loss,
    /// What it costs in time.
    pub speed: Speed,
}

/// The smallest configuration that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Least {
    /// What it is.
    pub configuration: Configuration,
    /// Its predicted peak.
    pub total: Bytes,
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// The configurations that fit and that none other beats in everything, best first.
    pub frontier: Vec<Candidate>,
    /// Of them, the best for each choice of head, vocabulary and cache type. A choice whose best is beaten has none.
    pub best_of_each_quality: Vec<Candidate>,
    /// The smallest configuration of all, whether or not it fits; `None` where none is possible.
    pub least: Option<Least>,
    /// Why configurations were left out that the model cannot run.
    pub refused: Option<String>,
}

impl Candidate {
    /// True where `other` is at least as good in everything and better in something.
    pub fn is_beaten_by(&self, other: &Candidate) -> bool {
        let (mine, its) = (&self.configuration.settings, &other.configuration.settings);
        let orders = [
            other.loss.kl_nats.total_cmp(&self.loss.kl_nats),
            other.total.cmp(&self.total),
            other.speed.decode_token.0.total_cmp(&self.speed.decode_token.0),
            other.speed.prefill_token.0.total_cmp(&self.speed.prefill_token.0),
            mine.max_input_len.cmp(&its.max_input_len),
            mine.max_kv_cache_capacity.cmp(&its.max_kv_cache_capacity),
            mine.max_batch_size.cmp(&its.max_batch_size),
        ];
        orders.iter().all(|order| order.is_le()) && orders.iter().any(|order| order.is_lt())
    }

    /// The better of two: by loss in steps that matter, by time, by bytes.
    pub fn rank(&self, other: &Candidate) -> Ordering {
        let steps = self.loss.steps().cmp(&other.loss.steps());
        let time = || self.speed.decode_token.0.total_cmp(&other.speed.decode_token.0);
        steps.then_with(time).then_with(|| self.total.cmp(&other.total))
    }

    /// True where the two differ in nothing that changes a score.
    pub fn has_quality_of(&self, other: &Candidate) -> bool {
        let kv_cache_type = |candidate: &Candidate| candidate.configuration.settings.kv_cache_type;
        self.configuration.build == other.configuration.build && kv_cache_type(self) == kv_cache_type(other)
    }
}

/// Orders the candidates and leaves out those that another beats.
pub(super) fn found(mut candidates: Vec<Candidate>, least: Option<Least>, refused: Option<String>) -> Found {
    candidates.sort_by(Candidate::rank);
    let mut best: Vec<&Candidate> = Vec::new();
    for candidate in &candidates {
        if !best.iter().any(|known| known.has_quality_of(candidate)) {
            best.push(candidate);
        }
    }
    let stays = |candidate: &&Candidate| !candidates.iter().any(|other| candidate.is_beaten_by(other));
    let best_of_each_quality = best.into_iter().filter(stays).cloned().collect();
    let frontier = candidates.iter().filter(stays).cloned().collect();
    Found { frontier, best_of_each_quality, least, refused }
}
