//! Which weights come next, for a device that has to fetch them. Each announcement ends with the layers of the pass behind it, so
//! that fetching goes on while nothing is computed.

use super::Engine;
use crate::model::operators::Operators;

impl Engine {
    /// A chunk of a prompt is about to be read; the head scores its last token if it is the `last` chunk.
    pub(super) fn announce_chunk(&self, last: bool) {
        let weights = &self.weights;
        let head = last.then(|| weights.head());
        let draft = self.draft.iter().flat_map(|draft| draft.matrices());
        let next = weights.layer_matrices();
        self.device.upcoming(&mut weights.layer_matrices().chain(head).chain(draft).chain(next));
    }

    /// A round is about to be run in which the head drafts at most `drafts` tokens.
    pub(super) fn announce_round(&self, drafts: usize) {
        let weights = &self.weights;
        let draft = self.draft.iter().flat_map(|draft| {
            // The head reads what waits even where nothing is drafted.
            let read = draft.matrices().chain((drafts > 0).then_some(&draft.head));
            let chain = (1..drafts).flat_map(|_| draft.matrices().chain([&draft.head]));
            read.chain(chain)
        });
        let verify = weights.layer_matrices().chain([weights.head()]);
        self.device.upcoming(&mut draft.chain(verify).chain(weights.layer_matrices()));
    }
}
