//! The interface of a target: health, memory, completions.

use std::sync::Arc;
use std::time::Duration;

use ledger::MemoryReport;
use serde::Serialize;

use super::Interface;
use super::tally::{EventError, MAX_MESSAGE_CHARS};
use super::token_counter::TokenCounter;
use crate::engines::words;
use crate::record::Speculation;

/// Nothing but the answer to a prompt is longer.
const MAX_BODY_BYTES: usize = 16 << 20;

/// What went wrong between the harness and a target.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer.
    #[error("{what}: {source}")]
    Transport {
        /// What was asked.
        what: &'static str,
        /// What the transport says.
        source: reqwest::Error,
    },
    /// An answer that says no.
    #[error("{what}: the target answered {status}: {message}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The status of the answer.
        status: u16,
        /// The target's own words.
        message: String,
    },
    /// An answer that began well and then told of a failure.
    #[error("{what}: the target failed: {message}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// The target's own words.
        message: String,
    },
    /// An answer that is not what was asked for.
    #[error("{what}: the target's answer cannot be understood: {why}")]
    Garbage {
        /// What was asked.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl ClientError {
    /// True where nobody listened.
    pub fn is_refused_connection(&self) -> bool {
        matches!(self, ClientError::Transport { source, .. } if source.is_connect())
    }
}

/// Talks to one target.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    interface: Interface,
}

/// A prompt, and how many tokens to answer with, come what may.
#[derive(Debug, Clone)]
pub struct CompletionRequest<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The prompt: token ids, or, for a chat, what its words are chosen by.
    pub prompt: &'a [u32],
    /// Tokens to answer with.
    pub max_tokens: u32,
    /// Decides nothing while the temperature is 0, but targets like to know.
    pub seed: u64,
}

#[derive(Serialize)]
struct CompletionBody<'a> {
    model: &'a str,
    prompt: &'a [u32],
    max_tokens: u32,
    seed: u64,
    temperature: f32,
    ignore_eos: bool,
    stream: bool,
    stream_options: StreamOptions,
    /// Where llama.cpp knows it, every piece says how many tokens there are so far.
    timings_per_token: bool,
}

#[derive(Serialize)]
struct ChatBody<'a> {
    model: &'a str,
    messages: [ChatMessage; 1],
    max_tokens: u32,
    temperature: f32,
    /// The likeliest token, whatever the temperature.
    top_k: u32,
    stream: bool,
}

#[derive(Serialize)]
struct ChatMessage {
    role: &'static str,
    content: String,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
    /// Where a target knows it, every piece says how many tokens there are so far.
    continuous_usage_stats: bool,
}

