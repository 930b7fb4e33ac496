//! A round: every sequence reads the token that was chosen last and, with a draft, its guesses of the next ones; what the target
//! agrees with is kept, and one token more is chosen.

use ledger::Phase;

use super::drafting::Wish;
use super::steps::StepBuffers;
use super::{Engine, Sequence, SequenceError};
use crate::backend::Backend;
use crate::generate::sample::{Sampler, verify_with};
use crate::model::forward::{Part, forward, head};
use crate::model::operators::Keep;

/// Where the drafts of a round come from.
#[derive(Debug, Clone, Copy)]
pub enum Drafts<'a> {
    /// From the MTP head, at most so many; none where the engine does not draft.
    Head(usize),
    /// These, whatever they are. At most [`crate::plan::RuntimeOptions::drafts`] of them.
    Given(&'a [u32]),
}

/// One sequence's part in a round.
#[derive(Debug)]
pub struct Turn<'a, B: Backend> {
    /// The sequence.
    pub sequence: &'a mut Sequence<B>,
    /// The token that was chosen last, and not read yet.
    pub token: u32,
    /// Its drafts.
    pub drafts: Drafts<'a>,
    /// Chooses tokens.
    pub sampler: &'a mut Sampler,
}

/// What a round came to for one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The drafts.
    pub drafts: Vec<u32>,
    /// How many of them the target agreed with, from the first on.
    pub accepted: usize,
    /// The tokens that were chosen: the accepted drafts and one more, which is the next round's `token`.
    pub emitted: Vec<u32>,
}

