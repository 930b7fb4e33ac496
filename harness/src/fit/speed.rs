//! How fast a configuration runs: planned from the bytes that a token reads, to order configurations by.

use ledger::{Bytes, Millis, Role};

use super::loss::coverage;
use super::planner::{Configuration, Weights};
use crate::engines::{EngineShape, rates, runtime_options};

/// What storage gives in a second where nothing was measured: a fast solid-state disk, as for loading.
const STORAGE_BYTES_PER_MS: f64 = 2e6;

/// Drafts that are accepted where the draft scores every row that the target may emit: the published 2.5 tokens for a round of
/// three drafts.
const ACCEPTED: f64 = 0.7;

/// Planned times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// For each token of output.
    pub decode_token: Millis,
    /// For each token of a prompt.
    pub prefill_token: Millis,
}

impl Speed {
    /// The speed of `configuration` on the engine `shape` whose weights are where `weights` says.
    ///
    /// A pass reads resident weights at the rate of memory while streamed ones come from storage, and the slower of the two
    /// decides; checking several tokens multiplies each weight several times.
    pub fn of(shape: &EngineShape, configuration: &Configuration, weights: &Weights) -> Speed {
        let options = runtime_options(&configuration.settings).for_engine(&shape.segments);
        let rates = rates(&shape.segments, &options);
        let from_storage = |bytes: Bytes| bytes.0 as f64 / STORAGE_BYTES_PER_MS;
        let pass = |tokens: usize| {
            let multiplied = rates.prefill_token.0 * tokens as f64;
            rates.decode_token.0.max(multiplied).max(from_storage(weights.streamed_per_pass))
        };
        let chunk = options.prefill_chunk();
        let prefill_token = Millis(pass(chunk) / chunk as f64);
        if !options.mtp {
            return Speed { decode_token: Millis(pass(1)), prefill_token };
        }
        let bytes = |role| {
            shape.segments.iter().filter(move |it| it.role == role).map(|it| it.bytes.0).sum::<u64>() as f64
        };
        let memory_bytes_per_ms = bytes(Role::Target) / rates.decode_token.0.max(f64::MIN_POSITIVE);
        let rows = options.draft_vocab.rows(shape.config.vocab_size);
        let read = bytes(Role::Draft) + table_bytes(shape) * rows as f64 / shape.config.vocab_size as f64;
        let draft = if weights.streamed_per_draft > Bytes::ZERO {
            read / STORAGE_BYTES_PER_MS
        } else {
            read / memory_bytes_per_ms
        };
        let accepted = ACCEPTED * coverage(rows, shape.config.vocab_size);
        let drafts = options.drafts();
        let round = pass(drafts + 1) + draft * drafts as f64;
        Speed { decode_token: Millis(round / tokens_a_round(accepted, drafts)), prefill_token }
    }

    /// Tokens of output in a second.
    pub fn decode_tokens_per_second(&self) -> f64 {
        1000.0 / self.decode_token.0
    }
}

/// Tokens that a round commits: drafts up to the first that is rejected, and one of the target.
fn tokens_a_round(accepted: f64, drafts: usize) -> f64 {
    (0..=drafts).map(|draft| accepted.powf(draft as f64)).sum()
}

/// The table that serves the head.
fn table_bytes(shape: &EngineShape) -> f64 {
    let named = |name: &str| shape.segments.iter().find(|segment| segment.name == name);
    named("lm_head").or_else(|| named("embed_tokens")).map_or(0.0, |segment| segment.bytes.0 as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_three_drafts_commits_what_was_published() {
        assert!((tokens_a_round(ACCEPTED, 3) - 2.5).abs() < 0.05);
        assert_eq!(tokens_a_round(ACCEPTED, 0), 1.0);
    }
}
