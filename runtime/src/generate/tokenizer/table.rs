//! The tokenizer as one block of bytes: its layout, its writer, its checks.
//!
//! All numbers are little-endian. A header (magic, version, flags, and offset and length of each section), then:
//!
//! | section | content |
//! |---|---|
//! | token offsets | `u32 × (rows + 1)`: token `i` is `text[offsets[i]..offsets[i + 1]]`; unused rows are empty |
//! | token text | the bytes of all tokens, one after the other |
//! | merge index | `u32 × (rows + 1)`: the merges whose left part is `i` are `merges[index[i]..index[i + 1]]` |
//! | merges | `(right, rank, result)`, three `u32` each, ascending by `right` within one left part |
//! | bytes | `u32 × 256`: the id of each single byte |
//! | added | `(id, flags)`, two `u32` each, in the order of the checkpoint |
//! | split | the pre-tokeniser's pattern, UTF-8; empty if there is none |
//!
//! Sorted merges with an index take 13 bytes where a half-full hash table of `(left, right, rank, result)` takes 32, and
//! a search touches two or three pages that lie together.

use std::ops::Range;

use thiserror::Error;

/// First bytes of every table.
const MAGIC: [u8; 8] = *b"SWEEPBPE";
/// Version of the layout; a table with another version has to be built anew.
const VERSION: u32 = 1;
/// Header flag: text is brought to Unicode's composed form (NFC) before it is split.
const FLAG_NFC: u32 = 1;
/// Flag of an added token: chat markers and the like, which [`super::SpecialTokens::Skip`] leaves out of decoded text.
pub(super) const ADDED_SPECIAL: u32 = 1;
/// Flag of an added token: it is looked for after normalisation, not before.
pub(super) const ADDED_NORMALISED: u32 = 2;
/// Bytes of one merge.
const MERGE_BYTES: usize = 12;

const SECTIONS: usize = 7;
const HEADER_BYTES: usize = 16 + SECTIONS * 16;

/// Why a tokenizer table cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The block does not begin as a table does.
    #[error("this is not a tokenizer table: rebuild the engine")]
    NotATable,
    /// The table was written by another version of the program.
    #[error("tokenizer table has layout {found}, this program reads {VERSION}: rebuild the engine")]
    Version {
        /// The version in the header.
        found: u32,
    },
    /// The header and the content disagree.
    #[error("tokenizer table is damaged: {what}; rebuild the engine")]
    Damaged {
        /// What does not hold.
        what: &'static str,
    },
    /// The split pattern is not a regular expression.
    #[error("tokenizer table has a split pattern that cannot be compiled: {reason}")]
    Split {
        /// What the regular expression library says.
        reason: String,
    },
}

/// One added token as the table stores it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddedEntry {
    pub(super) id: u32,
    pub(super) flags: u32,
}

/// One merge as the table stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merge {
    /// Its place in the list of merges: the smallest goes first.
    pub(super) rank: u32,
    /// The token that it makes.
    pub(super) result: u32,
}

/// What a table is made from.
pub(super) struct TableParts<'a> {
    pub(super) normalise_nfc: bool,
    /// The bytes of each token, by id; unused ids are empty.
    pub(super) tokens: &'a [Vec<u8>],
    /// `(left, right, merge)`, sorted by left, then by right, without duplicates.
    pub(super) merges: &'a [(u32, u32, Merge)],
    pub(super) byte_ids: &'a [u32; 256],
    pub(super) added: &'a [AddedEntry],
    pub(super) split: &'a str,
}

/// Writes the table.
pub(super) fn write(parts: &TableParts<'_>) -> Vec<u8> {
    let mut sections: [Vec<u8>; SECTIONS] = Default::default();
    let mut offset = 0_u32;
    put(&mut sections[0], offset);
    for token in parts.tokens {
        offset += token.len() as u32;
        put(&mut sections[0], offset);
        sections[1].extend_from_slice(token);
    }
    let mut next = 0;
    for left in 0..=parts.tokens.len() as u32 {
        while parts.merges.get(next).is_some_and(|merge| merge.0 < left) {
            next += 1;
        }
        put(&mut sections[2], next as u32);
    }
    for (_, right, merge) in parts.merges {
        for number in [*right, merge.rank, merge.result] {
            put(&mut sections[3], number);
        }
    }
    parts.byte_ids.iter().for_each(|id| put(&mut sections[4], *id));
    for entry in parts.added {
        put(&mut sections[5], entry.id);
        put(&mut sections[5], entry.flags);
    }
    sections[6].extend_from_slice(parts.split.as_bytes());

    let mut block =
        Vec::with_capacity(HEADER_BYTES + sections.iter().map(|section| section.len() + 8).sum::<usize>());
    block.extend_from_slice(&MAGIC);
    put(&mut block, VERSION);
    put(&mut block, if parts.normalise_nfc { FLAG_NFC } else { 0 });
    let mut start = HEADER_BYTES;
    for section in &sections {
        block.extend_from_slice(&(start as u64).to_le_bytes());
        block.extend_from_slice(&(section.len() as u64).to_le_bytes());
        start = (start + section.len()).next_multiple_of(8);
    }
    for section in &sections {
        block.extend_from_slice(section);
        block.resize(block.len().next_multiple_of(8), 0);
    }
    block
}

fn put(section: &mut Vec<u8>, number: u32) {
    section.extend_from_slice(&number.to_le_bytes());
}

