//! How much a configuration costs in quality: an engine under its settings beside the exact path of the same checkpoint.
//!
//! - `text`: both over one text, position by position. No more than one row of scores of each is held.
//! - `continuations`: what each goes on with, greedily.

mod continuations;
mod text;

use ledger::Tokens;
use runtime::backend::Backend;
use runtime::engine::{Engine, SequenceError};

use crate::record::QualityReading;
use continuations::continue_greedily;
pub use text::feed;
use text::score_text;

/// Tokens that are read before the first one of a window is forgotten. Windows do not overlap.
pub const WINDOW: Tokens = Tokens(1024);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ScoreRequest<'a> {
    /// The text.
    pub text: &'a str,
    /// Its first tokens, by the encoding of the reference: so many are scored.
    pub tokens: Tokens,
    /// Greedy continuations that are compared.
    pub continuations: u32,
}

/// Why there is no reading.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The engine speaks ids alone.
    #[error("the engine has no tokenizer, so it cannot read a text")]
    NoTokenizer,
    /// The text cannot be encoded.
    #[error("encode the text: {0}")]
    Encode(#[from] runtime::generate::tokenizer::EncodeError),
    /// Nothing can be predicted.
    #[error(
        "the text has {found} tokens, and {least} are needed; name a longer one, or ask for fewer continuations"
    )]
    TooShort {
        /// Tokens of the text.
        found: usize,
        /// The fewest.
        least: usize,
    },
    /// An engine failed.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The scores of the two do not belong together.
    #[error(transparent)]
    Incomparable(#[from] super::Incomparable),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Holds `tested` against `reference`. Each must take [`WINDOW`] tokens. `interrupted` is asked before each token.
///
/// # Errors
/// When the text cannot be read by both, or one of them fails.
pub fn score<R: Backend, T: Backend>(
    reference: &Engine<R>,
    tested: &Engine<T>,
    request: ScoreRequest<'_>,
    synthetic_weights: bool,
    interrupted: &dyn Fn() -> bool,
) -> Result<QualityReading, ScoreError> {
    let scored = score_text(reference, tested, request, interrupted)?;
    let continued = continue_greedily(reference, tested, &scored.ids, request.continuations, interrupted)?;
    let per_token = |sum: f64| (sum / scored.reference_positions as f64).exp();
    // `score_text` has refused a text without a position.
    let of = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Ok(QualityReading {
        tokens: Tokens(scored.reference_tokens),
        positions: scored.positions,
        perplexity: per_token(scored.tested_nats),
        reference_perplexity: per_token(scored.reference_nats),
        mean_kl_nats: of(scored.divergence.mean()),
        largest_kl_nats: of(scored.divergence.largest()),
        top1_agreement: of(scored.divergence.agreement()),
        token_match: continued.token_match,
        acceptance_length: continued.acceptance_length,
        synthetic_weights,
    })
}
