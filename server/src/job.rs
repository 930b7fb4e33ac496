//! One request on the engine's thread: tokens become text, and events for whoever waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ledger::Micros;
use runtime::generate::tokenizer::{Decoder, SpecialTokens, Tokenizer};
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::{Finish, Flow, GenerateOptions, GenerateSummary, TextEngine};
use crate::error::ApiError;
use crate::queue::Waiting;
use crate::stop::StopStrings;

/// What happens to a request once it runs.
#[derive(Debug)]
pub(crate) enum Event {
    /// A token, and the text that is safe to give out since it came; the text can be empty.
    Token { id: u32, text: String },
    /// The end, with the text that was still held back.
    Done { text: String, outcome: Outcome },
    /// The end for another reason.
    Failed(ApiError),
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    /// OpenAI's word for it.
    pub(crate) finish_reason: &'static str,
    pub(crate) summary: GenerateSummary,
    /// How long it waited for its turn.
    pub(crate) queue_us: Micros,
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

impl Job {
    /// Runs the request to its end, whatever that is.
    pub(crate) fn run(self, engine: &mut dyn TextEngine, shutdown: &AtomicBool) {
        let queue_us = Micros(self.queued.elapsed().as_micros() as u64);
        let cancelled = || self.events.is_closed() || shutdown.load(Ordering::Relaxed);
        let mut text = TextOutput::new(self.tokenizer.as_deref(), self.stop);
        // The engine promises to start afresh after a panic, and `text` is only read further after a normal return.
        let result = catch_unwind(AssertUnwindSafe(|| {
            engine.generate(&self.prompt, &self.options, &cancelled, &mut |id| {
                let sent = self.events.send(Event::Token { id, text: text.push(id) });
                if sent.is_err() || text.stops.found() || cancelled() { Flow::Stop } else { Flow::Continue }
            })
        }));
        let event = match result {
            Err(panic) => Event::Failed(ApiError::engine_panicked(panic_message(panic.as_ref()))),
            Ok(Err(error)) => Event::Failed(error.into()),
            Ok(Ok(summary)) => {
                let rest = text.finish();
                let finish_reason = match summary.finish {
                    _ if text.stops.found() => Some("stop"),
                    Finish::Stop => Some("stop"),
                    Finish::Length => Some("length"),
                    Finish::Cancelled => None,
                };
                match finish_reason {
                    Some(finish_reason) => {
                        Event::Done { text: rest, outcome: Outcome { finish_reason, summary, queue_us } }
                    }
                    None => Event::Failed(ApiError::shutting_down()),
                }
            }
        };
        // A client that is gone does not hear the end.
        let _ = self.events.send(event);
    }
}

/// The text of a completion as it grows.
struct TextOutput<'t> {
    tokenizer: Option<&'t Tokenizer>,
    decoder: Decoder,
    stops: StopStrings,
}

impl<'t> TextOutput<'t> {
    fn new(tokenizer: Option<&'t Tokenizer>, stop: Vec<String>) -> TextOutput<'t> {
        TextOutput { tokenizer, decoder: Decoder::new(SpecialTokens::Skip), stops: StopStrings::new(stop) }
    }

    fn push(&mut self, id: u32) -> String {
        self.tokenizer.map_or_else(String::new, |tokenizer| {
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
