//! A checkpoint's text files, in the form that an engine directory keeps.

use std::path::{Path, PathBuf};

use super::tokenizer::{self, CompileError, OpenError, Tokenizer};

/// The compiled tokenizer's name in an engine directory.
pub const TOKENIZER: &str = "tokenizer.bin";
/// The chat template's name, in checkpoints and in engine directories.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// The tokenizer configuration's name, in checkpoints and in engine directories: older checkpoints hold their chat
/// template there, and all of them the texts of special tokens.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// The tokenizer's name in checkpoints.
const TOKENIZER_JSON: &str = "tokenizer.json";
/// Every file of a checkpoint that [`text_files`] reads, where it is there.
pub const TEXT_SOURCES: [&str; 3] = [TOKENIZER_JSON, CHAT_TEMPLATE, TOKENIZER_CONFIG];

/// Why a checkpoint's text files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextFilesError {
    /// A file could not be read.
    #[error("read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The tokenizer is not one that can be compiled.
    #[error("compile the tokenizer of {path}: {cause}")]
    Tokenizer {
        /// The checkpoint directory.
        path: PathBuf,
        /// What is wrong.
        cause: CompileError,
    },
    /// The compiled tokenizer does not hold up.
    #[error("compile the tokenizer of {path}: {cause}")]
    Table {
        /// The checkpoint directory.
        path: PathBuf,
        /// What is wrong.
        cause: OpenError,
    },
}

/// The files that an engine keeps of the checkpoint in `checkpoint`: names and contents. Those that the checkpoint lacks are
/// left out: a model runs on token ids alone. The tokenizer of a trimmed engine produces the ids `kept` only, which ascend.
pub fn text_files(
    checkpoint: &Path,
    kept: Option<&[u32]>,
) -> Result<Vec<(&'static str, Vec<u8>)>, TextFilesError> {
    let mut files = Vec::new();
    if let Some(table) = compiled_table(checkpoint)? {
        files.push((
            TOKENIZER,
            match kept {
                None => table,
                Some(kept) => opened(checkpoint, table)?.trimmed(kept),
            },
        ));
    }
    for name in [CHAT_TEMPLATE, TOKENIZER_CONFIG] {
        files.extend(read_optional(&checkpoint.join(name))?.map(|text| (name, text)));
    }
    Ok(files)
}

/// The tokenizer of the checkpoint in `checkpoint`, where it has one.
pub fn compiled_tokenizer(checkpoint: &Path) -> Result<Option<Tokenizer>, TextFilesError> {
    compiled_table(checkpoint)?.map(|table| opened(checkpoint, table)).transpose()
}

fn compiled_table(checkpoint: &Path) -> Result<Option<Vec<u8>>, TextFilesError> {
    let Some(text) = read_optional(&checkpoint.join(TOKENIZER_JSON))? else { return Ok(None) };
    let config = read_optional(&checkpoint.join(TOKENIZER_CONFIG))?;
    tokenizer::compile(&text, config.as_deref())
        .map(Some)
        .map_err(|cause| TextFilesError::Tokenizer { path: checkpoint.to_owned(), cause })
}

fn opened(checkpoint: &Path, table: Vec<u8>) -> Result<Tokenizer, TextFilesError> {
    Tokenizer::open(table).map_err(|cause| TextFilesError::Table { path: checkpoint.to_owned(), cause })
}

/// A file's contents, or `None` where there is no such file.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, TextFilesError> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(TextFilesError::Read { path: path.to_owned(), cause }),
    }
}
