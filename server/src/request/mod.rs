//! Bodies of requests, from JSON to something that can run. After this nothing is checked again.
//!
//! - [`fields`]: the body as named fields, each read with an error that names it.
//! - [`prompt`]: text or token ids to complete. [`chat`]: messages, through the chat template.
//! - [`limits`]: options, and the lengths that have to fit the context.

mod chat;
mod fields;
mod limits;
mod prompt;

use std::sync::Arc;

use ledger::Tokens;
use runtime::generate::chat_template::ChatTemplate;
use runtime::generate::tokenizer::Tokenizer;

use crate::engine::{GenerateOptions, TextEngine};
use crate::error::ApiError;
use fields::Fields;

/// What requests are checked against: the properties of the loaded model.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) model_id: String,
    pub(crate) max_prompt_tokens: Tokens,
    pub(crate) max_context: Tokens,
    pub(crate) vocabulary_size: u32,
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    pub(crate) chat_template: Option<Arc<ChatTemplate>>,
    pub(crate) stop_ids: Vec<u32>,
}

impl Served {
    pub(crate) fn new(model_id: String, engine: &dyn TextEngine) -> Served {
        Served {
            model_id,
            max_prompt_tokens: engine.max_prompt_tokens(),
            max_context: engine.max_context(),
            vocabulary_size: engine.vocabulary_size(),
            tokenizer: engine.tokenizer(),
            chat_template: engine.chat_template(),
            stop_ids: engine.stop_ids().to_vec(),
        }
    }
}

/// The two endpoints that generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/v1/completions`
    Completions,
    /// `/v1/chat/completions`
    Chat,
}

/// How the reply is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// In one piece, at the end.
    Whole,
    /// Token by token.
    Stream,
    /// Token by token, with the usage at the end.
    StreamWithUsage,
}

/// A checked request.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) prompt: Vec<u32>,
    pub(crate) options: GenerateOptions,
    pub(crate) stop: Vec<String>,
    pub(crate) delivery: Delivery,
}

impl Request {
    /// Reads and checks the body of a request to `endpoint`.
    pub(crate) fn read(endpoint: Endpoint, body: &[u8], served: &Served) -> Result<Request, ApiError> {
        let fields = Fields::read(body)?;
        if let Some(model) = fields.get::<String>("model")?
            && model != served.model_id
        {
            return Err(ApiError::unknown_model(&model, &served.model_id));
        }
        let options = limits::Options::read(endpoint, &fields)?;
        if !options.stop.is_empty() && served.tokenizer.is_none() {
            return Err(ApiError::invalid("stop", "stop strings need a tokenizer, and this model has none"));
        }
        let prompt = match endpoint {
            Endpoint::Completions => prompt::read(&fields, served)?,
            Endpoint::Chat => chat::read(&fields, served)?,
        };
        options.fit(endpoint, prompt, served)
    }
}
