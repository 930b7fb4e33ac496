//! The merges of one piece: always the neighbours whose merge comes first in the list, the leftmost of equals first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::table::Table;

/// Marks a position at which no symbol begins any more.
const MERGED: u32 = u32::MAX;

/// A symbol, at the byte where it begins.
struct Symbol {
    id: u32,
    /// Where the symbol before begins; not meaningful for the first.
    previous: u32,
    /// Where the symbol after begins: the end of this one.
    next: u32,
}

/// A merge that was possible when it was noted: rank, where it begins, where it ends, its result.
type Candidate = Reverse<(u32, u32, u32, u32)>;

/// Merges pieces; keeps its scratch from one piece to the next.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Candidate>,
}

impl Merger {
    /// Appends the ids of `piece`, which is shorter than 4 GiB, to `ids`.
    pub(super) fn merge(&mut self, table: &Table, piece: &[u8], ids: &mut Vec<u32>) {
        let end = piece.len() as u32;
        self.symbols.clear();
        self.symbols.extend(piece.iter().zip(0..).map(|(byte, at)| Symbol {
            id: table.byte_id(*byte),
            previous: u32::wrapping_sub(at, 1),
            next: at + 1,
        }));
        self.candidates.clear();
        for at in 0..end {
            self.note(table, at, end);
        }
        while let Some(Reverse((_, at, candidate_end, result))) = self.candidates.pop() {
            // A candidate is stale once its left part is gone or its right part has grown.
            let left = &self.symbols[at as usize];
            let right = left.next;
            if left.id == MERGED || right == end || self.symbols[right as usize].next != candidate_end {
                continue;
            }
            self.symbols[right as usize].id = MERGED;
            let symbol = &mut self.symbols[at as usize];
            (symbol.id, symbol.next) = (result, candidate_end);
            let previous = symbol.previous;
            if candidate_end < end {
                self.symbols[candidate_end as usize].previous = at;
            }
            if at > 0 {
                self.note(table, previous, end);
            }
            self.note(table, at, end);
        }
        let mut at = 0;
        while at < end {
            let symbol = &self.symbols[at as usize];
            ids.push(symbol.id);
            at = symbol.next;
        }
    }

    /// Notes the merge of the symbol at `at` with its right neighbour, if there is one.
    fn note(&mut self, table: &Table, at: u32, end: u32) {
        let left = &self.symbols[at as usize];
        if left.next == end {
            return;
        }
        let right = &self.symbols[left.next as usize];
        if let Some(merge) = table.merge(left.id, right.id) {
            self.candidates.push(Reverse((merge.rank, at, right.next, merge.result)));
        }
    }
}
