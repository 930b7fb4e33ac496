//! Ids outside, rows inside: the edge of a trimmed vocabulary.
//!
//! Sequences speak rows of the table. Whoever speaks ids passes them through [`Engine::rows_of`] on the way in and
//! [`Engine::id_of`] on the way out; where every row is kept, both return what they were given.

use std::borrow::Cow;

use super::{Engine, SequenceError};
use crate::backend::Backend;

impl<B: Backend> Engine<B> {
    /// Token ids are below this, however few rows the table has left.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// The rows of `ids`.
    ///
    /// # Errors
    /// [`SequenceError::NotKept`] with the first id that was trimmed.
    pub fn rows_of<'a>(&self, ids: &'a [u32]) -> Result<Cow<'a, [u32]>, SequenceError> {
        let Some(map) = &self.vocab_map else { return Ok(ids.into()) };
        let row_of = |id: &u32| map.row_of(*id).ok_or_else(|| self.not_kept(*id));
        ids.iter().map(row_of).collect::<Result<Vec<u32>, _>>().map(Cow::Owned)
    }

    /// The id of a row.
    pub fn id_of(&self, row: u32) -> u32 {
        // A row behind the last has no score, so nobody can have chosen it.
        self.vocab_map.as_ref().map_or(row, |map| map.id_of(row).unwrap_or(row))
    }

    /// The id of each row, where the vocabulary has been trimmed.
    pub fn kept_ids(&self) -> Option<Vec<u32>> {
        self.vocab_map.as_ref().map(|map| map.ids().collect())
    }

    fn not_kept(&self, id: u32) -> SequenceError {
        let (vocabulary, rows) = (self.vocabulary_size, self.config.vocab_size);
        match (id as usize) < vocabulary {
            true => SequenceError::NotKept { id, rows },
            false => SequenceError::OutOfVocabulary { id, vocabulary },
        }
    }
}
