//! Stripes: runs of whole rows of one matrix, the unit of streaming.
//!
//! A stripe is at most one contiguous range of the file for each part of its matrix. Storage is read past the page cache in
//! whole blocks, so what is read is the range widened to [`BLOCK`], and what is wanted starts somewhere in the first block.

use std::ops::Range;

use ledger::{BufferClass, Bytes};

use super::RingShape;
use crate::engine_dir::{PART_ALIGNMENT, PartKind, TensorFormat, TensorRecord};
use crate::memory::PAGE;
use crate::ops::linear::ROWS_TOGETHER;

/// What offsets, lengths and addresses of unbuffered reads are multiples of; no common file system asks for more.
pub(super) const BLOCK: u64 = PAGE;

/// Parts that a matrix can have.
const PARTS: usize = 3;

/// One part of a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// What it holds.
    pub kind: PartKind,
    /// Start in the file.
    pub offset: u64,
    /// Start in the slot.
    pub at: u64,
    /// Length.
    pub bytes: u64,
}

/// One request to the storage: whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Start in the file.
    pub offset: u64,
    /// Start in the slot.
    pub at: u64,
    /// Length.
    pub bytes: u64,
}

/// Where some rows of a matrix stand in the file, and where in a slot they come to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    pieces: [Option<Piece>; PARTS],
    reads: [Option<Read>; PARTS],
}

impl Pieces {
    /// The pieces of `rows` of `tensor`, whose segment starts at `segment` in the file.
    pub fn of(segment: u64, tensor: &TensorRecord, rows: &Range<usize>) -> Pieces {
        let mut pieces = [None; PARTS];
        let mut reads: [Option<Read>; PARTS] = [None; PARTS];
        let mut last: Option<usize> = None;
        for (place, part) in pieces.iter_mut().zip(&tensor.parts) {
            let range = tensor.bytes_of_rows(part, rows);
            let (start, end) = (segment + range.start, segment + range.end);
            let (from, to) = (start / BLOCK * BLOCK, end.next_multiple_of(BLOCK));
            // Parts of a small matrix stand next to each other: one request for all.
            let read = match last.and_then(|last| reads[last].as_mut()) {
                Some(read) if read.offset <= from && from <= read.offset + read.bytes => {
                    read.bytes = read.bytes.max(to - read.offset);
                    *read
                }
                previous => {
                    let at = previous.map_or(0, |previous| previous.at + previous.bytes);
                    let read = Read { offset: from, at, bytes: to - from };
                    let next = last.map_or(0, |last| last + 1);
                    reads[next] = Some(read);
                    last = Some(next);
                    read
                }
            };
            let at = read.at + (start - read.offset);
            *place = Some(Piece { kind: part.kind, offset: start, at, bytes: end - start });
        }
        Pieces { pieces, reads }
    }

    /// The parts.
    pub fn parts(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().flatten()
    }

    /// What is read, in the order of the slot.
    pub fn reads(&self) -> impl Iterator<Item = &Read> {
        self.reads.iter().flatten()
    }

    /// Bytes of a slot that holds them.
    pub fn slot(&self) -> Bytes {
        Bytes(self.reads().last().map_or(0, |read| read.at + read.bytes))
    }

    /// Where each part stands in memory of their own that starts at `offset`.
    pub fn offsets(&self, offset: u64) -> impl Iterator<Item = u64> {
        self.parts().scan(offset, |next, piece| {
            let at = *next;
            *next += piece.bytes.next_multiple_of(PART_ALIGNMENT);
            Some(at)
        })
    }

    /// Bytes that the parts take in memory of their own, each padded to a cache line.
    pub fn pinned(&self) -> Bytes {
        Bytes(self.parts().map(|piece| piece.bytes.next_multiple_of(PART_ALIGNMENT)).sum())
    }
}

