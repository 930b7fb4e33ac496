//! Ids to text.

use super::encode::Tokenizer;

/// What happens to special tokens, such as end-of-turn markers, in decoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialTokens {
    /// They are left out.
    Skip,
    /// They are written as they are.
    Keep,
}

impl Tokenizer {
    /// The text of `ids`. Bytes that are not UTF-8 become U+FFFD; ids without a token add nothing.
    pub fn decode(&self, ids: &[u32], special: SpecialTokens) -> String {
        let mut decoder = Decoder::new(special);
        let mut text: String = ids.iter().map(|id| decoder.push(self, *id)).collect();
        text.push_str(&decoder.finish());
        text
    }
}

/// Decodes token by token, and gives out whole characters only: a character whose bytes are spread over several tokens
/// appears with the last of them.
#[derive(Debug, Clone)]
pub struct Decoder {
    special: SpecialTokens,
    /// The beginning of a character, at most three bytes.
    pending: Vec<u8>,
}

impl Decoder {
    /// A decoder at the start of a text.
    pub fn new(special: SpecialTokens) -> Decoder {
        Decoder { special, pending: Vec::new() }
    }

    /// The characters that are complete after one more token.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if self.special == SpecialTokens::Skip && tokenizer.is_special(id) {
            return String::new();
        }
        self.pending.extend_from_slice(tokenizer.token_bytes(id));
        let mut text = String::with_capacity(self.pending.len());
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    let Some(length) = error.error_len() else {
                        rest = invalid;
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &invalid[length..];
                }
            }
        }
        self.pending.drain(..self.pending.len() - rest.len());
        text
    }

    /// What is left at the end of the text: nothing, or U+FFFD for a character that was never completed.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}
