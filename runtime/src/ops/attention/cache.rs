//! The KV cache of one layer: its element types, and writing to it.

use serde::{Deserialize, Serialize};

use super::kernel::ScoreRow;
use super::shape::{BLOCK_TOKENS, CacheLayer, Shape};
use crate::backend::cpu::{Cpu, Kernel, SharedMut, Vector};

/// How the elements of the KV cache are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvCacheType {
    /// Half precision.
    #[default]
    F16,
    /// Single precision: for comparisons, at twice the bytes.
    F32,
    /// Signed bytes with an f32 scale for each token and KV head: half the bytes, and a rounding error.
    Int8,
}

impl KvCacheType {
    /// Bytes of one element.
    pub const fn width(self) -> u64 {
        match self {
            KvCacheType::F16 => 2,
            KvCacheType::F32 => 4,
            KvCacheType::Int8 => 1,
        }
    }

    /// Bytes of the scale of one key, or of one value; 0 where there is none.
    pub const fn scale_width(self) -> u64 {
        match self {
            KvCacheType::F16 | KvCacheType::F32 => 0,
            KvCacheType::Int8 => SCALE_BYTES as u64,
        }
    }

    /// Bytes of one key, or of one value, of one KV head: `head_dim * width + scale_width`.
    pub const fn vector_bytes(self, head_dim: usize) -> u64 {
        head_dim as u64 * self.width() + self.scale_width()
    }
}

/// Bytes of a scale: an f32.
const SCALE_BYTES: usize = size_of::<f32>();

/// The largest magnitude that a byte stands for, so that both signs have the same steps.
const LARGEST_BYTE: f32 = 127.0;

/// A vector without a larger magnitude is stored as zeros: the reciprocal of its scale would overflow.
const SMALLEST: f32 = 1e-30;

