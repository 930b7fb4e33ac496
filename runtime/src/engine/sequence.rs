//! One sequence: a prompt in chunks, then token after token.

use std::borrow::Cow;
use std::sync::Arc;

use ledger::Phase;

use crate::memory::{Buffer, Ledger, MemoryError};
use crate::model::forward::{forward, head};
use crate::model::operators::Operators;
use crate::model::state::SequenceState;
use crate::model::workspace::Workspace;
use crate::plan::{Stage, keys};
use crate::weights::stream::StreamError;

use super::Engine;

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
    /// No room for another token.
    #[error("the sequence is full: maxKVCacheCapacity is {capacity} tokens; start with a larger one")]
    Full {
        /// The limit.
        capacity: u32,
    },
    /// Memory could not be had.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Weights could not be read while they were wanted; what the sequence holds is of no use any more.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// The state of one conversation. Dropping it returns its memory.
#[derive(Debug)]
pub struct Sequence {
    state: SequenceState<Buffer>,
    decode: Workspace<Buffer>,
    logits: Buffer,
    /// Last, so that it goes when the buffers are gone.
    _end: EndOfSequence,
}

/// Tells the ledger that what comes is no part of a sequence.
#[derive(Debug)]
struct EndOfSequence {
    ledger: Arc<Ledger>,
}

impl Drop for EndOfSequence {
    fn drop(&mut self) {
        self.ledger.enter(Phase::Settle);
    }
}

impl Sequence {
    /// Tokens that the sequence holds.
    pub fn length(&self) -> usize {
        self.state.length()
    }

    /// Tokens that it can still take.
    pub fn room(&self) -> usize {
        self.state.room()
    }
}

impl Engine {
    /// Opens an empty sequence and commits what does not depend on its length.
    pub fn open_sequence(&self) -> Result<Sequence, SequenceError> {
        let capacity = self.options.max_kv_cache_capacity.0 as usize;
        let kv_cache_type = self.options.kv_cache_type;
        let ledger = self.ledger();
        ledger.enter(Phase::Prefill);
        let end = EndOfSequence { ledger };
        let mut decode = Workspace::reserve(&self.device, &self.config, Stage::Decode, 1)?;
        decode.hold(1)?;
        Ok(Sequence {
            state: SequenceState::new(&self.device, &self.config, kv_cache_type, capacity)?,
            decode,
            logits: self.device.allocate(&format!("target/logits/{}", keys::LOGITS))?,
            _end: end,
        })
    }

    /// Reads a prompt chunk by chunk, behind whatever the sequence holds; then [`Engine::logits`] are those behind its
    /// last token. `before_chunk` is asked before each chunk. Returns how many tokens were read.
    pub fn prefill(
        &self,
        sequence: &mut Sequence,
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
        let chunk = self.options.prefill_chunk();
        let mut workspace = Workspace::reserve(&self.device, &self.config, Stage::Prefill, chunk)?;
        let mut read = 0;
        for chunk in ids.chunks(chunk) {
            if before_chunk() == Flow::Stop {
                return Ok(read);
            }
            self.device.upcoming(&mut self.weights.upcoming(read + chunk.len() == ids.len()));
            forward(&self.device, &self.config, &self.weights, &mut sequence.state, &mut workspace, chunk)?;
            read += chunk.len();
            if read == ids.len() {
                let last = chunk.len() - 1;
                head(&self.device, &self.config, &self.weights, &mut workspace, last, &mut sequence.logits);
            }
            self.device.check()?;
        }
        Ok(read)
    }

    /// Feeds one token; then [`Engine::logits`] are those behind it.
    pub fn decode(&self, sequence: &mut Sequence, id: u32) -> Result<(), SequenceError> {
        self.check_ids(&[id])?;
        if sequence.room() == 0 {
            return Err(self.full());
        }
        self.ledger.enter(Phase::Decode);
        let Sequence { state, decode, logits, .. } = sequence;
        self.device.upcoming(&mut self.weights.upcoming(true));
        forward(&self.device, &self.config, &self.weights, state, decode, &[id])?;
        head(&self.device, &self.config, &self.weights, decode, 0, logits);
        Ok(self.device.check()?)
    }

    /// Scores of the vocabulary behind the last token that was fed.
    pub fn logits<'a>(&self, sequence: &'a Sequence) -> Cow<'a, [f32]> {
        self.device.read(&sequence.logits, self.config.vocab_size)
    }

    fn check_ids(&self, ids: &[u32]) -> Result<(), SequenceError> {
        let vocabulary = self.config.vocab_size;
        match ids.iter().find(|id| **id as usize >= vocabulary) {
            Some(&id) => Err(SequenceError::OutOfVocabulary { id, vocabulary }),
            None => Ok(()),
        }
    }

    fn full(&self) -> SequenceError {
        SequenceError::Full { capacity: self.options.max_kv_cache_capacity.0 }
    }
}
