//! Which rows of the table an engine holds, and whose ids they are.
//!
//! A trimmed engine has fewer rows than its checkpoint: embedding, head and draft all shrink, because they share the table.
//! Inside, a token is a row; everyone outside speaks the checkpoint's ids, and a [`VocabMap`] stands between the two.
//! Rows are in ascending order of their ids, so the first rows stay the most frequent ones.
//!
//! - `choice`: what a build is asked for, and the ids that follow. `trim`: a checkpoint without the other rows.
//! - `map`: rows and ids, read where they lie. `corpus`: how often tokens occur in text.
//! - `file`: lists of ids on disk, TensorRT Edge-LLM's `vocab_map.safetensors` among them. `error`: what is wrong with one.

mod choice;
mod corpus;
mod error;
mod file;
mod map;
#[cfg(test)]
mod tests;
mod trim;

pub use choice::{RowCount, Vocab, always_kept, most_frequent};
pub use corpus::count_tokens;
pub use error::{VocabError, VocabMapProblem};
pub use file::{VOCAB_MAP, file_bytes, read_ids, to_file, write_ids};
pub use map::VocabMap;
pub use trim::{indispensable, trim, trim_keeping};
