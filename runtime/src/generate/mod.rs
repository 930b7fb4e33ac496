//! From text to tokens and back: chat template, tokenizer, sampling.

pub mod sample;
pub mod tokenizer;