/// Whether `tensor` can be streamed: every matrix that is multiplied with, but for small plain ones.
pub(super) fn is_streamable(tensor: &TensorRecord, shape: &RingShape) -> bool {
    match tensor.format {
        TensorFormat::Int4 { .. } | TensorFormat::Int8 { .. } => true,
        TensorFormat::Dense { .. } => {
            tensor.rows > 1
                && tensor.class != BufferClass::WeightsNorm
                && tensor.bytes >= shape.smallest_dense
        }
    }
}

/// The stripes of a matrix: about equal, of at most `stripe` bytes where the fewest rows that are computed together allow it.
pub(super) fn stripes(tensor: &TensorRecord, stripe: Bytes) -> impl Iterator<Item = Range<usize>> + use<> {
    let rows = tensor.rows;
    let count = tensor.bytes.0.div_ceil(stripe.0.max(1)).max(1) as usize;
    let height = rows.div_ceil(count).next_multiple_of(ROWS_TOGETHER);
    (0..rows).step_by(height).map(move |first| first..(first + height).min(rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_dir::PartRecord;
    use crate::ops::HalfType;
    use ledger::ElementType;
    use proptest::prelude::*;

    fn tensor(format: TensorFormat, rows: usize, columns: usize) -> TensorRecord {
        let mut end = 0;
        let parts = format.parts(rows, columns).unwrap().into_iter().map(|(kind, bytes)| {
            let part = PartRecord { kind, offset: end, bytes };
            end = (end + bytes).next_multiple_of(PART_ALIGNMENT);
            part
        });
        let parts = parts.collect();
        TensorRecord {
            name: "w".into(),
            class: BufferClass::WeightsLinear,
            format,
            rows,
            columns,
            parts,
            bytes: Bytes(end),
        }
    }

    proptest! {
        #[test]
        fn stripes_cover_a_matrix_once_and_their_pieces_cover_its_parts(
            kind in 0..3,
            rows in 1usize..700,
            groups in 1usize..5,
            stripe in 1u64..100_000,
            page in 0u64..9,
        ) {
            let format = match kind {
                0 => TensorFormat::Int4 { group_size: 32, scale_type: HalfType::F16, zero_points: true },
                1 => TensorFormat::Int8 { group_size: 32 },
                _ => TensorFormat::Dense { element: ElementType::Bf16 },
            };
            let tensor = tensor(format, rows, groups * 32);
            let (segment, segment_end) = (page * PAGE, page * PAGE + tensor.bytes.round_up(PAGE).0);
            let mut next = 0;
            let mut ends: Vec<u64> = tensor.parts.iter().map(|part| segment + part.offset).collect();
            for rows in stripes(&tensor, Bytes(stripe)) {
                prop_assert_eq!(rows.start, next);
                prop_assert!(rows.start % ROWS_TOGETHER == 0 && rows.end > rows.start);
                next = rows.end;
                let pieces = Pieces::of(segment, &tensor, &rows);
                for (piece, end) in pieces.parts().zip(&mut ends) {
                    prop_assert_eq!(piece.offset, *end);
                    *end += piece.bytes;
                    let within = pieces.reads().any(|read| {
                        read.at <= piece.at && piece.at + piece.bytes <= read.at + read.bytes
                            && piece.at - read.at == piece.offset - read.offset
                    });
                    prop_assert!(within);
                }
                let mut filled = 0;
                for read in pieces.reads() {
                    prop_assert!([read.offset, read.at, read.bytes].iter().all(|value| value % BLOCK == 0));
                    prop_assert_eq!(read.at, filled);
                    prop_assert!(read.offset + read.bytes <= segment_end);
                    filled += read.bytes;
                }
                prop_assert_eq!(pieces.slot(), Bytes(filled));
            }
            prop_assert_eq!(next, tensor.rows);
            for (part, end) in tensor.parts.iter().zip(ends) {
                prop_assert_eq!(segment + part.offset + part.bytes, end);
            }
        }
    }
}
