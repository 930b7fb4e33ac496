//! What a runtime has to offer to be served.

use std::sync::Arc;

use ledger::{Micros, Tokens};
use runtime::generate::chat_template::ChatTemplate;
use runtime::generate::sample::Sampling;
use runtime::generate::tokenizer::Tokenizer;
use thiserror::Error;

/// A loaded model that generates for one request at a time. It lives on a thread of its own.
pub trait TextEngine: Send {
    /// The longest prompt that [`TextEngine::generate`] takes.
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

    /// Generates after `prompt`, whose ids and lengths the server has checked. Each token is passed to `on_token` as it
    /// is chosen; a stop id is not passed on and not counted. `cancelled` may be asked at any time, for example
    /// between prefill chunks, and once it is true the engine ends as soon as it can.
    ///
    /// Every call starts from an empty sequence, whatever became of the one before: it may have been cancelled, have
    /// failed, or have panicked.
    ///
    /// # Errors
    /// When the model cannot run. The server stays up and passes the next request on.
    fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancelled: &dyn Fn() -> bool,
        on_token: &mut dyn FnMut(u32) -> Flow,
    ) -> Result<GenerateSummary, GenerateError>;
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

/// Whether generation goes on after a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The next token is wanted.
    Continue,
    /// That was the last one: the summary says [`Finish::Cancelled`].
    Stop,
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop id came up.
    Stop,
    /// The limit of tokens is reached.
    Length,
    /// Somebody asked to stop, through [`Flow::Stop`] or `cancelled`.
    Cancelled,
}

/// What a finished generation took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerateSummary {
    /// Tokens of the prompt.
    pub prompt_tokens: Tokens,
    /// Tokens that were passed to `on_token`.
    pub completion_tokens: Tokens,
    /// Why it ended.
    pub finish: Finish,
    /// From the start to the logits of the last prompt token.
    pub prefill_us: Micros,
    /// From there to the end.
    pub decode_us: Micros,
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
    /// The engine failed: a server error.
    #[error("the engine failed: {reason}")]
    Engine {
        /// What happened.
        reason: String,
    },
}
