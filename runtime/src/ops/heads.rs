//! Where the heads of a token lie in a wider row.

use std::ops::Range;

/// A strided view of `tokens` x `heads` vectors of `width` values, in elements of the slice that it describes.
///
/// Queries that share their projection with a gate are the reason: in a row `[q0 | gate0 | q1 | gate1 | ...]` the queries
/// have `head_stride = 2 * width` and the gates the same, in the slice that starts `width` later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Rows.
    pub tokens: usize,
    /// Vectors in a row.
    pub heads: usize,
    /// Values in a vector.
    pub width: usize,
    /// Elements from a token's first vector to the next token's.
    pub token_stride: usize,
    /// Elements from a vector to the next one of the same token.
    pub head_stride: usize,
}

impl Heads {
    /// Vectors that follow each other without gaps: `[tokens, heads, width]`.
    pub const fn packed(tokens: usize, heads: usize, width: usize) -> Self {
        Self { tokens, heads, width, token_stride: heads * width, head_stride: width }
    }

    /// Vectors that are followed by as many other values: `[tokens, heads, 2, width]`.
    pub const fn interleaved(tokens: usize, heads: usize, width: usize) -> Self {
        Self { tokens, heads, width, token_stride: 2 * heads * width, head_stride: 2 * width }
    }

    /// The elements of one vector.
    pub const fn range(&self, token: usize, head: usize) -> Range<usize> {
        let start = token * self.token_stride + head * self.head_stride;
        start..start + self.width
    }

    /// Elements from the first vector's start to the last one's end: what the slice must hold at least.
    pub const fn extent(&self) -> usize {
        if self.tokens == 0 || self.heads == 0 {
            return 0;
        }
        self.range(self.tokens - 1, self.heads - 1).end
    }

    /// Panics unless vectors lie inside their token's row and the whole view inside a slice of `length` elements.
    pub(super) fn check(&self, length: usize) {
        assert!(self.width <= self.head_stride || self.heads <= 1, "heads overlap: {self:?}");
        let row = if self.heads == 0 { 0 } else { self.range(0, self.heads - 1).end };
        assert!(row <= self.token_stride || self.tokens <= 1, "tokens overlap: {self:?}");
        assert!(self.extent() <= length, "{self:?} needs {} elements, the slice has {length}", self.extent());
    }
}
