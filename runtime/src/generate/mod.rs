//! From text to tokens and back: chat template, tokenizer, sampling.

pub mod chat_template;
pub mod sample;
mod text_files;
pub mod tokenizer;

pub use text_files::{
    CHAT_TEMPLATE, TEXT_SOURCES, TOKENIZER, TOKENIZER_CONFIG, TextFilesError, compiled_tokenizer,
    read_optional, text_files,
};
