//! The words and signs of a condition, with their places.

use std::ops::Range;

use super::super::diagnostic::Diagnostic;

/// A word or a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A name, a value, or one of the words of the language.
    Word(&'t str),
    /// A value in quotes.
    Quoted(&'t str),
    /// Brackets, commas and comparisons.
    Sign(&'static str),
}

/// Every sign; a longer one stands before its beginning.
const SIGNS: [&str; 11] = ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ","];

/// What people write elsewhere, and what stands for it here.
const FOREIGN: [(&str, &str); 4] = [("&&", "and"), ("||", "or"), ("=", "=="), ("!", "not")];

/// Characters of words: those of names, numbers, units and paths.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || "._-:/+%$".contains(c)
}

/// True for a value that needs no quotes.
pub(super) fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(is_of_word) && !super::parse::WORDS.contains(&value)
}

/// Every token of `text` with its bytes.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token<'_>, Range<usize>)>, Diagnostic> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if is_of_word(first) {
            let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
            tokens.push((Token::Word(&rest[..length]), at..at + length));
            length
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push((Token::Sign(sign), at..at + sign.len()));
            sign.len()
        } else if first == '\'' || first == '"' {
            let Some(length) = rest[1..].find(first) else {
                return Err(Diagnostic::new("this quote does not end", at..text.len()));
            };
            tokens.push((Token::Quoted(&rest[1..1 + length]), at..at + length + 2));
            length + 2
        } else {
            let foreign = FOREIGN.into_iter().find(|(sign, _)| rest.starts_with(sign));
            let length = foreign.map_or(first.len_utf8(), |(sign, _)| sign.len());
            let mistake =
                Diagnostic::new(format!("`{}` is no sign of a condition", &rest[..length]), at..at + length);
            return Err(match foreign {
                Some((_, ours)) => mistake.hint(format!("write `{ours}`")),
                None => mistake.hint("put a value with such a character in quotes"),
            });
        };
        at += length;
    }
    Ok(tokens)
}
