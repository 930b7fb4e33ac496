//! What two engines go on with behind the same words, greedily.

use runtime::backend::Backend;
use runtime::engine::{Drafts, Engine, Flow, Round, Turn};
use runtime::generate::sample::{Sampler, Sampling};

use super::ScoreError;
use crate::record::acceptance_length;

/// Tokens of each prompt.
const PROMPT: usize = 32;

/// Tokens that follow.
const LENGTH: usize = 64;

/// What continuations came to.
#[derive(Debug, Default)]
pub(super) struct Continued {
    /// Part of the tokens before the first one that differs.
    pub(super) token_match: Option<f64>,
    /// Tokens a round of the tested engine.
    pub(super) acceptance_length: Option<f64>,
}

/// Takes `count` prompts from `ids`, at equal distances, and goes on with both.
pub(super) fn continue_greedily<R: Backend, T: Backend>(
    reference: &Engine<R>,
    tested: &Engine<T>,
    ids: &[u32],
    count: u32,
    interrupted: &dyn Fn() -> bool,
) -> Result<Continued, ScoreError> {
    let count = count as usize;
    if count == 0 {
        return Ok(Continued::default());
    }
    let least = count.saturating_mul(PROMPT);
    if ids.len() < least {
        return Err(ScoreError::TooShort { found: ids.len(), least });
    }
    let (mut matched, mut rounds, mut accepted) = (0, 0, 0);
    for prompt in ids.chunks_exact(ids.len() / count).take(count).map(|part| &part[..PROMPT]) {
        if interrupted() {
            return Err(ScoreError::Interrupted);
        }
        let expected = continuation(reference, prompt)?;
        let found = continuation(tested, prompt)?;
        matched +=
            expected.ids.iter().zip(&found.ids).take_while(|(expected, found)| expected == found).count();
        rounds += found.rounds;
        accepted += found.accepted;
    }
    Ok(Continued {
        token_match: Some(matched as f64 / (count * LENGTH) as f64),
        acceptance_length: acceptance_length(rounds as u64, accepted as u64),
    })
}

struct Continuation {
    ids: Vec<u32>,
    /// Rounds with drafts.
    rounds: usize,
    accepted: usize,
}

fn continuation<B: Backend>(engine: &Engine<B>, prompt: &[u32]) -> Result<Continuation, ScoreError> {
    let mut sampler = Sampler::new(Sampling::GREEDY);
    let mut sequence = engine.open_sequence()?;
    engine.prefill(&mut sequence, &engine.rows_of(prompt)?, &mut || Flow::Continue)?;
    let mut rows = vec![engine.sample(&sequence, &mut sampler)?];
    let (mut rounds, mut accepted) = (0, 0);
    while rows.len() < LENGTH {
        let token = rows[rows.len() - 1];
        let drafts = Drafts::Head(LENGTH - rows.len() - 1);
        let turn = Turn { sequence: &mut sequence, token, drafts, sampler: &mut sampler };
        for Round { drafts, accepted: right, emitted } in engine.round(&mut [turn])? {
            rounds += usize::from(!drafts.is_empty());
            accepted += right;
            rows.extend(emitted);
        }
    }
    let ids = rows[..LENGTH].iter().map(|row| engine.id_of(*row)).collect();
    Ok(Continuation { ids, rounds, accepted })
}
