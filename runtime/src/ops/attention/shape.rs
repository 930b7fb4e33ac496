//! Sizes of the operator.

use ledger::Bytes;

use super::cache::KvCacheType;

/// Tokens in a block of the cache.
pub const BLOCK_TOKENS: usize = 64;
/// Blocks in a span, the unit in which the context is divided between threads.
pub const SPAN_BLOCKS: usize = 8;
/// Spans that are reduced at the same time when there are few tokens.
pub(super) const WAVE_SPANS: usize = 8;
/// Rows (a row is one query head of one token) that a kernel computes together.
pub(super) const PANEL_ROWS: usize = 4;
/// Rows of a query tile, where a group of heads allows it.
const TILE_ROWS: usize = 32;
/// At most this many rows a KV head, the context is divided between threads instead of the queries.
const WAVE_ROWS: usize = 16;

/// One of the layers whose keys and values share a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLayer {
    /// Which of them, from 0.
    pub place: usize,
    /// How many share the cache.
    pub layers: usize,
}

impl CacheLayer {
    /// Bytes in front of the layer's first block of keys.
    pub const fn keys(&self, shape: &Shape, element: KvCacheType) -> u64 {
        shape.cache_block_bytes(element, self.place)
    }

    /// Bytes in front of the layer's first block of values.
    pub const fn values(&self, shape: &Shape, element: KvCacheType) -> u64 {
        self.keys(shape, element) + shape.block_bytes(element)
    }
}

/// Heads and their width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Query heads, a multiple of `kv_heads`; consecutive ones share a KV head.
    pub heads: usize,
    /// Heads of K and V.
    pub kv_heads: usize,
    /// Values in a head, a multiple of 16.
    pub head_dim: usize,
}

impl Shape {
    /// Query heads that share a KV head.
    pub const fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Values of one block of K, or of V: `64 * kv_heads * head_dim`.
    pub const fn block_len(&self) -> usize {
        self.kv_heads * self.head_block_len()
    }

    /// Bytes of one block of K, or of V: its values, and its scales where `element` has them.
    pub const fn block_bytes(&self, element: KvCacheType) -> u64 {
        (self.kv_heads * BLOCK_TOKENS) as u64 * element.vector_bytes(self.head_dim)
    }

    /// Bytes of one block of the keys and values of `layers` layers: how far apart the blocks of one of them are.
    pub const fn cache_block_bytes(&self, element: KvCacheType, layers: usize) -> u64 {
        2 * layers as u64 * self.block_bytes(element)
    }

    /// Values of one KV head in a block.
    pub(super) const fn head_block_len(&self) -> usize {
        BLOCK_TOKENS * self.head_dim
    }

    /// Tokens of a query tile.
    pub(super) const fn tile_tokens(&self) -> usize {
        let tokens = TILE_ROWS / self.group();
        if tokens == 0 { 1 } else { tokens }
    }

    /// Most tokens for which the context is divided between threads.
    pub(super) const fn wave_tokens(&self) -> usize {
        let tokens = WAVE_ROWS / self.group();
        if tokens == 0 { 1 } else { tokens }
    }

    /// Rows of `tokens` tokens, rounded up to whole panels.
    pub(super) const fn rows(&self, tokens: usize) -> usize {
        (tokens * self.group()).next_multiple_of(PANEL_ROWS)
    }

    /// Values of a running softmax over `rows` rows.
    pub(super) const fn running_values(&self, rows: usize) -> usize {
        rows * (self.head_dim + 2)
    }

    /// Values that one thread needs: packed queries, scores, factors, two running softmaxes, for a tile.
    pub(super) const fn tile_values(&self) -> usize {
        let rows = self.rows(self.tile_tokens());
        rows * (self.head_dim + BLOCK_TOKENS + 1) + 2 * self.running_values(rows)
    }

    /// Values of the running softmaxes of a wave: one for each KV head and span in flight, and one more a KV head.
    pub(super) const fn wave_values(&self) -> usize {
        self.kv_heads * (WAVE_SPANS + 1) * self.running_values(self.rows(self.wave_tokens()))
    }

    /// Workspace of [`forward`](super::forward). With `R = rows of a tile` (32, or the group where that is more, in whole fours) and
    /// `W = rows of a wave` (16, or the group):
    /// `4 * (threads * R * (3 * head_dim + 69) + kv_heads * 9 * W * (head_dim + 2))`.
    pub const fn workspace(&self, threads: usize) -> Bytes {
        Bytes(4 * (threads * self.tile_values() + self.wave_values()) as u64)
    }

    /// Panics unless this is a shape that the kernels know.
    pub(super) fn check(&self) {
        let Self { heads, kv_heads, head_dim } = *self;
        assert!(
            kv_heads > 0 && heads > 0 && heads.is_multiple_of(kv_heads),
            "heads are no multiple of KV heads: {self:?}"
        );
        assert!(head_dim > 0 && head_dim.is_multiple_of(16), "head_dim must be a multiple of 16: {self:?}");
    }
}
