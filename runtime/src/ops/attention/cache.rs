//! The KV cache of one layer: its element types, and writing to it.

use super::shape::{BLOCK_TOKENS, Shape};
use crate::backend::cpu::{Cpu, Kernel, SharedMut, Vector};

/// K or V of one layer, whole blocks.
#[derive(Debug, Clone, Copy)]
pub enum KvSlice<'a> {
    /// f16 bit patterns.
    F16(&'a [u16]),
    /// f32.
    F32(&'a [f32]),
}

/// K or V of one layer, whole blocks, to write to.
#[derive(Debug)]
pub enum KvSliceMut<'a> {
    /// f16 bit patterns.
    F16(&'a mut [u16]),
    /// f32.
    F32(&'a mut [f32]),
}

impl KvSlice<'_> {
    /// Elements.
    pub const fn len(&self) -> usize {
        match self {
            Self::F16(bits) => bits.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KvSliceMut<'_> {
    /// The same elements, to read.
    pub const fn as_ref(&self) -> KvSlice<'_> {
        match self {
            Self::F16(bits) => KvSlice::F16(bits),
            Self::F32(values) => KvSlice::F32(values),
        }
    }
}

/// An element of the cache: f32, or an f16 bit pattern.
pub(super) trait Element: Copy + Send + Sync {
    type Chunk<V: Vector>: Copy;
    fn chunks<V: Vector>(elements: &[Self]) -> &[Self::Chunk<V>];
    fn load<V: Vector>(chunk: &Self::Chunk<V>) -> V;
    /// Writes as many whole registers of `values` as there are, rounded, to `elements`.
    fn write<V: Vector>(values: &[f32], elements: &mut [Self]);
}

impl Element for f32 {
    type Chunk<V: Vector> = V::Lanes;

    #[inline(always)]
    fn chunks<V: Vector>(elements: &[f32]) -> &[V::Lanes] {
        V::chunks(elements).0
    }
    #[inline(always)]
    fn load<V: Vector>(chunk: &V::Lanes) -> V {
        V::load(chunk)
    }
    #[inline(always)]
    fn write<V: Vector>(values: &[f32], elements: &mut [f32]) {
        elements.copy_from_slice(values);
    }
}

impl Element for u16 {
    type Chunk<V: Vector> = V::Halves;

    #[inline(always)]
    fn chunks<V: Vector>(elements: &[u16]) -> &[V::Halves] {
        V::halves(elements).0
    }
    #[inline(always)]
    fn load<V: Vector>(chunk: &V::Halves) -> V {
        V::load_f16(chunk)
    }
    #[inline(always)]
    fn write<V: Vector>(values: &[f32], elements: &mut [u16]) {
        for (value, element) in V::chunks(values).0.iter().zip(V::halves_mut(elements).0) {
            V::load(value).store_f16(element);
        }
    }
}

/// Writes K and V of `tokens` tokens, `[tokens, kv_heads, head_dim]` each, to positions `first_position..` of the cache.
///
/// # Panics
/// If `k` or `v` does not have the shape, or the cache has too few blocks.
#[expect(clippy::too_many_arguments, reason = "two tensors, two caches, where to")]
pub fn append(
    cpu: &Cpu,
    shape: &Shape,
    first_position: usize,
    tokens: usize,
    k: &[f32],
    v: &[f32],
    cache_k: KvSliceMut<'_>,
    cache_v: KvSliceMut<'_>,
) {
    shape.check();
    for (name, values, cache) in [("k", k, cache_k.as_ref()), ("v", v, cache_v.as_ref())] {
        let row = shape.kv_heads * shape.head_dim;
        assert_eq!(values.len(), tokens * row, "{name} must be [{tokens}, {row}]");
        check_cache(shape, first_position + tokens, cache);
    }
    let span = Span { shape, first_position, tokens };
    match cache_k {
        KvSliceMut::F16(cache) => span.write::<u16, true>(cpu, k, cache),
        KvSliceMut::F32(cache) => span.write::<f32, true>(cpu, k, cache),
    }
    match cache_v {
        KvSliceMut::F16(cache) => span.write::<u16, false>(cpu, v, cache),
        KvSliceMut::F32(cache) => span.write::<f32, false>(cpu, v, cache),
    }
}

/// Panics unless the cache has whole blocks, enough for `tokens`.
pub(super) fn check_cache(shape: &Shape, tokens: usize, cache: KvSlice<'_>) {
    let (length, block) = (cache.len(), shape.block_len());
    assert!(length.is_multiple_of(block), "a cache of {length} elements is not whole blocks of {block}");
    let blocks = tokens.div_ceil(BLOCK_TOKENS);
    assert!(
        length / block >= blocks,
        "{tokens} tokens need {blocks} blocks, the cache has {}",
        length / block
    );
}

/// Positions to write.
#[derive(Clone, Copy)]
struct Span<'a> {
    shape: &'a Shape,
    first_position: usize,
    tokens: usize,
}

impl Span<'_> {
    /// `K`: tokens innermost.
    fn write<E: Element, const K: bool>(self, cpu: &Cpu, values: &[f32], cache: &mut [E]) {
        let cache = SharedMut::new(cache);
        // One token is too little to share.
        let grain = if self.tokens < 8 { self.shape.kv_heads } else { 1 };
        cpu.pool.split(self.shape.kv_heads, grain, &|heads| {
            for head in heads {
                cpu.isa.dispatch(HeadWrite::<E, K> { span: self, head, values, cache: &cache });
            }
        });
    }
}

/// One KV head of all tokens.
struct HeadWrite<'a, E, const K: bool> {
    span: Span<'a>,
    head: usize,
    values: &'a [f32],
    cache: &'a SharedMut<'a, E>,
}

impl<E: Element, const K: bool> Kernel for HeadWrite<'_, E, K> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Span { shape, first_position, tokens } = self.span;
        let width = shape.head_dim;
        for token in 0..tokens {
            let position = first_position + token;
            let (block, slot) = (position / BLOCK_TOKENS, position % BLOCK_TOKENS);
            let start = block * shape.block_len() + self.head * shape.head_block_len();
            // SAFETY: each head belongs to one part of the split, and the view ends with the iteration.
            let block = unsafe { self.cache.slice(start..start + shape.head_block_len()) };
            let values = &self.values[(token * shape.kv_heads + self.head) * width..][..width];
            if K {
                // Sixteen values at a time through a register; `head_dim` is a multiple of 16.
                for (values, columns) in
                    values.chunks_exact(16).zip(block.chunks_exact_mut(16 * BLOCK_TOKENS))
                {
                    let mut rounded = [columns[slot]; 16];
                    E::write::<V>(values, &mut rounded);
                    for (column, rounded) in columns.chunks_exact_mut(BLOCK_TOKENS).zip(rounded) {
                        column[slot] = rounded;
                    }
                }
            } else {
                E::write::<V>(values, &mut block[slot * width..][..width]);
            }
        }
    }
}
