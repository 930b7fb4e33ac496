//! One sequence: it opens, reads its prompt in chunks, and then takes part in rounds.

use std::borrow::Cow;
use std::ops::Range;

use ledger::Phase;

use super::Engine;
use super::drafting::Drafting;
use super::steps::{Place, Scores, StepBuffers};
use crate::backend::{Backend, DeviceError};
use crate::generate::sample::{SampleError, Sampler};
use crate::memory::MemoryError;
use crate::model::forward::{Part, forward, head};
use crate::model::operators::Keep;
use crate::model::state::{SequenceShape, SequenceState};
use crate::model::workspace::Workspace;
use crate::plan::Stage;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop: nobody waits for the rest.
    Stop,
}

/// Why a sequence cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SequenceError {
    /// A prompt without tokens.
    #[error("the prompt has no tokens; send at least one")]
    EmptyPrompt,
    /// A prompt over `maxInputLen`.
    #[error(
        "the prompt has {tokens} tokens, and maxInputLen is {max_input_len}; shorten it, or start with a larger maxInputLen"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// The limit.
        max_input_len: u32,
    },
    /// An id that is no row of the table.
    #[error("token id {id} is outside the vocabulary of {vocabulary} entries")]
    OutOfVocabulary {
        /// The id.
        id: u32,
        /// Rows of the table.
        vocabulary: usize,
    },
    /// An id whose row was left out of the engine.
    #[error(
        "token id {id} is not in this engine, whose vocabulary was trimmed to {rows} entries; send text, or build with a vocabulary that keeps it"
    )]
    NotKept {
        /// The id.
        id: u32,
        /// Rows that are left.
        rows: usize,
    },
    /// No room for another token.
    #[error("the sequence is full: maxKVCacheCapacity is {capacity} tokens; start with a larger one")]
    Full {
        /// The limit.
        capacity: u32,
    },
    /// As many sequences are open as may be.
    #[error("{open} sequences are open already: maxBatchSize is {open}; wait, or start with a larger one")]
    TooMany {
        /// The limit.
        open: u32,
    },
    /// Memory could not be had.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The device could not finish a pass; what the sequence holds is of no use any more.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No token can be chosen.
    #[error(transparent)]
    Sample(#[from] SampleError),
}

/// The state of one conversation. Dropping it returns its memory.
#[derive(Debug)]
pub struct Sequence<B: Backend> {
    pub(super) state: SequenceState<B::Tensor>,
    /// What the draft carries along, where it is used.
    pub(super) drafting: Option<Drafting<B::Tensor>>,
    /// Where its scores are since the last step that it took part in.
    pub(super) scores: Option<Scores>,
    /// Last, so that it goes when the buffers are gone.
    _place: Place<B::Tensor>,
}

impl<B: Backend> Sequence<B> {
    /// Tokens that the sequence holds.
    pub fn length(&self) -> usize {
        self.state.length()
    }

    /// Tokens that it can still take.
    pub fn room(&self) -> usize {
        self.state.room()
    }
}

impl<B: Backend> Engine<B> {
    /// Opens an empty sequence and commits what does not depend on its length.
    ///
    /// # Errors
    /// When `maxBatchSize` sequences are open, or memory is short.
    pub fn open_sequence(&self) -> Result<Sequence<B>, SequenceError> {
        let open = self.options.max_batch_size;
        let place = self.steps.open(&self.device, &self.config, &self.options)?;
        let place = place.ok_or(SequenceError::TooMany { open })?;
        let shape = SequenceShape {
            sequence: place.sequence,
            capacity: self.options.max_kv_cache_capacity.0 as usize,
            kv_cache_type: self.options.kv_cache_type,
            undecided: self.options.undecided_tokens(),
        };
        let state = SequenceState::new(&self.device, &self.config, shape)?;
        let drafting = match &self.draft {
            Some(_) => Some(Drafting::new(&self.device, &self.config, shape)?),
            None => None,
        };
        Ok(Sequence { state, drafting, scores: None, _place: place })
    }

