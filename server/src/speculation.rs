//! What drafts came to, for replies.

use serde::Serialize;

use crate::engine::Drafted;

/// One round of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Round {
    /// What the draft guessed.
    pub(crate) drafts: Vec<u32>,
    /// How many guesses were right, from the first on.
    pub(crate) accepted: usize,
    /// The tokens of the round: the right guesses and one more.
    pub(crate) emitted: Vec<u32>,
}

/// All rounds of a request so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Speculation {
    rounds: u32,
    drafted: u32,
    accepted: u32,
}

impl Speculation {
    /// Counts a round.
    pub(crate) fn add(&mut self, round: &Drafted) {
        self.rounds += 1;
        self.drafted += round.drafts.len() as u32;
        self.accepted += round.accepted as u32;
    }

    /// The numbers, with the rounds that a reply or chunk brings.
    pub(crate) fn report(self, rounds: &[Round]) -> Report<'_> {
        let Speculation { rounds: round_count, drafted, accepted } = self;
        let acceptance_length = f64::from(accepted + round_count) / f64::from(round_count.max(1));
        Report { round_count, drafted, accepted, acceptance_length, rounds }
    }
}

/// `speculation` of a reply.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Report<'a> {
    /// Rounds since the first token.
    round_count: u32,
    /// Guesses in them.
    drafted: u32,
    /// Right guesses.
    accepted: u32,
    /// Tokens a round: right guesses and one more.
    acceptance_length: f64,
    /// The rounds of this reply or chunk.
    rounds: &'a [Round],
}
