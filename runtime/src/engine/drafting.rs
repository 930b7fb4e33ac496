//! The draft beside its target: it reads what the target has read, one token behind, and guesses ahead.

use super::steps::StepBuffers;
use super::{Engine, SequenceError};
use crate::backend::Backend;
use crate::config::ModelConfig;
use crate::memory::MemoryError;
use crate::model::draft::{DraftPart, DraftState, propose, read};
use crate::model::layers::DraftWeights;
use crate::model::operators::{Operators, Tensor};
use crate::model::state::SequenceShape;
use crate::model::workspace::Workspace;

/// What a sequence keeps for its draft.
#[derive(Debug)]
pub(super) struct Drafting<T> {
    state: DraftState<T>,
    /// Hidden states that wait in `state.hidden`, each for the token after it. Those tokens are `known`, and one more.
    waiting: usize,
    /// Tokens of the target that the draft has not read.
    known: Vec<u32>,
}

/// One sequence that wants drafts.
pub(super) struct Wish<'a, T> {
    pub(super) drafting: &'a mut Drafting<T>,
    /// The token that the target will read next.
    pub(super) token: u32,
    /// Drafts wanted.
    pub(super) drafts: usize,
    /// Positions for which the draft's cache must have room.
    pub(super) room_for: usize,
}

impl<T: Tensor> Drafting<T> {
    pub(super) fn new(
        device: &impl Operators<Tensor = T>,
        config: &ModelConfig,
        shape: SequenceShape,
    ) -> Result<Drafting<T>, MemoryError> {
        let state = DraftState::new(device, config, shape)?;
        Ok(Drafting { state, waiting: 0, known: Vec::new() })
    }

    /// Keeps the hidden states `rows` of `workspace.input` and the tokens between them, which the target has just counted.
    pub(super) fn keep(
        &mut self,
        device: &impl Operators<Tensor = T>,
        config: &ModelConfig,
        workspace: &Workspace<T>,
        rows: std::ops::Range<usize>,
        accepted: &[u32],
    ) {
        debug_assert_eq!(rows.len(), accepted.len() + 1);
        self.waiting = rows.len();
        self.known = accepted.to_vec();
        device.copy_rows(&workspace.input, rows, config.hidden_size, &mut self.state.hidden, 0);
    }
}

impl<B: Backend> Engine<B> {
    fn draft_weights(&self) -> &DraftWeights<B::Weight> {
        self.draft.as_ref().expect("a sequence drafts only with an engine that has a draft")
    }

    /// Lets the draft read a chunk of a prompt that the target has just read with `workspace`; `length` is what the target
    /// holds now. Each token goes with the hidden state before it: the chunk's first with the one that waits, if any.
    pub(super) fn draft_prompt(
        &self,
        drafting: &mut Drafting<B::Tensor>,
        workspace: &mut Workspace<B::Tensor>,
        chunk: &[u32],
        length: usize,
    ) -> Result<(), SequenceError> {
        debug_assert!(drafting.waiting <= 1, "`read_known` comes before a prompt");
        let (device, config) = (&self.device, &self.config);
        let (width, eps) = (config.hidden_size, config.rms_norm_eps as f32);
        drafting.state.grow(length)?;
        let Workspace { hidden, input: normed, second, .. } = &mut *workspace;
        device.rms_norm(hidden, 0..chunk.len(), &self.weights.norm, eps, normed);
        let last = chunk.len() - 1;
        device.copy_rows(&drafting.state.hidden, 0..drafting.waiting, width, second, 0);
        device.copy_rows(normed, 0..last, width, second, drafting.waiting);
        let ids = &chunk[1 - drafting.waiting..];
        drafting.keep(device, config, workspace, last..last + 1, &[]);
        if ids.is_empty() {
            return Ok(());
        }
        let parts = &mut [DraftPart { state: &mut drafting.state, tokens: ids.len() }];
        Ok(read(device, config, &self.weights.embed_tokens, self.draft_weights(), parts, workspace, ids)?)
    }

