//! Options of a request, and whether prompt and completion fit the context.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use ledger::Tokens;
use runtime::generate::sample::Sampling;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::fields::Fields;
use super::{Delivery, Endpoint, Request, Served};
use crate::engine::GenerateOptions;
use crate::error::ApiError;

/// OpenAI's default length of a completion; a chat goes on to the end of the context.
const DEFAULT_COMPLETION_TOKENS: u32 = 16;
/// OpenAI's limit of stop strings.
const MAX_STOP_STRINGS: usize = 4;
/// OpenAI's limit of the temperature.
const MAX_TEMPERATURE: f32 = 2.0;

/// Everything of a request but its prompt.
pub(super) struct Options {
    /// At least 1, where given.
    max_tokens: Option<u32>,
    sampling: Sampling,
    ignore_eos: bool,
    pub(super) stop: Vec<String>,
    delivery: Delivery,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl Options {
    pub(super) fn read(endpoint: Endpoint, fields: &Fields<'_>) -> Result<Options, ApiError> {
        refuse_unsupported(endpoint, fields)?;
        let stream = fields.get("stream")?.unwrap_or(false);
        let stream_options: Option<StreamOptions> = fields.get("stream_options")?;
        let delivery = match (stream, stream_options) {
            (false, None) => Delivery::Whole,
            (false, Some(_)) => {
                return Err(ApiError::invalid("stream_options", "`stream_options` needs `stream`"));
            }
            (true, Some(StreamOptions { include_usage: Some(true) })) => Delivery::StreamWithUsage,
            (true, _) => Delivery::Stream,
        };
        let stop = fields.get("stop")?.map_or_else(Vec::new, |StopList(stop)| stop);
        if stop.len() > MAX_STOP_STRINGS || stop.iter().any(String::is_empty) {
            let message =
                format!("`stop` is a text or a list of up to {MAX_STOP_STRINGS} texts, none of them empty");
            return Err(ApiError::invalid("stop", message));
        }
        Ok(Options {
            max_tokens: max_tokens(endpoint, fields)?,
            sampling: sampling(fields)?,
            ignore_eos: fields.get("ignore_eos")?.unwrap_or(false),
            stop,
            delivery,
        })
    }

    /// The request, if prompt and completion fit.
    pub(super) fn fit(
        self,
        endpoint: Endpoint,
        prompt: Vec<u32>,
        served: &Served,
    ) -> Result<Request, ApiError> {
        let param = match endpoint {
            Endpoint::Completions => "prompt",
            Endpoint::Chat => "messages",
        };
        if prompt.is_empty() {
            return Err(ApiError::invalid(param, "the prompt is empty"));
        }
        let (Tokens(longest), Tokens(context)) = (served.max_prompt_tokens, served.max_context);
        if prompt.len() > longest as usize {
            return Err(too_long(param, &prompt.len().to_string(), longest));
        }
        let used = prompt.len() as u32;
        let room = context.saturating_sub(used);
        let max_tokens = self.max_tokens.unwrap_or(match endpoint {
            Endpoint::Completions => DEFAULT_COMPLETION_TOKENS.min(room),
            Endpoint::Chat => room,
        });
        if room == 0 || max_tokens > room {
            let message = format!(
                "the prompt has {used} tokens and `max_tokens` is {max_tokens}; the context holds {context} together"
            );
            return Err(ApiError::context_length("max_tokens", message));
        }
        let stop_ids = if self.ignore_eos { Vec::new() } else { served.stop_ids.clone() };
        let options = GenerateOptions { max_tokens: Tokens(max_tokens), sampling: self.sampling, stop_ids };
        Ok(Request { prompt, options, stop: self.stop, delivery: self.delivery })
    }
}

/// The ids of a text. A text that is too long by its bytes alone is not even encoded.
pub(super) fn encode(param: &'static str, text: &str, served: &Served) -> Result<Vec<u32>, ApiError> {
    let Some(tokenizer) = &served.tokenizer else {
        return Err(ApiError::invalid(
            param,
            "this model has no tokenizer: send token ids to /v1/completions",
        ));
    };
    let (fewest, Tokens(longest)) = (tokenizer.fewest_tokens(text.len()), served.max_prompt_tokens);
    if fewest > longest as usize {
        return Err(too_long(param, &format!("at least {fewest}"), longest));
    }
    let ids = tokenizer.encode(text).map_err(|error| ApiError::invalid(param, error.to_string()))?;
    match ids.iter().find(|id| **id >= served.vocabulary_size) {
        None => Ok(ids),
        Some(id) => Err(ApiError::invalid(
            param,
            format!("the text has token {id}, and the model's vocabulary ends at {}", served.vocabulary_size),
        )),
    }
}

fn too_long(param: &'static str, tokens: &str, longest: u32) -> ApiError {
    let message = format!("the prompt has {tokens} tokens; this server takes prompts of up to {longest}");
    ApiError::context_length(param, message)
}

fn max_tokens(endpoint: Endpoint, fields: &Fields<'_>) -> Result<Option<u32>, ApiError> {
    let mut asked: Option<Number> = fields.get("max_tokens")?;
    if endpoint == Endpoint::Chat {
        asked = fields.get("max_completion_tokens")?.or(asked);
    }
    let Some(asked) = asked else { return Ok(None) };
    match asked.as_u64() {
        // More than any context holds; `fit` tells how much that is.
        Some(count @ 1..) => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
        _ => Err(ApiError::invalid(
            "max_tokens",
            format!("`max_tokens` is {asked}; it is a whole number from 1 up"),
        )),
    }
}

fn sampling(fields: &Fields<'_>) -> Result<Sampling, ApiError> {
    let temperature: f32 = fields.get("temperature")?.unwrap_or(1.0);
    if temperature > MAX_TEMPERATURE {
        let message = format!("`temperature` is {temperature}; it goes up to {MAX_TEMPERATURE}");
        return Err(ApiError::invalid("temperature", message));
    }
    let top_p = fields.get("top_p")?.unwrap_or(1.0);
    // Both 0 and -1 are in use for "no limit".
    let top_k = match fields.get("top_k")?.unwrap_or(0_i64) {
        -1 => 0,
        top_k => u32::try_from(top_k).map_err(|_| {
            ApiError::invalid("top_k", format!("`top_k` is {top_k}; it is a whole number from 0 up"))
        })?,
    };
    let seed = match fields.get::<i64>("seed")? {
        Some(seed) => seed as u64,
        None => RandomState::new().hash_one(()),
    };
    Sampling::new(temperature, top_k, top_p, seed).map_err(|error| {
        let param = match error {
            runtime::generate::sample::SamplingError::Temperature(_) => "temperature",
            runtime::generate::sample::SamplingError::TopP(_) => "top_p",
        };
        ApiError::invalid(param, error.to_string())
    })
}

/// Refuses what would change the reply and is not implemented, unless it is set to do nothing.
fn refuse_unsupported(endpoint: Endpoint, fields: &Fields<'_>) -> Result<(), ApiError> {
    for name in ["n", "best_of"] {
        if fields.get::<Number>(name)?.is_some_and(|count| count.as_u64() != Some(1)) {
            return Err(ApiError::unsupported(name, format!("`{name}` other than 1 is not supported")));
        }
    }
    const EVERYWHERE: &[&str] =
        &["frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "min_p"];
    const COMPLETIONS: &[&str] = &["echo", "suffix"];
    const CHAT: &[&str] = &["audio", "functions"];
    let own = if endpoint == Endpoint::Chat { CHAT } else { COMPLETIONS };
    for name in EVERYWHERE.iter().chain(own) {
        let idle = match fields.get::<Value>(name)? {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::Number(number)) => number.as_f64() == Some(0.0),
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Object(object)) => object.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Bool(true)) => false,
        };
        if !idle {
            return Err(ApiError::unsupported(name, format!("`{name}` is not supported")));
        }
    }
    let format: Option<Value> = fields.get("response_format")?;
    if format.is_some_and(|format| format.get("type").and_then(Value::as_str) != Some("text")) {
        return Err(ApiError::unsupported(
            "response_format",
            "a `response_format` other than `text` is not supported",
        ));
    }
    Ok(())
}

/// `stop`: one text or several.
struct StopList(Vec<String>);

impl<'de> Deserialize<'de> for StopList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StopList, D::Error> {
        deserializer.deserialize_any(StopVisitor)
    }
}

struct StopVisitor;

impl<'de> Visitor<'de> for StopVisitor {
    type Value = StopList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<StopList, E> {
        Ok(StopList(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<StopList, A::Error> {
        let mut stop = Vec::new();
        while let Some(text) = items.next_element()? {
            stop.push(text);
            if stop.len() > MAX_STOP_STRINGS {
                return Err(A::Error::custom(format!("more than {MAX_STOP_STRINGS} stop strings")));
            }
        }
        Ok(StopList(stop))
    }
}
