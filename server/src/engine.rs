//! What a runtime has to offer to be served.

use std::sync::Arc;

use ledger::Tokens;
use runtime::generate::chat_template::ChatTemplate;
use runtime::generate::sample::Sampling;
use runtime::generate::tokenizer::Tokenizer;
use thiserror::Error;

/// A loaded model that generates for some requests at a time. It lives on a thread of its own.
pub trait TextEngine: Send {
    /// The longest prompt that [`TextEngine::begin`] takes.
    fn max_prompt_tokens(&self) -> Tokens;

    /// The most tokens of a sequence, prompt and completion together.
    fn max_context(&self) -> Tokens;

    /// Token ids in a prompt are below this.
    fn vocabulary_size(&self) -> u32;

    /// The tokenizer; without one, only prompts of token ids are taken, and replies hold ids alone. Asked once.
    fn tokenizer(&self) -> Option<Arc<Tokenizer>>;

    /// The chat template; without one, chats are refused. Asked once.
    fn chat_template(&self) -> Option<Arc<ChatTemplate>>;

    /// Tokens that end a completion. Asked once.
    fn stop_ids(&self) -> &[u32];

    /// How many requests run together; at least 1. Asked once.
    fn max_batch(&self) -> usize;

    /// Begins a request in `place` (below [`TextEngine::max_batch`], and free): reads `prompt`, whose ids and lengths the server
    /// has checked, and chooses the first token. `None` once `cancelled` is true, which may be asked at any time, for example
    /// between prefill chunks.
    ///
    /// Whatever becomes of it, an error and a panic included, [`TextEngine::end`] follows.
    ///
    /// # Errors
    /// When the model cannot run. The server stays up and passes the next request on.
    fn begin(
        &mut self,
        place: usize,
        prompt: &[u32],
        options: &GenerateOptions,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<u32>, GenerateError>;

    /// Goes on with the requests of `turns`, all together, by at least one token each. A request may get none once it is
    /// cancelled.
    ///
    /// # Errors
    /// When the model cannot run: every request of `turns` has failed.
    fn step(&mut self, turns: &[Turn<'_>]) -> Result<Vec<Step>, GenerateError>;

    /// Ends the request in `place` and frees what it holds. The place may be free already.
    fn end(&mut self, place: usize);
}

/// One running request in a step.
pub struct Turn<'a> {
    /// Where it runs.
    pub place: usize,
    /// Tokens that are still wanted of it; more than these are of no use.
    pub wanted: usize,
    /// Whether nobody waits for it any more.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// What a step brought for one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// The tokens, stop tokens included.
    pub tokens: Vec<u32>,
    /// What a draft had guessed; `None` where there is no draft.
    pub drafted: Option<Drafted>,
}

/// The guesses of one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drafted {
    /// The guesses, in order.
    pub drafts: Vec<u32>,
    /// How many of them were right, from the first on.
    pub accepted: usize,
}

/// How to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// The most tokens to generate; at least 1, and together with the prompt at most [`TextEngine::max_context`].
    pub max_tokens: Tokens,
    /// How each token is chosen.
    pub sampling: Sampling,
    /// Tokens that end the completion; empty when the request ignores the end of the sequence.
    pub stop_ids: Vec<u32>,
}

/// Why a generation failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenerateError {
    /// This request cannot be served, others can: a client error.
    #[error("the request cannot be served: {reason}")]
    Request {
        /// What is wrong with it.
        reason: String,
    },
    /// There is no memory for this request now, while others may be served: try again later.
    #[error("there is no memory for this request: {reason}")]
    NoMemory {
        /// What could not be had, and its bytes.
        reason: String,
    },
    /// The engine failed: a server error.
    #[error("the engine failed: {reason}")]
    Engine {
        /// What happened.
        reason: String,
    },
}
