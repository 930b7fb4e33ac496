//! The endpoints.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use crate::clock;
use crate::error::ApiError;
use crate::job::Job;
use crate::queue::Queue;
use crate::reply::{self, ReplyHead};
use crate::request::{Delivery, Endpoint, Request, Served};
use crate::serve::{MemoryHandle, ServeOptions};

/// What all handlers share.
pub(crate) struct Shared {
    pub(crate) options: ServeOptions,
    /// Set once the model is loaded.
    pub(crate) served: OnceLock<Served>,
    pub(crate) queue: Queue<Job>,
    pub(crate) memory: MemoryHandle,
    pub(crate) started: u64,
    pub(crate) replies: AtomicU64,
}

impl Shared {
    fn served(&self) -> Result<&Served, ApiError> {
        self.served.get().ok_or_else(ApiError::loading)
    }
}

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/v1/models", get(models))
        .route("/v1/memory", get(memory))
        .route("/v1/completions", post(completions))
        .route("/v1/chat/completions", post(chat))
        .fallback(async |request: HttpRequest| {
            ApiError::unknown_route(request.method().as_str(), request.uri().path())
        })
        .method_not_allowed_fallback(async |request: HttpRequest| {
            ApiError::wrong_method(request.method().as_str(), request.uri().path())
        })
        .with_state(shared)
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let (status, word) = match shared.served.get() {
        Some(_) => (StatusCode::OK, "ok"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "loading"),
    };
    (status, reply::json(json!({ "status": word, "waiting": shared.queue.waiting() }).to_string()))
        .into_response()
}

async fn models(State(shared): State<Arc<Shared>>) -> Response {
    let model = json!({
        "id": shared.options.model_id, "object": "model", "created": shared.started, "owned_by": "sweep",
    });
    reply::json(json!({ "object": "list", "data": [model] }).to_string())
}

async fn memory(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    let report = (shared.memory)().ok_or_else(ApiError::loading)?;
    Ok(reply::json(serde_json::to_string(&report).unwrap_or_default()))
}

async fn completions(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, ApiError> {
    generate(Endpoint::Completions, &shared, request).await
}

async fn chat(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, ApiError> {
    generate(Endpoint::Chat, &shared, request).await
}

async fn generate(endpoint: Endpoint, shared: &Shared, request: HttpRequest) -> Result<Response, ApiError> {
    let body = read_body(&shared.options, request).await?;
    let served = shared.served()?;
    let request = Request::read(endpoint, &body, served)?;
    drop(body);
    let (sender, events) = unbounded_channel();
    shared.queue.push(Job {
        prompt: request.prompt,
        options: request.options,
        stop: request.stop,
        tokenizer: served.tokenizer.clone(),
        events: sender,
        queued: clock::now(),
    })?;
    let prefix = match endpoint {
        Endpoint::Completions => "cmpl",
        Endpoint::Chat => "chatcmpl",
    };
    let number = shared.replies.fetch_add(1, Ordering::Relaxed);
    let head = ReplyHead {
        endpoint,
        id: format!("{prefix}-{:x}-{number}", shared.started),
        created: clock::unix_seconds(),
        model: served.model_id.clone(),
    };
    match request.delivery {
        Delivery::Whole => reply::whole(head, events).await,
        delivery => reply::stream(head, delivery, events).await,
    }
}

/// The body, if it is not too large and arrives in time.
async fn read_body(options: &ServeOptions, request: HttpRequest) -> Result<Bytes, ApiError> {
    let limit = usize::try_from(options.body_limit.0).unwrap_or(usize::MAX);
    let asks_first = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    let too_large = body.size_hint().lower() > limit as u64;
    if too_large && asks_first {
        return Err(ApiError::body_too_large(options.body_limit));
    }
    let read = async {
        if !too_large && let Ok(bytes) = collect(&mut body, limit).await? {
            return Ok(bytes);
        }
        // A client that is still sending would see a reset connection instead of the answer.
        discard(&mut body, 8 * options.body_limit.0).await;
        Err(ApiError::body_too_large(options.body_limit))
    };
    timeout(options.read_timeout, read).await.unwrap_or_else(|_| Err(ApiError::body_too_slow()))
}

/// The body exceeds its limit.
struct TooLarge;

async fn collect(body: &mut Body, limit: usize) -> Result<Result<Bytes, TooLarge>, ApiError> {
    let mut bytes = Vec::with_capacity(usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limit));
    while let Some(data) = next_data(body).await? {
        if bytes.len() + data.len() > limit {
            return Ok(Err(TooLarge));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Ok(bytes.into()))
}

async fn discard(body: &mut Body, limit: u64) {
    let mut left = limit;
    while let Ok(Some(data)) = next_data(body).await {
        left = left.saturating_sub(data.len() as u64);
        if left == 0 {
            break;
        }
    }
}

/// The next piece of a body; trailers are passed over.
async fn next_data(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    loop {
        let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => return Err(ApiError::malformed(format!("the body cannot be read: {error}"))),
        }
    }
}
