//! Replies in OpenAI's form, whole or as server-sent events.
//!
//! A stream has one chunk for each token, even where its text is still held back, so that a client sees every token when
//! it is made. Beside OpenAI's fields, choices carry `token_ids`, the usage carries `timings`, and where a draft is used, replies and the
//! first chunk of each round carry `speculation`; a round that ends the completion with its first token comes with the last chunk.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use ledger::{Micros, Tokens};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::error::ApiError;
use crate::job::{Event, Outcome};
use crate::request::{Delivery, Endpoint};
use crate::speculation::Report;

/// What all chunks of a reply have in common.
#[derive(Debug)]
pub(crate) struct ReplyHead {
    pub(crate) endpoint: Endpoint,
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
}

#[derive(Serialize)]
struct Reply<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speculation: Option<Report<'a>>,
}

/// A choice; which of the first three fields it has depends on the kind of reply.
#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Message<'a>>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
    token_ids: &'a [u32],
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: Tokens,
    completion_tokens: Tokens,
    total_tokens: Tokens,
    timings: Timings,
}

#[derive(Serialize)]
struct Timings {
    queue_ms: f64,
    prefill_ms: f64,
    decode_ms: f64,
}

impl Usage {
    fn new(outcome: &Outcome) -> Usage {
        let milliseconds = |Micros(time): Micros| time as f64 / 1000.0;
        Usage {
            prompt_tokens: outcome.prompt_tokens,
            completion_tokens: outcome.completion_tokens,
            total_tokens: Tokens(outcome.prompt_tokens.0 + outcome.completion_tokens.0),
            timings: Timings {
                queue_ms: milliseconds(outcome.queue_us),
                prefill_ms: milliseconds(outcome.prefill_us),
                decode_ms: milliseconds(outcome.decode_us),
            },
        }
    }
}

/// Where in a reply a piece of text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    FirstChunk,
    Chunk,
    LastChunk,
}

impl ReplyHead {
    /// The JSON of a reply or chunk with one choice.
    fn write(
        &self,
        part: Part,
        text: &str,
        token_ids: &[u32],
        finish_reason: Option<&'static str>,
        usage: Option<Usage>,
        speculation: Option<Report<'_>>,
    ) -> String {
        let mut choice = Choice {
            index: 0,
            text: None,
            message: None,
            delta: None,
            logprobs: None,
            finish_reason,
            token_ids,
        };
        let assistant = Some("assistant");
        match (self.endpoint, part) {
            (Endpoint::Completions, _) => choice.text = Some(text),
            (Endpoint::Chat, Part::Whole) => {
                choice.message = Some(Message { role: assistant, content: Some(text) });
            }
            (Endpoint::Chat, Part::FirstChunk) => {
                choice.delta = Some(Message { role: assistant, content: Some(text) });
            }
            (Endpoint::Chat, Part::Chunk) => choice.delta = Some(Message { role: None, content: Some(text) }),
            (Endpoint::Chat, Part::LastChunk) => {
                choice.delta =
                    Some(Message { role: None, content: Some(text).filter(|text| !text.is_empty()) });
            }
        }
        self.wrap(part, &[choice], usage, speculation)
    }

    fn wrap(
        &self,
        part: Part,
        choices: &[Choice<'_>],
        usage: Option<Usage>,
        speculation: Option<Report<'_>>,
    ) -> String {
        let object = match (self.endpoint, part) {
            (Endpoint::Completions, _) => "text_completion",
            (Endpoint::Chat, Part::Whole) => "chat.completion",
            (Endpoint::Chat, _) => "chat.completion.chunk",
        };
        let (id, created, model) = (self.id.as_str(), self.created, self.model.as_str());
        let reply = Reply { id, object, created, model, choices, usage, speculation };
        serde_json::to_string(&reply).unwrap_or_default()
    }
}

/// Waits for the end of a request and answers in one piece.
pub(crate) async fn whole(
    head: ReplyHead,
    mut events: UnboundedReceiver<Event>,
) -> Result<Response, ApiError> {
    let (mut text, mut ids, mut rounds) = (String::new(), Vec::new(), Vec::new());
    loop {
        match events.recv().await {
            Some(Event::Token { id, text: piece, speculation }) => {
                ids.push(id);
                text.push_str(&piece);
                rounds.extend(speculation.map(|(round, _)| round));
            }
            Some(Event::Done { text: rest, round, outcome }) => {
                text.push_str(&rest);
                rounds.extend(round);
                let (reason, usage) = (Some(outcome.finish_reason), Some(Usage::new(&outcome)));
                let speculation = outcome.speculation.map(|numbers| numbers.report(&rounds));
                return Ok(json(head.write(Part::Whole, &text, &ids, reason, usage, speculation)));
            }
            Some(Event::Failed(error)) => return Err(error),
            None => return Err(ApiError::shutting_down()),
        }
    }
}

/// A JSON body.
pub(crate) fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// Waits for the first event of a request, so that an error still gets its status, and then answers as a stream.
pub(crate) async fn stream(
    head: ReplyHead,
    delivery: Delivery,
    mut events: UnboundedReceiver<Event>,
) -> Result<Response, ApiError> {
    let first = match events.recv().await {
        Some(Event::Failed(error)) => return Err(error),
        Some(event) => event,
        None => return Err(ApiError::shutting_down()),
    };
    let chunks =
        Chunks { head, delivery, events, waiting: Some(first), next: Part::FirstChunk, ended: false };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// The events of a request as server-sent events. When the client goes away this is dropped, which closes the channel
/// and so ends the generation.
struct Chunks {
    head: ReplyHead,
    delivery: Delivery,
    events: UnboundedReceiver<Event>,
    /// An event that has been received already.
    waiting: Option<Event>,
    next: Part,
    ended: bool,
}

impl Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let event = match self.waiting.take() {
            Some(event) => Some(event),
            None => std::task::ready!(self.events.poll_recv(context)),
        };
        let text = self.chunk(event.unwrap_or_else(|| Event::Failed(ApiError::shutting_down())));
        Poll::Ready(Some(Ok(text.into())))
    }
}

impl Chunks {
    fn chunk(&mut self, event: Event) -> String {
        match event {
            Event::Token { id, text, speculation } => {
                let part = std::mem::replace(&mut self.next, Part::Chunk);
                let (rounds, numbers) = speculation.unzip();
                let rounds: Vec<_> = rounds.into_iter().collect();
                let report = numbers.map(|numbers| numbers.report(&rounds));
                data(&self.head.write(part, &text, &[id], None, None, report))
            }
            Event::Done { text, round, outcome } => {
                self.ended = true;
                let part = if self.next == Part::FirstChunk { Part::FirstChunk } else { Part::LastChunk };
                let rounds: Vec<_> = round.into_iter().collect();
                let report = outcome.speculation.filter(|_| !rounds.is_empty());
                let report = report.map(|numbers| numbers.report(&rounds));
                let mut chunks =
                    data(&self.head.write(part, &text, &[], Some(outcome.finish_reason), None, report));
                if self.delivery == Delivery::StreamWithUsage {
                    let report = outcome.speculation.map(|numbers| numbers.report(&[]));
                    chunks +=
                        &data(&self.head.wrap(Part::LastChunk, &[], Some(Usage::new(&outcome)), report));
                }
                chunks + &data("[DONE]")
            }
            // The status is long gone, so the error is an event, and no `[DONE]` follows.
            Event::Failed(error) => {
                self.ended = true;
                data(&error.to_json())
            }
        }
    }
}

/// One server-sent event.
fn data(text: &str) -> String {
    format!("data: {text}\n\n")
}
