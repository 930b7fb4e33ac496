//! What all open sequences share: the workspace of a decode step, the scores that it ends with, and who is open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::{BufferClass, Phase, Role, buffer_key};

use crate::config::ModelConfig;
use crate::memory::{Ledger, MemoryError};
use crate::model::operators::{Operators, Tensor};
use crate::model::workspace::Workspace;
use crate::plan::{RuntimeOptions, Stage, keys};

/// Shared by an engine and its sequences.
#[derive(Debug)]
pub(super) struct Steps<T> {
    ledger: Arc<Ledger>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    /// One bit for each open sequence.
    open: u32,
    /// There while a sequence is open.
    buffers: Option<StepBuffers<T>>,
    /// Steps so far.
    stamp: u64,
}

/// The buffers of a decode step.
#[derive(Debug)]
pub(super) struct StepBuffers<T> {
    pub(super) workspace: Workspace<T>,
    /// Rows of the target's scores.
    pub(super) logits: T,
    /// Rows of the draft's scores, where it is used.
    pub(super) draft_logits: Option<T>,
}

/// Where a sequence finds its scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scores {
    stamp: u64,
    row: usize,
}

impl<T: Tensor> Steps<T> {
    /// Nobody is open.
    pub(super) fn new(ledger: Arc<Ledger>) -> Arc<Steps<T>> {
        let state = State { open: 0, buffers: None, stamp: 0 };
        Arc::new(Steps { ledger, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among the sequences that may be open together; `None` where all are taken. The first one brings the buffers,
    /// each one its part of them.
    pub(super) fn open(
        self: &Arc<Self>,
        device: &impl Operators<Tensor = T>,
        config: &ModelConfig,
        options: &RuntimeOptions,
    ) -> Result<Option<Place<T>>, MemoryError> {
        let mut state = self.state();
        let Some(sequence) = (0..options.max_batch_size).find(|place| state.open & 1 << place == 0) else {
            return Ok(None);
        };
        self.ledger.enter(Phase::Prefill);
        state.open |= 1 << sequence;
        drop(state);
        // From here on the place is given back, with the buffers if it was the first, whatever happens: after the lock, which
        // giving it back takes, too.
        let place = Place { steps: self.clone(), sequence };
        let mut state = self.state();
        let open = state.open.count_ones() as usize;
        let buffers = match &mut state.buffers {
            Some(buffers) => buffers,
            none => none.insert(StepBuffers::reserve(device, config, options)?),
        };
        buffers.hold(config, options, open)?;
        drop(state);
        Ok(Some(place))
    }

    /// Works with the buffers.
    ///
    /// # Panics
    /// If no sequence is open.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut StepBuffers<T>) -> R) -> R {
        work(self.state().buffers.as_mut().expect("whoever steps has a sequence open"))
    }

    /// Scores were written: those of the step before are gone. The scores of `row`.
    pub(super) fn scored(&self) -> impl Fn(usize) -> Scores + use<T> {
        let mut state = self.state();
        state.stamp += 1;
        let stamp = state.stamp;
        move |row| Scores { stamp, row }
    }

    /// The row of `scores`, if no step has been made since.
    pub(super) fn row_of(&self, scores: Option<Scores>) -> Option<usize> {
        let stamp = self.state().stamp;
        scores.filter(|scores| scores.stamp == stamp).map(|scores| scores.row)
    }
}

impl<T: Tensor> StepBuffers<T> {
    fn reserve(
        device: &impl Operators<Tensor = T>,
        config: &ModelConfig,
        options: &RuntimeOptions,
    ) -> Result<StepBuffers<T>, MemoryError> {
        let logits = |role| device.reserve(&buffer_key(role, BufferClass::Logits, None, keys::LOGITS, 0));
        let tokens = options.decode_tokens();
        Ok(StepBuffers {
            workspace: Workspace::reserve(device, config, Stage::Decode, tokens, options.mtp)?,
            logits: logits(Role::Target)?,
            draft_logits: if options.mtp { Some(logits(Role::Draft)?) } else { None },
        })
    }

    /// Commits what a step of `sequences` sequences needs.
    fn hold(
        &mut self,
        config: &ModelConfig,
        options: &RuntimeOptions,
        sequences: usize,
    ) -> Result<(), MemoryError> {
        let tokens = sequences * options.sequence_tokens();
        let row = |width: usize| (width * size_of::<f32>()) as u64;
        self.workspace.hold(tokens)?;
        self.logits.commit(tokens as u64 * row(config.vocab_size))?;
        match &mut self.draft_logits {
            Some(logits) => {
                logits.commit(sequences as u64 * row(options.draft_vocab.rows(config.vocab_size)))
            }
            None => Ok(()),
        }
    }
}

/// A sequence's place; dropping it gives it back, and the buffers with the last one.
#[derive(Debug)]
pub(super) struct Place<T: Tensor> {
    steps: Arc<Steps<T>>,
    pub(super) sequence: u32,
}

impl<T: Tensor> Drop for Place<T> {
    fn drop(&mut self) {
        let mut state = self.steps.state();
        state.open &= !(1 << self.sequence);
        if state.open == 0 {
            state.buffers = None;
            // What comes is no part of a sequence.
            self.steps.ledger.enter(Phase::Settle);
        }
    }
}
