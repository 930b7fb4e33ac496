//! One request on the engine's thread: tokens become text, and events for whoever waits.

use std::sync::Arc;
use std::time::Instant;

use ledger::{Micros, Tokens};
use runtime::generate::tokenizer::{Decoder, SpecialTokens, Tokenizer};
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::{GenerateOptions, Step};
use crate::error::ApiError;
use crate::queue::Waiting;
use crate::speculation::{Round, Speculation};
use crate::stop::StopStrings;

/// What happens to a request once it runs.
#[derive(Debug)]
pub(crate) enum Event {
    /// A token, and the text that is safe to give out since it came; the text can be empty. The first token of a round with
    /// drafts brings the round and the numbers so far.
    Token { id: u32, text: String, speculation: Option<(Round, Speculation)> },
    /// The end, with the text that was still held back, and the round of which no token was given out, if there was one.
    Done { text: String, round: Option<Round>, outcome: Outcome },
    /// The end for another reason.
    Failed(ApiError),
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    /// OpenAI's word for it.
    pub(crate) finish_reason: &'static str,
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: Tokens,
    /// Tokens that were given out.
    pub(crate) completion_tokens: Tokens,
    /// How long it waited for its turn.
    pub(crate) queue_us: Micros,
    /// From its turn to its first token.
    pub(crate) prefill_us: Micros,
    /// From there to the end.
    pub(crate) decode_us: Micros,
    /// What its drafts came to, where there were any.
    pub(crate) speculation: Option<Speculation>,
}

/// A request that is ready to run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) prompt: Vec<u32>,
    pub(crate) options: GenerateOptions,
    pub(crate) stop: Vec<String>,
    /// `None` where replies hold ids alone.
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    /// Closed as soon as the client is gone.
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) queued: Instant,
}

impl Waiting for Job {
    fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }
}

/// A request while it runs.
#[derive(Debug)]
pub(crate) struct Running {
    job: Job,
    text: TextOutput,
    produced: u32,
    speculation: Option<Speculation>,
    started: Instant,
    first_token: Option<Instant>,
}

impl Running {
    /// A request whose turn has come.
    pub(crate) fn new(mut job: Job) -> Running {
        let text = TextOutput::new(job.tokenizer.clone(), std::mem::take(&mut job.stop));
        let started = Instant::now();
        Running { job, text, produced: 0, speculation: None, started, first_token: None }
    }

    pub(crate) fn prompt(&self) -> &[u32] {
        &self.job.prompt
    }

    pub(crate) fn options(&self) -> &GenerateOptions {
        &self.job.options
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.job.is_abandoned()
    }

    /// Tokens that may still come.
    pub(crate) fn wanted(&self) -> usize {
        self.job.options.max_tokens.0.saturating_sub(self.produced) as usize
    }

    /// Passes on what a step brought, as far as it is wanted. The last word, if that was all: it is said once the engine has let
    /// go of the request.
    pub(crate) fn take(&mut self, step: Step) -> Option<Event> {
        self.first_token.get_or_insert_with(Instant::now);
        let mut report = step.drafted.map(|drafted| {
            let speculation = self.speculation.get_or_insert_default();
            speculation.add(&drafted);
            let round =
                Round { drafts: drafted.drafts, accepted: drafted.accepted, emitted: step.tokens.clone() };
            (round, *speculation)
        });
        for id in step.tokens {
            if self.job.options.stop_ids.contains(&id) {
                return Some(self.done("stop", report.map(|(round, _)| round)));
            }
            self.produced += 1;
            let text = self.text.push(id);
            let sent = self.job.events.send(Event::Token { id, text, speculation: report.take() });
            if sent.is_err() {
                return Some(Event::Failed(ApiError::shutting_down()));
            }
            if self.text.stops.found() {
                return Some(self.done("stop", None));
            }
            if self.wanted() == 0 {
                return Some(self.done("length", None));
            }
        }
        None
    }

    fn done(&mut self, finish_reason: &'static str, round: Option<Round>) -> Event {
        let micros = |from: Instant, to: Instant| Micros((to - from).as_micros() as u64);
        let first_token = self.first_token.unwrap_or_else(Instant::now);
        let outcome = Outcome {
            finish_reason,
            prompt_tokens: Tokens(self.job.prompt.len() as u32),
            completion_tokens: Tokens(self.produced),
            queue_us: micros(self.job.queued, self.started),
            prefill_us: micros(self.started, first_token),
            decode_us: micros(first_token, Instant::now()),
            speculation: self.speculation,
        };
        Event::Done { text: self.text.finish(), round, outcome }
    }

    /// Says the last word.
    pub(crate) fn end(self, last: Event) {
        // A client that is gone does not hear it.
        let _ = self.job.events.send(last);
    }
}

/// The text of a completion as it grows.
#[derive(Debug)]
struct TextOutput {
    tokenizer: Option<Arc<Tokenizer>>,
    decoder: Decoder,
    stops: StopStrings,
}

impl TextOutput {
    fn new(tokenizer: Option<Arc<Tokenizer>>, stop: Vec<String>) -> TextOutput {
        TextOutput { tokenizer, decoder: Decoder::new(SpecialTokens::Skip), stops: StopStrings::new(stop) }
    }

    fn push(&mut self, id: u32) -> String {
        self.tokenizer.as_deref().map_or_else(String::new, |tokenizer| {
            let piece = self.decoder.push(tokenizer, id);
            self.stops.push(&piece)
        })
    }

    fn finish(&mut self) -> String {
        let mut rest = self.stops.push(&self.decoder.finish());
        rest.push_str(&self.stops.finish());
        rest
    }
}

/// The text of a panic, where it has one.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
