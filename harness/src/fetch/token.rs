//! Who asks.

use std::fmt;

use reqwest::header::HeaderValue;

/// A token of the Hub. It is sent to the endpoint alone, and nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(HeaderValue);

impl Token {
    /// The variable that holds it.
    pub const VARIABLE: &str = "HF_TOKEN";

    /// The token with these characters; `None` where there are none, or some that no header can have.
    pub fn new(text: &str) -> Option<Token> {
        let text = text.trim();
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).ok().filter(|_| !text.is_empty())?;
        value.set_sensitive(true);
        Some(Token(value))
    }

    /// The value of the header `Authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
