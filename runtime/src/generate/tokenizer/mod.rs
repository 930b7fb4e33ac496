//! Byte-level BPE over a compact table that is used where it lies, usually a mapped file.
//!
//! A Hugging Face `tokenizer.json` of a 248k-entry vocabulary takes 130 MiB and more once it is parsed into maps. Here
//! [`compile()`] turns it, at engine-build time, into one table of a few MiB, and [`Tokenizer::open`] checks
//! that table and reads it in place. The ids are those of the `tokenizers` library.
//!
//! - `byte_level`: the alphabet in which a `tokenizer.json` writes bytes.
//! - `source`, [`compile`]: the checkpoint's files, checked, and the table made from them.
//! - `table`: the table's layout, its writer and its checks.
//! - `added`, `normalise`, `split`, `merge`: the steps of encoding, in that order.
//! - `decode`: ids to text, at once or token by token. `trim`: the same table with fewer tokens.

mod added;
mod byte_level;
mod compile;
mod decode;
mod encode;
mod merge;
mod normalise;
mod source;
mod split;
mod table;
#[cfg(test)]
mod tests;
mod trim;

pub use compile::{CompileError, compile};
pub use decode::{Decoder, SpecialTokens};
pub use encode::{EncodeError, Tokenizer};
pub use table::OpenError;
