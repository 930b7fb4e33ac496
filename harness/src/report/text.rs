//! What becomes of a text on its way into the page: paths and variables are cut, letters that turn the line around are made
//! visible, a text without end is shortened, and nothing of it is markup.

use std::borrow::Cow;

use minijinja::value::ValueKind;
use minijinja::{Error, Output, State, Value, escape_formatter};

use crate::report::redact::redacted;
use crate::report::svg::draw::{escape, shortened};

/// Letters of a text that are shown.
const LETTERS: usize = 400;

/// Every value that a template prints goes through here. What is marked as safe is ours: drawings, the style, the script.
pub(super) fn formatter(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if value.kind() == ValueKind::String && !value.is_safe() => {
            out.write_str(&escape(&shortened(&tame(text), LETTERS))).map_err(Error::from)
        }
        _ => escape_formatter(out, state, value),
    }
}

/// The filter `whole`: a text of any length, with all the rest done to it.
pub(super) fn whole(text: &str) -> Value {
    Value::from_safe_string(escape(&tame(text)))
}

/// `text` as it may be shown, not yet escaped.
pub(super) fn tame(text: &str) -> String {
    visible(&redacted(text)).into_owned()
}

/// Letters that change the direction of what follows them, or that stand for nothing, as a mark.
fn visible(text: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| {
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || (c.is_control() && c != '\n' && c != '\t')
    };
    match text.contains(is_hidden) {
        true => Cow::Owned(text.replace(is_hidden, "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}
