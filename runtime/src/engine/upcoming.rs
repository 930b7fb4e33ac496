//! What a step will multiply with, and the step after it: said to the device before it begins.

use super::Engine;
use crate::backend::Backend;
use crate::model::layers::DraftWeights;

impl<B: Backend> Engine<B> {
    /// Before a chunk of a prompt. The head reads the `last` one only, the draft each of them.
    pub(super) fn announce_chunk(&self, last: bool) {
        let chunk = self.weights.matrices(last).chain(self.draft_pass());
        self.device.upcoming(&mut chunk.chain(self.weights.matrices(false)));
    }

    /// Before a round in which the draft guesses up to `drafts` times. The next round begins with the draft, if there is one.
    pub(super) fn announce_round(&self, drafts: usize) {
        let guesses = (0..drafts).flat_map(|guess| {
            let again = (guess > 0).then(|| self.draft_pass());
            again.into_iter().flatten().chain(self.draft_head())
        });
        let round = self.draft_pass().chain(guesses).chain(self.weights.matrices(true));
        let next = self.draft_pass().chain(self.draft_head()).chain(self.weights.matrices(false));
        self.device.upcoming(&mut round.chain(next));
    }

    fn draft_pass(&self) -> impl Iterator<Item = &B::Weight> {
        self.draft.iter().flat_map(DraftWeights::matrices)
    }

    fn draft_head(&self) -> impl Iterator<Item = &B::Weight> {
        self.draft.iter().map(|draft| &draft.head)
    }
}
