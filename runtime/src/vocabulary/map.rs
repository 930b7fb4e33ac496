//! Rows and ids of a trimmed table.

use std::fmt;
use std::ops::Range;

use super::VocabMapProblem;
use super::file::ids_in;

/// The id of each row, ascending: row to id is a look-up, id to row a binary search.
///
/// It is a `vocab_map.safetensors` that is read where it lies, usually a mapped file: 4 bytes a row.
pub struct VocabMap {
    block: Box<dyn AsRef<[u8]> + Send + Sync>,
    /// Where the ids are in the block, checked.
    ids: Range<usize>,
}

impl fmt::Debug for VocabMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VocabMap").field("rows", &self.rows()).finish_non_exhaustive()
    }
}

impl VocabMap {
    /// Opens the contents of a `vocab_map.safetensors` and checks every id once. `block` is kept.
    ///
    /// # Errors
    /// When the block is no such file, or its ids do not ascend.
    pub fn open(block: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<VocabMap, VocabMapProblem> {
        let ids = ids_in(block.as_ref())?;
        Ok(VocabMap { block: Box::new(block), ids })
    }

    /// Rows of the table.
    pub fn rows(&self) -> usize {
        self.ids.len() / 4
    }

    /// The id of a row; `None` behind the last one.
    pub fn id_of(&self, row: u32) -> Option<u32> {
        self.bytes().chunks_exact(4).nth(row as usize).map(number)
    }

    /// The row of an id; `None` for an id that is not kept.
    pub fn row_of(&self, id: u32) -> Option<u32> {
        let (mut low, mut high) = (0, self.rows());
        while low < high {
            let middle = low.midpoint(high);
            match number(&self.bytes()[4 * middle..4 * middle + 4]).cmp(&id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle as u32),
            }
        }
        None
    }

    /// Every id that is kept, ascending.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.bytes().chunks_exact(4).map(number)
    }

    fn bytes(&self) -> &[u8] {
        &self.block.as_ref().as_ref()[self.ids.clone()]
    }
}

/// A number of four little-endian bytes.
pub(super) fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
