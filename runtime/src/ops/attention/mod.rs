//! Causal attention with grouped queries (arXiv 2305.13245) over a blocked KV cache.
//!
//! For the token at position `p`, query head `h` and its KV head `h / (heads / kv_heads)`:
//!
//! ```text
//! w_j = exp(q . k_j / sqrt(head_dim))  for j <= p
//! o   = sum_j w_j v_j / sum_j w_j
//! ```
//!
//! computed with a running maximum (arXiv 1805.02867; arXiv 2205.14135, algorithm 1), so that no memory grows with the context.
//!
//! | argument | shape | |
//! |---|---|---|
//! | `q` | strided [`crate::ops::Heads`], `[T, heads, head_dim]` | after norm and rotation |
//! | `k`, `v` of [`append`] | `[T, kv_heads, head_dim]` | |
//! | cache | `[blocks, layers, K and V]` | f16, f32 or int8, all layers of a sequence |
//! | a block of K | `[kv_heads, head_dim, 64]` | tokens innermost |
//! | a block of V | `[kv_heads, 64, head_dim]` | |
//! | `out` | `[T, heads, head_dim]` | |
//!
//! Position `p` is in block `p / 64`, slot `p % 64`; a block of K or V has [`Shape::block_len`] values. K is stored with
//! the tokens of a block side by side because scores are then sums of whole registers for one query and for a hundred alike.
//! The layers' blocks of the same tokens follow each other, so that a sequence grows at one end and has one last page in all, however
//! many layers there are; the blocks of one layer, which a [`CacheLayer`] finds, are [`Shape::cache_block_bytes`] apart.
//! Slots after the last token may hold anything, NaN included. f16 overflows above 65504.
//!
//! # int8
//! A key, and a value, of one token and KV head is stored as `round(x / s)` with `s = max|x| / 127`, which is exact to `s / 2`.
//! Behind the values of a KV head in a block stand the scales of its 64 tokens, f32 each: a block is one run of
//! [`Shape::block_bytes`], and writing a token touches no other token's bytes.
//!
//! Workspace: [`Shape::workspace`], which depends on the shape and the threads, not on the tokens or the context.
//!
//! # Reproducibility
//! The context is divided into spans of [`SPAN_BLOCKS`] blocks counted from position 0. A span is reduced block by block, and the
//! spans are merged in order. Everything is computed row by row in that order whatever the tiling, so a token's output has
//! the same bits for any chunking of the prompt and any number of threads (for one instruction set).

mod cache;
mod cpu;
mod kernel;
pub mod reference;
mod shape;
#[cfg(test)]
mod tests;

pub use cache::{KvCacheType, KvSlice, KvSliceMut, append};
pub use cpu::forward;
pub use shape::{BLOCK_TOKENS, CacheLayer, SPAN_BLOCKS, Shape};

use crate::backend::cpu::Cpu;
use crate::ops::{Heads, activation};

/// `out *= sigmoid(gate)`: the output gate of Qwen3.5. `out` is `[T, heads, head_dim]`, `gate` strided.
///
/// # Panics
/// If `out` or `gate` does not have the shape.
pub fn output_gate(cpu: &Cpu, out: &mut [f32], gate: &[f32], gate_layout: Heads) {
    activation::multiply_by_sigmoid(cpu, out, gate, gate_layout);
}
