//! Sizes of the operator and where a head's vectors lie.

use ledger::Bytes;

/// Added to the sum of squares of a key or query before the root.
pub(super) const NORM_EPS: f32 = 1e-6;

/// Heads and their widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Heads of `q` and `k`.
    pub key_heads: usize,
    /// Heads of `v`, a multiple of `key_heads`; consecutive ones share a key head.
    pub value_heads: usize,
    /// `dk`, values in a key.
    pub key_dim: usize,
    /// `dv`, values in a value.
    pub value_dim: usize,
}

/// What a call reads, for `T` tokens.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// `[T, 2 * key_heads * dk + value_heads * dv]`.
    pub qkv: &'a [f32],
    /// Logarithm of the decay, at most 0, `[T, value_heads]`.
    pub g: &'a [f32],
    /// Strength of the correction, in 0..=1, `[T, value_heads]`.
    pub beta: &'a [f32],
}

impl Shape {
    /// Values in a row of `qkv`.
    pub const fn row(&self) -> usize {
        2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim
    }

    /// Values in the state of one head.
    pub const fn head_state(&self) -> usize {
        self.key_dim * self.value_dim
    }

    /// Size of the state of one layer: `4 * value_heads * dk * dv`.
    pub const fn state(&self) -> Bytes {
        Bytes(4 * (self.value_heads * self.head_state()) as u64)
    }

    /// Values that one thread needs for chunks of `chunk` tokens: `K`, `Q`, `D`, `A`, `M`, `G`.
    pub(super) const fn chunk_values(&self, chunk: usize) -> usize {
        chunk * (2 * self.key_dim + self.value_dim + 2 * chunk + 1)
    }

    /// Workspace of [`chunked`](super::chunked):
    /// `4 * threads * chunk * (2 * dk + dv + 2 * chunk + 1)`, whatever the number of tokens.
    pub const fn chunked_workspace(&self, chunk: usize, threads: usize) -> Bytes {
        Bytes(4 * (threads * self.chunk_values(chunk)) as u64)
    }

    /// Panics unless the slices have the shapes of the contract; returns `T`.
    pub(super) fn check(&self, inputs: Inputs<'_>, state: &[f32], out: &[f32]) -> usize {
        let Self { key_heads, value_heads, key_dim, value_dim } = *self;
        assert!(key_heads > 0 && key_dim > 0 && value_heads > 0 && value_dim > 0, "empty shape {self:?}");
        assert!(
            value_heads.is_multiple_of(key_heads),
            "value heads are no multiple of key heads in {self:?}"
        );
        let tokens = inputs.qkv.len() / self.row();
        assert_eq!(inputs.qkv.len(), tokens * self.row(), "qkv must be [T, {}]", self.row());
        assert_eq!(inputs.g.len(), tokens * value_heads, "g must be [{tokens}, {value_heads}]");
        assert_eq!(inputs.beta.len(), tokens * value_heads, "beta must be [{tokens}, {value_heads}]");
        assert_eq!(
            state.len(),
            value_heads * self.head_state(),
            "state must be [{value_heads}, {key_dim}, {value_dim}]"
        );
        assert_eq!(
            out.len(),
            tokens * value_heads * value_dim,
            "out must be [{tokens}, {value_heads}, {value_dim}]"
        );
        tokens
    }

    /// The query of a value head, not normalised.
    #[inline(always)]
    pub(super) fn query<'a>(&self, qkv: &'a [f32], token: usize, head: usize) -> &'a [f32] {
        let key_head = head / (self.value_heads / self.key_heads);
        &qkv[token * self.row() + key_head * self.key_dim..][..self.key_dim]
    }

    /// The key of a value head, not normalised.
    #[inline(always)]
    pub(super) fn key<'a>(&self, qkv: &'a [f32], token: usize, head: usize) -> &'a [f32] {
        let key_head = self.key_heads + head / (self.value_heads / self.key_heads);
        &qkv[token * self.row() + key_head * self.key_dim..][..self.key_dim]
    }

    /// The value of a value head.
    #[inline(always)]
    pub(super) fn value<'a>(&self, qkv: &'a [f32], token: usize, head: usize) -> &'a [f32] {
        &qkv[token * self.row() + 2 * self.key_heads * self.key_dim + head * self.value_dim..]
            [..self.value_dim]
    }
}
