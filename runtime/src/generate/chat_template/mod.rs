//! A checkpoint's own chat template, rendered as `transformers` renders it.
//!
//! The template is Jinja, with Python's string methods ([`minijinja_contrib::pycompat`]), `raise_exception`,
//! `strftime_now`, and `tojson` in Python's spelling (`python`). Whatever goes wrong while it runs is a matter of the
//! messages it was given, and so the client's error.

mod python;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Deserialize;
use serde_json::Map;
use thiserror::Error;

/// The template that serves every conversation.
const DEFAULT: &str = "default";
/// The template that serves conversations with tools, where a checkpoint has a separate one.
const TOOL_USE: &str = "tool_use";

/// Why a chat template cannot be used, or refuses a conversation.
#[derive(Debug, Error)]
pub enum ChatTemplateError {
    /// `tokenizer_config.json` is not the JSON that it should be.
    #[error("tokenizer_config.json cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The template is not valid Jinja.
    #[error("the checkpoint's chat template cannot be compiled: {reason}")]
    Compile {
        /// What the template engine says, with the line.
        reason: String,
    },
    /// The template called `raise_exception`: it does not take these messages.
    #[error("the chat template refuses the messages: {message}")]
    Refused {
        /// The template's own words.
        message: String,
    },
    /// The template failed on these messages.
    #[error("the chat template fails on the messages: {reason}")]
    Render {
        /// What the template engine says, with the line.
        reason: String,
    },
}

/// The part of `tokenizer_config.json` that chat templates use.
#[derive(Default, Deserialize)]
struct TemplateConfig {
    chat_template: Option<serde_json::Value>,
    bos_token: Option<serde_json::Value>,
    eos_token: Option<serde_json::Value>,
    pad_token: Option<serde_json::Value>,
    unk_token: Option<serde_json::Value>,
}

/// What a template is rendered for.
#[derive(Debug, Clone, Copy)]
pub struct Conversation<'a> {
    /// The messages in the OpenAI form: objects with `role`, `content` and what else the template knows.
    pub messages: &'a [serde_json::Value],
    /// Descriptions of tools, if the model may call any.
    pub tools: Option<&'a [serde_json::Value]>,
    /// More variables of the template, such as `enable_thinking`; they go before all others.
    pub variables: &'a Map<String, serde_json::Value>,
}

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Compiles the template of a checkpoint from the text of its `chat_template.jinja`, which goes first, or else from
    /// `chat_template` in its `tokenizer_config.json`, a text or a list of named texts. `None` if there is none.
    ///
    /// # Errors
    /// When `tokenizer_config.json` is not valid or a template does not compile.
    pub fn from_checkpoint(
        jinja: Option<&str>,
        tokenizer_config: Option<&[u8]>,
    ) -> Result<Option<ChatTemplate>, ChatTemplateError> {
        let config = match tokenizer_config {
            Some(text) => serde_json::from_slice(text)?,
            None => TemplateConfig::default(),
        };
        let mut environment = environment()?;
        match (jinja, &config.chat_template) {
            (Some(source), _) => add(&mut environment, DEFAULT, source)?,
            (None, Some(serde_json::Value::String(source))) => add(&mut environment, DEFAULT, source)?,
            (None, Some(serde_json::Value::Array(list))) => {
                for entry in list {
                    let text = |name: &str| entry.get(name).and_then(serde_json::Value::as_str);
                    if let (Some(name @ (DEFAULT | TOOL_USE)), Some(source)) =
                        (text("name"), text("template"))
                    {
                        add(&mut environment, name, source)?;
                    }
                }
            }
            (None, _) => {}
        }
        if environment.get_template(DEFAULT).is_err() {
            return Ok(None);
        }
        for (name, token) in [
            ("bos_token", config.bos_token),
            ("eos_token", config.eos_token),
            ("pad_token", config.pad_token),
            ("unk_token", config.unk_token),
        ] {
            // A token is written as a text, or as an object with its text in `content`.
            let token =
                token.as_ref().and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
            if let Some(token) = token {
                environment.add_global(name, token.to_owned());
            }
        }
        Ok(Some(ChatTemplate { environment }))
    }

    /// The prompt for the next turn of a conversation.
    ///
    /// # Errors
    /// When the template refuses the messages or fails on them.
    pub fn render(&self, conversation: &Conversation<'_>) -> Result<String, ChatTemplateError> {
        let tools = conversation.tools.filter(|tools| !tools.is_empty());
        let name = if tools.is_some() && self.environment.get_template(TOOL_USE).is_ok() {
            TOOL_USE
        } else {
            DEFAULT
        };
        let mut context = BTreeMap::from([
            ("messages", Value::from(Serde(conversation.messages))),
            ("tools", Value::from(Serde(tools))),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(true)),
        ]);
        context.extend(
            conversation.variables.iter().map(|(name, value)| (name.as_str(), Value::from(Serde(value)))),
        );
        self.environment
            .get_template(name)
            .and_then(|template| template.render(Value::from(context)))
            .map_err(|error| match python::raised(&error) {
                Some(message) => ChatTemplateError::Refused { message: message.to_owned() },
                None => ChatTemplateError::Render { reason: error.to_string() },
            })
    }
}

fn add(environment: &mut Environment<'static>, name: &str, source: &str) -> Result<(), ChatTemplateError> {
    environment.add_template_owned(name.to_owned(), source.to_owned()).map_err(compile_error)
}

fn compile_error(error: minijinja::Error) -> ChatTemplateError {
    ChatTemplateError::Compile { reason: error.to_string() }
}

/// An environment with the settings and names that `transformers` gives to chat templates.
fn environment() -> Result<Environment<'static>, ChatTemplateError> {
    let mut environment = Environment::new();
    let syntax =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(compile_error)?;
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(python::format);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", python::to_json);
    environment.add_function("raise_exception", python::raise_exception);
    environment.add_function("strftime_now", python::strftime_now);
    Ok(environment)
}
