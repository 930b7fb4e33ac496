//! Texts whose tokens are counted: prompts for runtimes that take no token ids, and their answers.

use std::path::Path;

use ledger::Tokens;
use runtime::generate::compiled_tokenizer;
use runtime::generate::tokenizer::Tokenizer;

/// Words of one token each in the vocabularies of the models that this is for, the space before them included.
const WORDS: [&str; 16] = [
    "time", "water", "house", "light", "river", "music", "stone", "garden", "letter", "winter", "window",
    "road", "paper", "city", "table", "morning",
];

/// Counts the tokens of texts with a model's own tokenizer.
#[derive(Debug)]
pub struct TextCounter {
    tokenizer: Tokenizer,
}

impl TextCounter {
    /// The tokenizer in `folder`, or why there is none.
    ///
    /// # Errors
    /// When there is no `tokenizer.json`, or it cannot be used.
    pub fn open(folder: &Path) -> Result<TextCounter, String> {
        match compiled_tokenizer(folder) {
            Ok(Some(tokenizer)) => Ok(TextCounter { tokenizer }),
            Ok(None) => Err(format!("there is no tokenizer.json in {}", folder.display())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tokens of `text`; `None` where it cannot be split.
    pub fn count(&self, text: &str) -> Option<Tokens> {
        let ids = self.tokenizer.encode(text).ok()?;
        Some(Tokens(u32::try_from(ids.len()).unwrap_or(u32::MAX)))
    }
}

/// A text of `length` words, chosen by `ids`.
pub fn words(ids: &[u32]) -> String {
    let words: Vec<&str> = ids.iter().map(|id| WORDS[*id as usize % WORDS.len()]).collect();
    words.join(" ")
}
