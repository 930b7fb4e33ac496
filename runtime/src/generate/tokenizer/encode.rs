//! The tokenizer itself: text to ids.

use std::fmt;

use thiserror::Error;

use super::added::{AddedTokens, Segment};
use super::merge::Merger;
use super::normalise::normalise;
use super::split::Splitter;
use super::table::{ADDED_NORMALISED, ADDED_SPECIAL, OpenError, Table};

/// Why a text cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// Positions in a text are 32-bit numbers.
    #[error("text of {bytes} bytes is too long to encode: the limit is 4 GiB")]
    TextTooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// The split pattern gave up.
    #[error("text cannot be split into words near byte {at} of a segment: a run of spaces there is too long")]
    Split {
        /// Where, counted from the last added token.
        at: usize,
    },
}

/// A byte-level BPE tokenizer over a table that stays where it lies.
///
/// Beside the table it holds the compiled split pattern (0.9 MiB) and the added tokens.
pub struct Tokenizer {
    pub(super) table: Table,
    splitter: Splitter,
    /// Looked for in the text as it is.
    added: AddedTokens,
    /// Looked for in the text after normalisation.
    added_normalised: AddedTokens,
    /// Ids of special tokens, ascending.
    special: Vec<u32>,
    longest_token: usize,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("rows", &self.rows()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Opens a table that [`super::compile()`] made, and checks all of it once. `block` is kept and read in place, so
    /// that a mapped file takes no memory of its own.
    ///
    /// # Errors
    /// When the block is no table, was made by another version, or is damaged.
    pub fn open(block: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Tokenizer, OpenError> {
        let table = Table::open(block)?;
        let splitter = Splitter::new(table.split_pattern()).map_err(|reason| OpenError::Split { reason })?;
        let nfc = table.normalise_nfc();
        let (mut raw, mut normalised, mut special) = (Vec::new(), Vec::new(), Vec::new());
        for entry in table.added() {
            let content = table.token(entry.id).unwrap_or_default();
            let Ok(content) = std::str::from_utf8(content) else {
                return Err(OpenError::Damaged { what: "an added token is not UTF-8" });
            };
            if entry.flags & ADDED_NORMALISED == 0 {
                raw.push((content.to_owned(), entry.id));
            } else {
                normalised.push((normalise(content, nfc).into_owned(), entry.id));
            }
            if entry.flags & ADDED_SPECIAL != 0 {
                special.push(entry.id);
            }
        }
        special.sort_unstable();
        let longest_token = (0..table.rows()).filter_map(|id| table.token(id)).map(<[u8]>::len).max();
        Ok(Tokenizer {
            splitter,
            added: AddedTokens::new(raw),
            added_normalised: AddedTokens::new(normalised),
            special,
            longest_token: longest_token.unwrap_or(1).max(1),
            table,
        })
    }

    /// The ids of `text`. Added tokens in it, chat markers included, become their own ids.
    ///
    /// # Errors
    /// When the text is 4 GiB or longer, or holds a run of about a million spaces.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        if u32::try_from(text.len()).is_err() {
            return Err(EncodeError::TextTooLong { bytes: text.len() });
        }
        let (mut ids, mut merger) = (Vec::new(), Merger::default());
        self.added.segments(text, |segment| match segment {
            Segment::Token(id) => {
                ids.push(id);
                Ok(())
            }
            Segment::Text(text) => {
                let text = normalise(text, self.table.normalise_nfc());
                self.added_normalised.segments(&text, |segment| match segment {
                    Segment::Token(id) => {
                        ids.push(id);
                        Ok(())
                    }
                    Segment::Text(text) => self
                        .splitter
                        .pieces(text, |piece| merger.merge(&self.table, piece.as_bytes(), &mut ids))
                        .map_err(|at| EncodeError::Split { at }),
                })
            }
        })?;
        Ok(ids)
    }

    /// A lower bound of the number of ids of a text with so many bytes, without encoding it. Normalisation can shrink a
    /// text to a third at most, which the bound allows for.
    pub fn fewest_tokens(&self, bytes: usize) -> usize {
        bytes.div_ceil(3 * self.longest_token)
    }

    /// Ids are below this; a model's embedding table may have more rows.
    pub fn rows(&self) -> u32 {
        self.table.rows()
    }

    /// The bytes that token `id` stands for, which need not be whole characters; empty for an id without a token.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.table.token(id).unwrap_or_default()
    }

    /// Whether `id` is a special token, such as an end-of-turn marker.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.binary_search(&id).is_ok()
    }

    /// The id of an added token, by its exact text.
    pub fn added_token(&self, content: &str) -> Option<u32> {
        self.table.added().map(|entry| entry.id).find(|id| self.token_bytes(*id) == content.as_bytes())
    }
}
