//! From text to tokens and back: the tokenizer.

pub mod tokenizer;
