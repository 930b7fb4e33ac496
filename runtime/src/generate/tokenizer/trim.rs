//! A table with fewer tokens: what is left out is never produced again, and every text still encodes.

use std::collections::BTreeSet;

use super::encode::Tokenizer;
use super::table::{self, TableParts};

impl Tokenizer {
    /// The ids that no trimmed table can do without: the 256 bytes and the added tokens. Ascending.
    pub fn indispensable(&self) -> BTreeSet<u32> {
        let bytes = (0..=255).map(|byte| self.table.byte_id(byte));
        bytes.chain(self.table.added().map(|entry| entry.id)).collect()
    }

    /// The table of a tokenizer that produces none but the ids of `kept`, which ascend, and the indispensable ones. Ids stay
    /// what they are. A merge goes when what it makes is not kept: encoding stops one step short of it, with kept tokens.
    pub fn trimmed(&self, kept: &[u32]) -> Vec<u8> {
        let indispensable = self.indispensable();
        let is_kept = |id: u32| kept.binary_search(&id).is_ok() || indispensable.contains(&id);
        let rows = self.rows();
        let tokens: Vec<Vec<u8>> = (0..rows)
            .map(|id| if is_kept(id) { self.token_bytes(id).to_vec() } else { Vec::new() })
            .collect();
        // What a dropped token was part of can no longer come up either.
        let merges: Vec<_> = (0..rows)
            .filter(|left| is_kept(*left))
            .flat_map(|left| self.table.merges_from(left).map(move |(right, merge)| (left, right, merge)))
            .filter(|(_, right, merge)| is_kept(*right) && is_kept(merge.result))
            .collect();
        let byte_ids = std::array::from_fn(|byte| self.table.byte_id(byte as u8));
        let added: Vec<_> = self.table.added().collect();
        table::write(&TableParts {
            normalise_nfc: self.table.normalise_nfc(),
            tokens: &tokens,
            merges: &merges,
            byte_ids: &byte_ids,
            added: &added,
            split: self.table.split_pattern(),
        })
    }
}