    /// Lets the draft read all tokens but the newest that the target has read, so that a prompt can follow.
    pub(super) fn read_known(
        &self,
        step: &mut StepBuffers<B::Tensor>,
        drafting: &mut Drafting<B::Tensor>,
    ) -> Result<(), SequenceError> {
        let Some(newest) = drafting.waiting.checked_sub(1).filter(|newest| *newest > 0) else {
            return Ok(());
        };
        let (device, config, width) = (&self.device, &self.config, self.config.hidden_size);
        let workspace = &mut step.workspace;
        device.copy_rows(&drafting.state.hidden, 0..newest + 1, width, &mut workspace.second, 0);
        device.copy_rows(&workspace.second, newest..newest + 1, width, &mut drafting.state.hidden, 0);
        let known = std::mem::take(&mut drafting.known);
        drafting.waiting = 1;
        let parts = &mut [DraftPart { state: &mut drafting.state, tokens: newest }];
        Ok(read(device, config, &self.weights.embed_tokens, self.draft_weights(), parts, workspace, &known)?)
    }

    /// Lets the drafts of all sequences read what waits, and guess ahead. Returns the guesses, sequence by sequence.
    pub(super) fn propose(
        &self,
        step: &mut StepBuffers<B::Tensor>,
        wishes: &mut [Wish<'_, B::Tensor>],
    ) -> Result<Vec<Vec<u32>>, SequenceError> {
        let (device, config, width) = (&self.device, &self.config, self.config.hidden_size);
        let (table, weights) = (&self.weights.embed_tokens, self.draft_weights());
        let vocabulary = self.options.draft_vocab.rows(config.vocab_size);
        let StepBuffers { workspace, draft_logits, .. } = step;
        let scores = draft_logits.as_mut().expect("an engine that drafts has rows for its scores");

        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        for Wish { drafting, token, room_for, .. } in wishes.iter_mut() {
            drafting.state.grow(*room_for)?;
            let rows = 0..drafting.waiting;
            device.copy_rows(&drafting.state.hidden, rows, width, &mut workspace.second, ids.len());
            ids.append(&mut drafting.known);
            ids.push(*token);
            ends.push(ids.len() - 1);
        }
        let mut parts: Vec<DraftPart<'_, B::Tensor>> = wishes
            .iter_mut()
            .map(|wish| DraftPart { state: &mut wish.drafting.state, tokens: wish.drafting.waiting })
            .collect();
        read(device, config, table, weights, &mut parts, workspace, &ids)?;
        let read_so_far: Vec<usize> = parts.iter().map(|part| part.state.length()).collect();
        drop(parts);
        wishes.iter_mut().for_each(|wish| wish.drafting.waiting = 0);

        // The rows of `workspace.input` that the next guesses follow from, and whose they are.
        let mut drafts = vec![Vec::new(); wishes.len()];
        let mut chain: Vec<(usize, usize)> =
            ends.into_iter().enumerate().filter(|(who, _)| wishes[*who].drafts > 0).collect();
        while !chain.is_empty() {
            let rows: Vec<usize> = chain.iter().map(|(_, row)| *row).collect();
            device.gather_rows(&mut workspace.input, &rows, width);
            let guesses = propose(device, weights, workspace, rows.len(), vocabulary, scores);
            for (place, ((who, row), guess)) in chain.iter_mut().zip(guesses).enumerate() {
                drafts[*who].push(guess);
                *row = place;
            }
            chain.retain(|(who, _)| drafts[*who].len() < wishes[*who].drafts);
            if chain.is_empty() {
                break;
            }
            let (rows, ids): (Vec<usize>, Vec<u32>) =
                chain.iter().filter_map(|(who, row)| Some((*row, *drafts[*who].last()?))).unzip();
            let Workspace { input, second, .. } = &mut *workspace;
            device.gather_rows(input, &rows, width);
            device.copy_rows(input, 0..rows.len(), width, second, 0);
            let mut parts: Vec<DraftPart<'_, B::Tensor>> = wishes
                .iter_mut()
                .enumerate()
                .filter(|(who, _)| chain.iter().any(|(other, _)| other == who))
                .map(|(_, wish)| DraftPart { state: &mut wish.drafting.state, tokens: 1 })
                .collect();
            read(device, config, table, weights, &mut parts, workspace, &ids)?;
            chain.iter_mut().enumerate().for_each(|(place, (_, row))| *row = place);
        }
        for (wish, length) in wishes.iter_mut().zip(read_so_far) {
            wish.drafting.state.rewind(length);
        }
        Ok(drafts)
    }
}
