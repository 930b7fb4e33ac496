//! A checkpoint's text files, in the form that an engine directory keeps.

use std::path::{Path, PathBuf};

use super::tokenizer::{self, CompileError};

/// The compiled tokenizer's name in an engine directory.
pub const TOKENIZER: &str = "tokenizer.bin";
/// The chat template's name, in checkpoints and in engine directories.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// The tokenizer configuration's name, in checkpoints and in engine directories: older checkpoints hold their chat
/// template there, and all of them the texts of special tokens.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

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
}

/// The files that an engine keeps of the checkpoint in `checkpoint`: names and contents. Those that the checkpoint lacks are
/// left out: a model runs on token ids alone.
pub fn text_files(checkpoint: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, TextFilesError> {
    let mut files = Vec::new();
    let config = read_optional(&checkpoint.join(TOKENIZER_CONFIG))?;
    if let Some(text) = read_optional(&checkpoint.join("tokenizer.json"))? {
        let table = tokenizer::compile(&text, config.as_deref())
            .map_err(|cause| TextFilesError::Tokenizer { path: checkpoint.to_owned(), cause })?;
        files.push((TOKENIZER, table));
    }
    files.extend(read_optional(&checkpoint.join(CHAT_TEMPLATE))?.map(|text| (CHAT_TEMPLATE, text)));
    files.extend(config.map(|text| (TOKENIZER_CONFIG, text)));
    Ok(files)
}

/// A file's contents, or `None` where there is no such file.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, TextFilesError> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(TextFilesError::Read { path: path.to_owned(), cause }),
    }
}
