//! Two engines over one text, position by position.
//!
//! Perplexity is `exp(-1/N sum ln p(token | the tokens before it in its window))`, with the first token of each window not scored.
//! Where the vocabulary was trimmed, the tested engine reads the text in the tokens that it has left: its perplexity is by token
//! of the reference's encoding all the same, and its divergence is over the rows that are left, with `-ln` of the probability
//! that the reference gives to these rows on top.

use runtime::backend::Backend;
use runtime::engine::{Engine, Flow, Sequence, SequenceError};
use runtime::generate::tokenizer::SpecialTokens;

use super::{ScoreError, ScoreRequest, WINDOW};
use crate::engines::Divergence;
use crate::engines::divergence::log_likelihood;

/// What a text came to.
pub(super) struct ScoredText {
    /// The ids that the tested engine read.
    pub(super) ids: Vec<u32>,
    /// Tokens of the reference's encoding.
    pub(super) reference_tokens: u32,
    /// Positions of the reference's encoding that were scored.
    pub(super) reference_positions: u64,
    /// Positions that were compared.
    pub(super) positions: u64,
    /// `-ln p` of the whole text.
    pub(super) tested_nats: f64,
    /// The same of the reference.
    pub(super) reference_nats: f64,
    /// One from the other.
    pub(super) divergence: Divergence,
}

/// Reads the text with both.
pub(super) fn score_text<R: Backend, T: Backend>(
    reference: &Engine<R>,
    tested: &Engine<T>,
    request: ScoreRequest<'_>,
    interrupted: &dyn Fn() -> bool,
) -> Result<ScoredText, ScoreError> {
    let (Some(whole), Some(left)) = (reference.tokenizer(), tested.tokenizer()) else {
        return Err(ScoreError::NoTokenizer);
    };
    let mut reference_ids = whole.encode(request.text)?;
    reference_ids.truncate(request.tokens.0 as usize);
    if reference_ids.len() < 2 {
        return Err(ScoreError::TooShort { found: reference_ids.len(), least: 2 });
    }
    let kept = tested.kept_ids();
    let ids = match &kept {
        None => reference_ids.clone(),
        Some(_) => left.encode(&whole.decode(&reference_ids, SpecialTokens::Keep))?,
    };
    let mut scored = ScoredText {
        reference_tokens: reference_ids.len() as u32,
        reference_positions: positions(&reference_ids),
        positions: positions(&ids),
        tested_nats: 0.0,
        reference_nats: 0.0,
        divergence: Divergence::default(),
        ids,
    };
    for window in scored.ids.chunks(WINDOW.0 as usize) {
        let (mut of_reference, mut of_tested) = (reference.open_sequence()?, tested.open_sequence()?);
        let reference_rows = reference.rows_of(window)?;
        let tested_rows = tested.rows_of(window)?;
        for next in 1..window.len() {
            if interrupted() {
                return Err(ScoreError::Interrupted);
            }
            feed(reference, &mut of_reference, reference_rows[next - 1])?;
            feed(tested, &mut of_tested, tested_rows[next - 1])?;
            let (expected, found) = (reference.logits(&of_reference), tested.logits(&of_tested));
            scored.tested_nats -= log_likelihood(&found, tested_rows[next] as usize)?;
            match &kept {
                Some(kept) => scored.divergence.add_trimmed(&expected, kept, &found)?,
                None => {
                    scored.divergence.add(&expected, &found)?;
                    scored.reference_nats -= log_likelihood(&expected, reference_rows[next] as usize)?;
                }
            }
        }
    }
    if kept.is_some() {
        scored.reference_nats = negative_log_likelihood(reference, &reference_ids, interrupted)?;
    }
    Ok(scored)
}

/// `-ln p` of `ids`, window by window.
fn negative_log_likelihood<B: Backend>(
    engine: &Engine<B>,
    ids: &[u32],
    interrupted: &dyn Fn() -> bool,
) -> Result<f64, ScoreError> {
    let mut sum = 0.0;
    for window in ids.chunks(WINDOW.0 as usize) {
        let mut sequence = engine.open_sequence()?;
        let rows = engine.rows_of(window)?;
        for next in 1..window.len() {
            if interrupted() {
                return Err(ScoreError::Interrupted);
            }
            feed(engine, &mut sequence, rows[next - 1])?;
            sum -= log_likelihood(&engine.logits(&sequence), rows[next] as usize)?;
        }
    }
    Ok(sum)
}

/// Positions of `ids` that are scored: all but the first of each window.
fn positions(ids: &[u32]) -> u64 {
    (ids.len() - ids.len().div_ceil(WINDOW.0 as usize)) as u64
}

/// Feeds one row, the first as a prompt; then the scores behind it can be read.
///
/// # Errors
/// As [`Engine::prefill`] and [`Engine::decode`].
pub fn feed<B: Backend>(
    engine: &Engine<B>,
    sequence: &mut Sequence<B>,
    row: u32,
) -> Result<(), SequenceError> {
    match sequence.length() {
        0 => engine.prefill(sequence, &[row], &mut || Flow::Continue).map(drop),
        _ => engine.decode(sequence, row).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_of_each_window_is_not_scored() {
        for (tokens, expected) in [(2, 1), (1024, 1023), (1025, 1023), (1026, 1024), (2048, 2046)] {
            assert_eq!(positions(&vec![0; tokens]), expected, "{tokens}");
        }
    }
}