impl Client {
    /// A client for the target at `base`, for example `http://127.0.0.1:8080`.
    pub fn new(base: &str, interface: Interface) -> Result<Client, ClientError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(no_certificates())
            .connect_timeout(Duration::from_secs(2))
            .build()
            .map_err(|source| ClientError::Transport { what: "prepare a connection", source })?;
        Ok(Client { http, base: base.to_owned(), interface })
    }

    /// True once the target has loaded its engine. A target that does not answer at all is an error; a server without `/health`
    /// is there.
    pub async fn is_ready(&self) -> Result<bool, ClientError> {
        const WHAT: &str = "ask for the target's health";
        let answer =
            self.http.get(format!("{}/health", self.base)).timeout(Duration::from_secs(5)).send().await;
        let answer = answer.map_err(|source| ClientError::Transport { what: WHAT, source })?;
        match answer.status().as_u16() {
            200 | 404 => Ok(true),
            503 => Ok(false),
            _ => Err(refused(WHAT, answer).await),
        }
    }

    /// The target's ledger and plan.
    pub async fn memory(&self, limit: Duration) -> Result<MemoryReport, ClientError> {
        const WHAT: &str = "ask for the target's memory";
        let transport = |source| ClientError::Transport { what: WHAT, source };
        let answer = self.http.get(format!("{}/v1/memory", self.base)).timeout(limit).send().await;
        let answer = answer.map_err(transport)?;
        if !answer.status().is_success() {
            return Err(refused(WHAT, answer).await);
        }
        let body = body_of(WHAT, answer).await?;
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::Garbage { what: WHAT, why: error.to_string() })
    }

    /// Sends a prompt. The answer's tokens come one by one.
    pub async fn complete(&self, request: &CompletionRequest<'_>) -> Result<TokenStream, ClientError> {
        const WHAT: &str = "send a prompt";
        let (post, counter) = match &self.interface {
            Interface::Completions => {
                let body = CompletionBody {
                    model: request.model,
                    prompt: request.prompt,
                    max_tokens: request.max_tokens,
                    seed: request.seed,
                    temperature: 0.0,
                    ignore_eos: true,
                    stream: true,
                    stream_options: StreamOptions { include_usage: true, continuous_usage_stats: true },
                    timings_per_token: true,
                };
                (self.http.post(format!("{}/v1/completions", self.base)).json(&body), TokenCounter::default())
            }
            Interface::Chat(counter) => {
                let body = ChatBody {
                    model: request.model,
                    messages: [ChatMessage { role: "user", content: words(request.prompt) }],
                    max_tokens: request.max_tokens,
                    temperature: 1.0,
                    top_k: 1,
                    stream: true,
                };
                let post = self.http.post(format!("{}/v1/chat/completions", self.base)).json(&body);
                (post, TokenCounter::with(counter.clone()))
            }
        };
        let answer = post.send().await.map_err(|source| ClientError::Transport { what: WHAT, source })?;
        if !answer.status().is_success() {
            return Err(refused(WHAT, answer).await);
        }
        Ok(TokenStream { answer, counter })
    }
}

/// Targets are asked without encryption. So that the library does not read the system's certificates for it, which a board may not even
/// have, it is given none.
fn no_certificates() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13]);
    let builder = versions.expect("ring has what TLS 1.3 needs");
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

/// The target's own words for a refusal.
async fn refused(what: &'static str, answer: reqwest::Response) -> ClientError {
    let status = answer.status().as_u16();
    let body = body_of(what, answer).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let parsed: Option<serde_json::Value> = serde_json::from_str(&body).ok();
    let message =
        parsed.and_then(|body| body["error"]["message"].as_str().map(str::to_owned)).unwrap_or(body);
    ClientError::Refused { what, status, message: message.chars().take(MAX_MESSAGE_CHARS).collect() }
}

/// The whole body of `answer`, which is not the stream of a prompt.
async fn body_of(what: &'static str, mut answer: reqwest::Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|source| ClientError::Transport { what, source })? {
        if body.len() + piece.len() > MAX_BODY_BYTES {
            let why = format!("it has more than {} MiB", MAX_BODY_BYTES >> 20);
            return Err(ClientError::Garbage { what, why });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The tokens of an answer, as they arrive. Dropping it hangs up.
#[derive(Debug)]
pub struct TokenStream {
    answer: reqwest::Response,
    counter: TokenCounter,
}

impl TokenStream {
    /// Waits for more tokens. Returns how many have come so far, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<u32>, ClientError> {
        const WHAT: &str = "read the answer to a prompt";
        let unusable = |error| match error {
            EventError::Garbage(why) => ClientError::Garbage { what: WHAT, why },
            EventError::Failed(message) => ClientError::Failed { what: WHAT, message },
        };
        loop {
            if let Some(count) = self.counter.next_count().map_err(unusable)? {
                return Ok(Some(count));
            }
            if self.counter.is_done() {
                return Ok(None);
            }
            match self.answer.chunk().await {
                Ok(Some(piece)) => self.counter.feed(&piece).map_err(unusable)?,
                Ok(None) => {
                    let why = "it ended in the middle, without [DONE]".to_owned();
                    return Err(ClientError::Garbage { what: WHAT, why });
                }
                Err(source) => return Err(ClientError::Transport { what: WHAT, source }),
            }
        }
    }

    /// What drafting came to so far, where the target drafts and says so.
    pub fn speculation(&self) -> Option<Speculation> {
        self.counter.speculation()
    }
}