/// The keys and values of all layers that share a cache, whole blocks.
#[derive(Debug, Clone, Copy)]
pub enum KvSlice<'a> {
    /// f16 bit patterns.
    F16(&'a [u16]),
    /// f32.
    F32(&'a [f32]),
    /// Bytes; the scales of a KV head follow its values in each block.
    Int8(&'a [i8]),
}

/// The keys and values of all layers that share a cache, whole blocks, to write to.
#[derive(Debug)]
pub enum KvSliceMut<'a> {
    /// f16 bit patterns.
    F16(&'a mut [u16]),
    /// f32.
    F32(&'a mut [f32]),
    /// Bytes; the scales of a KV head follow its values in each block.
    Int8(&'a mut [i8]),
}

impl KvSlice<'_> {
    /// Elements, those that hold scales included.
    pub const fn len(&self) -> usize {
        match self {
            Self::F16(bits) => bits.len(),
            Self::F32(values) => values.len(),
            Self::Int8(bytes) => bytes.len(),
        }
    }

    /// Elements of one block of all `layers`, those that hold scales included.
    const fn block_len(&self, shape: &Shape, layers: usize) -> usize {
        match self {
            Self::F16(_) => block_stride::<u16>(shape, layers),
            Self::F32(_) => block_stride::<f32>(shape, layers),
            Self::Int8(_) => block_stride::<i8>(shape, layers),
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
            Self::Int8(bytes) => KvSlice::Int8(bytes),
        }
    }
}

/// An element of the cache: f32, an f16 bit pattern, or a byte that counts steps of its vector's scale.
pub(super) trait Element: Copy + Send + Sync {
    /// Elements behind the values of a KV head in a block, which hold the scales of its tokens.
    const SCALES: usize = 0;
    type Chunk<V: Vector>: Copy;
    fn chunks<V: Vector>(elements: &[Self]) -> &[Self::Chunk<V>];
    fn load<V: Vector>(chunk: &Self::Chunk<V>) -> V;
    /// The step in which the values of one vector are counted.
    #[inline(always)]
    fn scale_of(_vector: &[f32]) -> f32 {
        1.0
    }
    /// Writes as many whole registers of `values` as there are, in steps of `scale` and rounded, to `elements`.
    fn write<V: Vector>(values: &[f32], scale: f32, elements: &mut [Self]);
    /// Keeps the scale of the token in `slot`.
    #[inline(always)]
    fn keep_scale(_scales: &mut [Self], _slot: usize, _scale: f32) {}
    /// The scales of a block; `None` where there are none.
    #[inline(always)]
    fn scales(_scales: &[Self]) -> Option<ScoreRow> {
        None
    }
}

/// Elements of one KV head in a block, those that hold scales included.
pub(super) const fn head_block_len<E: Element>(shape: &Shape) -> usize {
    shape.head_block_len() + E::SCALES
}

/// Elements from one block of a layer to its next, of `layers` that share a cache.
pub(super) const fn block_stride<E: Element>(shape: &Shape, layers: usize) -> usize {
    2 * layers * shape.kv_heads * head_block_len::<E>(shape)
}

/// Elements in front of a layer's first block of keys, and of values.
pub(super) const fn first_blocks<E: Element>(shape: &Shape, layer: CacheLayer) -> [usize; 2] {
    let keys = block_stride::<E>(shape, layer.place);
    [keys, keys + shape.kv_heads * head_block_len::<E>(shape)]
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
    fn write<V: Vector>(values: &[f32], _scale: f32, elements: &mut [f32]) {
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
    fn write<V: Vector>(values: &[f32], _scale: f32, elements: &mut [u16]) {
        for (value, element) in V::chunks(values).0.iter().zip(V::halves_mut(elements).0) {
            V::load(value).store_f16(element);
        }
    }
}

impl Element for i8 {
    const SCALES: usize = BLOCK_TOKENS * SCALE_BYTES;
    type Chunk<V: Vector> = V::Bytes;

    #[inline(always)]
    fn chunks<V: Vector>(elements: &[i8]) -> &[V::Bytes] {
        V::bytes(elements).0
    }
    #[inline(always)]
    fn load<V: Vector>(chunk: &V::Bytes) -> V {
        V::load_i8(chunk)
    }
    #[inline(always)]
    fn scale_of(vector: &[f32]) -> f32 {
        // Magnitudes order as their bits do, and NaN above all: a vector with a NaN gets a NaN for its scale, and no result
        // that it has a part in passes for a number.
        let largest = vector.iter().fold(0, |largest, x| largest.max(x.to_bits() & !(1 << 31)));
        let largest = f32::from_bits(largest);
        if largest < SMALLEST { 0.0 } else { largest / LARGEST_BYTE }
    }
    #[inline(always)]
    fn write<V: Vector>(values: &[f32], scale: f32, elements: &mut [i8]) {
        let steps = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        for (value, element) in values.iter().zip(elements) {
            // Adding 2^23 * 1.5 rounds to nearest even and leaves the integer in the low bits of the mantissa.
            *element = (value * steps + 12_582_912.0).to_bits() as i8;
        }
    }
    #[inline(always)]
    fn keep_scale(scales: &mut [i8], slot: usize, scale: f32) {
        let place = &mut scales[slot * SCALE_BYTES..][..SCALE_BYTES];
        place.copy_from_slice(&scale.to_ne_bytes().map(u8::cast_signed));
    }
    #[inline(always)]
    fn scales(scales: &[i8]) -> Option<ScoreRow> {
        let mut row = [0.0; BLOCK_TOKENS];
        for (scale, bytes) in row.iter_mut().zip(scales.as_chunks::<SCALE_BYTES>().0) {
            *scale = f32::from_ne_bytes(bytes.map(i8::cast_unsigned));
        }
        Some(row)
    }
}

/// Writes K and V of `tokens` tokens, `[tokens, kv_heads, head_dim]` each, to positions `first_position..` of `layer` of the cache.
///
/// # Panics
/// If `k` or `v` does not have the shape, or the cache has too few blocks.
#[expect(clippy::too_many_arguments, reason = "two tensors, a layer of a cache, where to")]
pub fn append(
    cpu: &Cpu,
    shape: &Shape,
    first_position: usize,
    tokens: usize,
    k: &[f32],
    v: &[f32],
    cache: KvSliceMut<'_>,
    layer: CacheLayer,
) {
    shape.check();
    for (name, values) in [("k", k), ("v", v)] {
        let row = shape.kv_heads * shape.head_dim;
        assert_eq!(values.len(), tokens * row, "{name} must be [{tokens}, {row}]");
    }
    check_cache(shape, layer, first_position + tokens, cache.as_ref());
    let span = Span { shape, layer, first_position, tokens };
    match cache {
        KvSliceMut::F16(cache) => span.write_both(cpu, k, v, cache),
        KvSliceMut::F32(cache) => span.write_both(cpu, k, v, cache),
        KvSliceMut::Int8(cache) => span.write_both(cpu, k, v, cache),
    }
}

/// Panics unless the cache has the layer and whole blocks, enough for `tokens`.
pub(super) fn check_cache(shape: &Shape, layer: CacheLayer, tokens: usize, cache: KvSlice<'_>) {
    assert!(layer.place < layer.layers, "no such layer: {layer:?}");
    let (length, block) = (cache.len(), cache.block_len(shape, layer.layers));
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
    layer: CacheLayer,
    first_position: usize,
    tokens: usize,
}

impl Span<'_> {
    fn write_both<E: Element>(self, cpu: &Cpu, k: &[f32], v: &[f32], cache: &mut [E]) {
        self.write::<E, true>(cpu, k, cache);
        self.write::<E, false>(cpu, v, cache);
    }

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
        let Span { shape, layer, first_position, tokens } = self.span;
        let width = shape.head_dim;
        let length = head_block_len::<E>(shape);
        let stride = block_stride::<E>(shape, layer.layers);
        let [keys, values] = first_blocks::<E>(shape, layer);
        let first = if K { keys } else { values } + self.head * length;
        for token in 0..tokens {
            let position = first_position + token;
            let (block, slot) = (position / BLOCK_TOKENS, position % BLOCK_TOKENS);
            let start = first + block * stride;
            // SAFETY: each head belongs to one part of the split, and the view ends with the iteration.
            let block = unsafe { self.cache.slice(start..start + length) };
            let (block, scales) = block.split_at_mut(shape.head_block_len());
            let values = &self.values[(token * shape.kv_heads + self.head) * width..][..width];
            let scale = E::scale_of(values);
            E::keep_scale(scales, slot, scale);
            if K {
                // Sixteen values at a time through a register; `head_dim` is a multiple of 16.
                for (values, columns) in
                    values.chunks_exact(16).zip(block.chunks_exact_mut(16 * BLOCK_TOKENS))
                {
                    let mut rounded = [columns[slot]; 16];
                    E::write::<V>(values, scale, &mut rounded);
                    for (column, rounded) in columns.chunks_exact_mut(BLOCK_TOKENS).zip(rounded) {
                        column[slot] = rounded;
                    }
                }
            } else {
                E::write::<V>(values, scale, &mut block[slot * width..][..width]);
            }
        }
    }
}