/// The `index`-th number of a section.
fn number(section: &[u8], index: usize) -> u32 {
    let bytes = &section[4 * index..4 * index + 4];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// A checked table, read where it lies.
pub(super) struct Table {
    block: Box<dyn AsRef<[u8]> + Send + Sync>,
    flags: u32,
    sections: [Range<usize>; SECTIONS],
}

impl Table {
    /// Checks every number of the block once, so that no look-up has to.
    pub(super) fn open(block: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Table, OpenError> {
        let bytes = block.as_ref();
        if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
            return Err(OpenError::NotATable);
        }
        let version = number(&bytes[8..], 0);
        if version != VERSION {
            return Err(OpenError::Version { found: version });
        }
        let flags = number(&bytes[12..], 0);
        let mut sections: [Range<usize>; SECTIONS] = Default::default();
        for (section, entry) in sections.iter_mut().zip(bytes[16..HEADER_BYTES].chunks_exact(16)) {
            let wide =
                |at: usize| u64::from(number(&entry[at..], 0)) | u64::from(number(&entry[at..], 1)) << 32;
            let end = wide(0).checked_add(wide(8)).filter(|end| *end <= bytes.len() as u64);
            let Some(end) = end else {
                return Err(OpenError::Damaged { what: "a section ends behind the table" });
            };
            *section = wide(0) as usize..end as usize;
        }
        let table = Table { sections, flags, block: Box::new(block) };
        table.check().map_err(|what| OpenError::Damaged { what })?;
        Ok(table)
    }

    fn check(&self) -> Result<(), &'static str> {
        let (offsets, text, index, merges) =
            (self.section(0), self.section(1), self.section(2), self.section(3));
        let aligned = [offsets, index, self.section(5)].iter().all(|section| section.len().is_multiple_of(4));
        if offsets.len() < 8 || index.len() != offsets.len() || !aligned {
            return Err("the row counts of its sections differ");
        }
        if !merges.len().is_multiple_of(MERGE_BYTES) || self.section(4).len() != 256 * 4 {
            return Err("a section has the wrong length");
        }
        let rows = self.rows();
        ascending(offsets, text.len()).ok_or("token offsets do not ascend to the end of the text")?;
        ascending(index, merges.len() / MERGE_BYTES)
            .ok_or("the merge index does not ascend to the last merge")?;
        for left in 0..rows {
            let mut previous = None;
            for merge in self.merges_of(left).chunks_exact(MERGE_BYTES) {
                let right = number(merge, 0);
                if previous.is_some_and(|previous| previous >= right)
                    || right >= rows
                    || number(merge, 2) >= rows
                {
                    return Err("merges are out of order or out of range");
                }
                previous = Some(right);
            }
        }
        for byte in 0..=255 {
            if self.token(self.byte_id(byte)) != Some(&[byte][..]) {
                return Err("a byte has no token");
            }
        }
        if !self.section(5).len().is_multiple_of(8)
            || self.added().any(|entry| self.token(entry.id).is_none())
        {
            return Err("an added token is out of range");
        }
        std::str::from_utf8(self.section(6)).map(|_| ()).map_err(|_| "the split pattern is not UTF-8")
    }

    fn section(&self, index: usize) -> &[u8] {
        &self.block.as_ref().as_ref()[self.sections[index].clone()]
    }

    /// Ids are below this.
    pub(super) fn rows(&self) -> u32 {
        (self.section(0).len() / 4 - 1) as u32
    }

    pub(super) fn normalise_nfc(&self) -> bool {
        self.flags & FLAG_NFC != 0
    }

    /// The bytes of token `id`; empty for an unused id, `None` outside the table.
    pub(super) fn token(&self, id: u32) -> Option<&[u8]> {
        let offsets = self.section(0);
        (id < self.rows()).then(|| {
            let (start, end) = (number(offsets, id as usize), number(offsets, id as usize + 1));
            &self.section(1)[start as usize..end as usize]
        })
    }

    pub(super) fn byte_id(&self, byte: u8) -> u32 {
        number(self.section(4), byte as usize)
    }

    fn merges_of(&self, left: u32) -> &[u8] {
        let index = self.section(2);
        let (start, end) = (number(index, left as usize) as usize, number(index, left as usize + 1) as usize);
        &self.section(3)[start * MERGE_BYTES..end * MERGE_BYTES]
    }

    /// The merges whose left part is `left`: right part and merge, ascending by right part.
    pub(super) fn merges_from(&self, left: u32) -> impl Iterator<Item = (u32, Merge)> + '_ {
        let merges = self.merges_of(left).chunks_exact(MERGE_BYTES);
        merges.map(|merge| (number(merge, 0), Merge { rank: number(merge, 1), result: number(merge, 2) }))
    }

    /// The merge of two neighbours, if there is one. Both ids are below [`Table::rows`].
    pub(super) fn merge(&self, left: u32, right: u32) -> Option<Merge> {
        let merges = self.merges_of(left);
        let (mut low, mut high) = (0, merges.len() / MERGE_BYTES);
        while low < high {
            let middle = low.midpoint(high);
            let merge = &merges[middle * MERGE_BYTES..];
            match number(merge, 0).cmp(&right) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    return Some(Merge { rank: number(merge, 1), result: number(merge, 2) });
                }
            }
        }
        None
    }

    pub(super) fn added(&self) -> impl Iterator<Item = AddedEntry> {
        let entries = self.section(5).chunks_exact(8);
        entries.map(|entry| AddedEntry { id: number(entry, 0), flags: number(entry, 1) })
    }

    pub(super) fn split_pattern(&self) -> &str {
        std::str::from_utf8(self.section(6)).unwrap_or_default()
    }
}

/// Whether the numbers of a section start at 0, never fall, and end at `last`.
fn ascending(section: &[u8], last: usize) -> Option<()> {
    let mut previous = 0;
    for index in 0..section.len() / 4 {
        let value = number(section, index);
        if value < previous || (index == 0 && value != 0) {
            return None;
        }
        previous = value;
    }
    (previous as usize == last).then_some(())
}