impl<B: Backend> Engine<B> {
    /// One round for every sequence of `turns`, together. Each grows by its token and its accepted drafts. What a sequence
    /// computes does not depend on its company, and greedy tokens do not depend on the drafts.
    ///
    /// # Errors
    /// When a sequence is full, a token or a draft is no row of the table, memory is short, or the scores are no numbers. The
    /// sequences are of no use afterwards.
    pub fn round(&self, turns: &mut [Turn<'_, B>]) -> Result<Vec<Round>, SequenceError> {
        if turns.is_empty() {
            return Ok(Vec::new());
        }
        self.ledger.enter(Phase::Decode);
        let scores = self.steps.scored();
        self.steps.with(|step| {
            let drafts = self.drafts(step, turns)?;
            let places = self.verify(step, turns, &drafts)?;
            let likeliest = self.likeliest(step, turns, &drafts);
            // Once for the pass and the search: a device begins when it is asked.
            self.device.check()?;
            let mut rounds = Vec::with_capacity(turns.len());
            for ((turn, drafts), first) in turns.iter_mut().zip(drafts).zip(places) {
                let (accepted, next) = match &likeliest {
                    Some(likeliest) => verify_with(&drafts, |place| match likeliest[first + place] {
                        Some(token) => Ok(token),
                        // The scores themselves tell what is wrong with them.
                        None => turn.sampler.sample(&self.scores(step, first + place..first + place + 1)),
                    })?,
                    None => {
                        let rows = self.scores(step, first..first + drafts.len() + 1);
                        let width = self.config.vocab_size;
                        turn.sampler.verify(&drafts, |place| &rows[place * width..][..width])?
                    }
                };
                self.accept(step, turn.sequence, first, &drafts[..accepted]);
                turn.sequence.scores = Some(scores(first + accepted));
                let emitted = drafts[..accepted].iter().copied().chain([next]).collect();
                rounds.push(Round { drafts, accepted, emitted });
            }
            Ok(rounds)
        })
    }

    /// Feeds one token to one sequence; then [`Engine::logits`] are those behind it.
    ///
    /// # Errors
    /// As [`Engine::round`].
    pub fn decode(&self, sequence: &mut Sequence<B>, id: u32) -> Result<(), SequenceError> {
        self.ledger.enter(Phase::Decode);
        let mut sampler = Sampler::new(crate::generate::sample::Sampling::GREEDY);
        let scores = self.steps.scored();
        self.steps.with(|step| {
            let turns =
                &mut [Turn { sequence, token: id, drafts: Drafts::Given(&[]), sampler: &mut sampler }];
            let drafts = self.drafts(step, turns)?;
            self.verify(step, turns, &drafts)?;
            self.device.check()?;
            self.accept(step, turns[0].sequence, 0, &[]);
            turns[0].sequence.scores = Some(scores(0));
            Ok(())
        })
    }

    /// The drafts of every turn. Where the engine drafts, the head reads what it has not read, whether or not it is asked.
    fn drafts(
        &self,
        step: &mut StepBuffers<B::Tensor>,
        turns: &mut [Turn<'_, B>],
    ) -> Result<Vec<Vec<u32>>, SequenceError> {
        for turn in turns.iter() {
            self.check_ids(&[turn.token])?;
            if turn.sequence.room() == 0 {
                return Err(self.full());
            }
        }
        // As many as a verification holds, and as the sequence has room for beside the token itself.
        let most = |turn: &Turn<'_, B>| self.options.drafts().min(turn.sequence.room() - 1);
        let limits: Vec<usize> = turns.iter().map(most).collect();
        let wanted = turns.iter().zip(&limits).map(|(turn, limit)| match turn.drafts {
            Drafts::Head(wanted) => wanted.min(*limit),
            Drafts::Given(_) => 0,
        });
        let wanted: Vec<usize> = wanted.collect();
        self.announce_round(wanted.iter().copied().max().unwrap_or(0));
        let proposed = match self.draft.is_some() {
            false => vec![Vec::new(); turns.len()],
            true => {
                let mut wishes: Vec<Wish<'_, B::Tensor>> = Vec::with_capacity(turns.len());
                for ((turn, limit), drafts) in turns.iter_mut().zip(&limits).zip(wanted) {
                    let room_for = turn.sequence.length() + limit + 1;
                    let drafting = turn.sequence.drafting.as_mut();
                    let drafting = drafting.expect("a sequence of an engine that drafts keeps what it needs");
                    wishes.push(Wish { drafting, token: turn.token, drafts, room_for });
                }
                self.propose(step, &mut wishes)?
            }
        };
        let turns = turns.iter().zip(limits).zip(proposed);
        let drafts = turns.map(|((turn, limit), proposed)| match turn.drafts {
            Drafts::Head(_) => Ok(proposed),
            Drafts::Given(given) => {
                let given = &given[..given.len().min(limit)];
                self.check_ids(given).map(|()| given.to_vec())
            }
        });
        drafts.collect()
    }

    /// Scores every turn's token and drafts in one pass. Returns the first row of each turn.
    fn verify(
        &self,
        step: &mut StepBuffers<B::Tensor>,
        turns: &mut [Turn<'_, B>],
        drafts: &[Vec<u32>],
    ) -> Result<Vec<usize>, SequenceError> {
        let (mut ids, mut places, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for (turn, drafts) in turns.iter_mut().zip(drafts) {
            places.push(ids.len());
            ids.push(turn.token);
            ids.extend_from_slice(drafts);
            parts.push(Part { sequence: &mut turn.sequence.state, tokens: drafts.len() + 1 });
        }
        let keep = if self.draft.is_some() { Keep::Undecided } else { Keep::All };
        let (device, config, weights) = (&self.device, &self.config, &self.weights);
        let StepBuffers { workspace, logits, .. } = step;
        forward(device, config, weights, &mut parts, keep, workspace, &ids)?;
        head(device, config, weights, workspace, 0..ids.len(), logits);
        Ok(places)
    }

    /// The likeliest token of every row, where nobody asks for more: then no scores leave the device.
    fn likeliest(
        &self,
        step: &StepBuffers<B::Tensor>,
        turns: &[Turn<'_, B>],
        drafts: &[Vec<u32>],
    ) -> Option<Vec<Option<u32>>> {
        if !turns.iter().all(|turn| turn.sampler.is_greedy()) {
            return None;
        }
        let rows = drafts.iter().map(|drafts| drafts.len() + 1).sum();
        Some(self.device.argmax_rows(&step.logits, 0..rows, self.config.vocab_size))
    }

    /// Counts a turn's token and its accepted drafts, whose rows start at `first`.
    fn accept(
        &self,
        step: &StepBuffers<B::Tensor>,
        sequence: &mut Sequence<B>,
        first: usize,
        accepted: &[u32],
    ) {
        if let Some(drafting) = &mut sequence.drafting {
            let read = accepted.len() + 1;
            sequence.state.accept(&self.device, &self.config, read);
            drafting.keep(&self.device, &self.config, &step.workspace, first..first + read, accepted);
        }
    }
}
