//! From text to tokens and back: chat template, tokenizer, sampling.

pub mod chat_template;
pub mod sample;
pub mod tokenizer;