    /// Reads a prompt chunk by chunk, behind whatever the sequence holds; then [`Engine::logits`] are those behind its
    /// last token. `before_chunk` is asked before each chunk. Returns how many tokens were read.
    ///
    /// # Errors
    /// When the prompt does not fit, or memory is short.
    pub fn prefill(
        &self,
        sequence: &mut Sequence<B>,
        ids: &[u32],
        before_chunk: &mut dyn FnMut() -> Flow,
    ) -> Result<usize, SequenceError> {
        self.check_ids(ids)?;
        let limit = self.options.max_input_len.0;
        match ids.len() {
            0 => return Err(SequenceError::EmptyPrompt),
            tokens if tokens > limit as usize => {
                return Err(SequenceError::PromptTooLong { tokens, max_input_len: limit });
            }
            tokens if tokens > sequence.room() => return Err(self.full()),
            _ => {}
        }
        self.ledger.enter(Phase::Prefill);
        if let Some(drafting) = &mut sequence.drafting {
            self.steps.with(|step| self.read_known(step, drafting))?;
            // Here, for nobody asks if the prompt is stopped before its first chunk.
            self.device.check()?;
        }
        let chunk = self.options.prefill_chunk();
        let mut workspace =
            Workspace::reserve(&self.device, &self.config, Stage::Prefill, chunk, self.options.mtp)?;
        let mut read = 0;
        for chunk in ids.chunks(chunk) {
            if before_chunk() == Flow::Stop {
                return Ok(read);
            }
            self.announce_chunk(read + chunk.len() == ids.len());
            let Sequence { state, drafting, scores, .. } = &mut *sequence;
            let mut part = [Part { sequence: state, tokens: chunk.len() }];
            let (device, config, weights) = (&self.device, &self.config, &self.weights);
            forward(device, config, weights, &mut part, Keep::All, &mut workspace, chunk)?;
            read += chunk.len();
            if read == ids.len() {
                let last = chunk.len() - 1..chunk.len();
                self.steps.with(|step| head(device, config, weights, &mut workspace, last, &mut step.logits));
                *scores = Some(self.steps.scored()(0));
            }
            if let Some(drafting) = drafting {
                self.draft_prompt(drafting, &mut workspace, chunk, state.length())?;
            }
            self.device.check()?;
        }
        Ok(read)
    }

    /// Scores of the vocabulary behind the last token that the sequence was fed.
    ///
    /// # Panics
    /// If another sequence has been fed since.
    pub fn logits(&self, sequence: &Sequence<B>) -> Vec<f32> {
        let row = self.row_of(sequence);
        self.steps.with(|step| self.scores(step, row..row + 1).into_owned())
    }

    /// Chooses the token behind the last one that the sequence was fed.
    ///
    /// # Errors
    /// When the scores are no numbers.
    ///
    /// # Panics
    /// As [`Engine::logits`].
    pub fn sample(&self, sequence: &Sequence<B>, sampler: &mut Sampler) -> Result<u32, SequenceError> {
        let row = self.row_of(sequence);
        self.steps.with(|step| {
            if sampler.is_greedy() {
                let likeliest = self.device.argmax_rows(&step.logits, row..row + 1, self.config.vocab_size);
                self.device.check()?;
                if let Some(Some(token)) = likeliest.first() {
                    return Ok(*token);
                }
            }
            Ok(sampler.sample(&self.scores(step, row..row + 1))?)
        })
    }

    /// The row of the sequence's scores.
    fn row_of(&self, sequence: &Sequence<B>) -> usize {
        self.steps.row_of(sequence.scores).expect("scores are there until the next step")
    }

    /// `rows` of the scores of the last step.
    pub(super) fn scores<'a>(&self, step: &'a StepBuffers<B::Tensor>, rows: Range<usize>) -> Cow<'a, [f32]> {
        let width = self.config.vocab_size;
        self.device.read(&step.logits, rows.start * width..rows.end * width)
    }

    pub(super) fn check_ids(&self, ids: &[u32]) -> Result<(), SequenceError> {
        let vocabulary = self.config.vocab_size;
        match ids.iter().find(|id| **id as usize >= vocabulary) {
            Some(&id) => Err(SequenceError::OutOfVocabulary { id, vocabulary }),
            None => Ok(()),
        }
    }

    pub(super) fn full(&self) -> SequenceError {
        SequenceError::Full { capacity: self.options.max_kv_cache_capacity.0 }
    }
}
