//! The messages of a chat, through the checkpoint's template to token ids.

use runtime::generate::chat_template::Conversation;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::{Served, limits};
use crate::error::ApiError;

/// The ids of the prompt that the template makes of the messages.
pub(super) fn read(fields: &Fields<'_>, served: &Served) -> Result<Vec<u32>, ApiError> {
    let mut messages: Vec<Value> = fields.require("messages")?;
    if messages.is_empty() {
        return Err(ApiError::invalid("messages", "`messages` is empty"));
    }
    for (at, message) in messages.iter_mut().enumerate() {
        flatten(message).map_err(|reason| ApiError::invalid("messages", format!("message {at} {reason}")))?;
    }
    let tools: Option<Vec<Value>> = fields.get("tools")?;
    let variables: Map<String, Value> = fields.get("chat_template_kwargs")?.unwrap_or_default();
    let Some(template) = &served.chat_template else {
        return Err(ApiError::malformed("this model has no chat template: use /v1/completions"));
    };
    let conversation = Conversation { messages: &messages, tools: tools.as_deref(), variables: &variables };
    let prompt =
        template.render(&conversation).map_err(|error| ApiError::invalid("messages", error.to_string()))?;
    limits::encode("messages", &prompt, served)
}

/// Brings a message into the form that templates know: `content` as one text, and the arguments of tool calls, which
/// the interface sends as JSON in a text, as objects.
fn flatten(message: &mut Value) -> Result<(), String> {
    let Value::Object(message) = message else { return Err("is not an object".to_owned()) };
    if !message.get("role").is_some_and(Value::is_string) {
        return Err("has no `role`".to_owned());
    }
    let calls_tools = message.contains_key("tool_calls");
    match message.get_mut("content") {
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            let texts = parts.iter().map(part_text).collect::<Result<Vec<&str>, String>>()?;
            let text = texts.join("\n");
            message.insert("content".to_owned(), text.into());
        }
        // An assistant's turn can consist of tool calls alone.
        None | Some(Value::Null) if calls_tools => {
            message.insert("content".to_owned(), "".into());
        }
        None | Some(Value::Null) => return Err("has no `content`".to_owned()),
        Some(_) => return Err("has a `content` that is neither a text nor a list of parts".to_owned()),
    }
    for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(arguments) = call.pointer_mut("/function/arguments")
            && let Some(Ok(parsed @ Value::Object(_))) = arguments.as_str().map(serde_json::from_str)
        {
            *arguments = parsed;
        }
    }
    Ok(())
}

/// The text of a content part.
fn part_text(part: &Value) -> Result<&str, String> {
    match part.get("type").and_then(Value::as_str) {
        Some("text") => {
            part.get("text").and_then(Value::as_str).ok_or_else(|| "has a part without text".to_owned())
        }
        Some(kind) => Err(format!("has a part of type `{kind}`: this server takes text only")),
        None => Err("has a part without a type".to_owned()),
    }
}
