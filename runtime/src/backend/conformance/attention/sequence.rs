//! Keys and values of a sequence, and a cache of them.

use super::super::bench::Bench;
use super::super::report::Report;
use super::super::subject::Subject;
use crate::model::operators::LayerCache;
use crate::ops::attention::{BLOCK_TOKENS, CacheLayer, Shape};
use crate::ops::testing::Numbers;
use crate::plan::KvCacheType;

/// The layer under test; those beside it are never written.
pub(super) const LAYER: CacheLayer = CacheLayer { place: 1, layers: 3 };

/// NaN in every element of a cache, and in the scales of bytes.
fn nothing(element: KvCacheType) -> f32 {
    f32::from_bits(match element {
        KvCacheType::F16 => 0x7e00_7e00,
        KvCacheType::F32 => 0x7fc0_0000,
        KvCacheType::Int8 => 0xffff_ffff,
    })
}

/// Keys and values that every element type holds exactly, so that one truth serves all: whole steps of a power of two, with 127 of
/// them somewhere in each vector.
fn exact(count: usize, head_dim: usize, numbers: &mut Numbers) -> Vec<f32> {
    let mut values = numbers.take(count * head_dim, 127.0);
    for (index, vector) in values.chunks_exact_mut(head_dim).enumerate() {
        vector[index % head_dim] = if index % 3 == 0 { -127.0 } else { 127.0 };
        let step = 2f32.powi(-6 - (index % 4) as i32);
        vector.iter_mut().for_each(|value| *value = value.round() * step);
    }
    values
}

/// A sequence of one layer.
pub(super) struct Case {
    pub(super) shape: Shape,
    /// [tokens, kv heads, head dim].
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl Case {
    pub(super) fn new(seed: u64, shape: Shape, tokens: usize) -> Case {
        let mut numbers = Numbers::new(seed);
        let vectors = tokens * shape.kv_heads;
        let mut random = || exact(vectors, shape.head_dim, &mut numbers);
        Case { shape, keys: random(), values: random() }
    }

    fn width(&self) -> usize {
        self.shape.kv_heads * self.shape.head_dim
    }

    /// Words of four bytes that `tokens` take in a cache.
    fn words(&self, element: KvCacheType, tokens: usize) -> usize {
        let block = self.shape.cache_block_bytes(element, LAYER.layers) as usize;
        tokens.div_ceil(BLOCK_TOKENS) * block / size_of::<f32>()
    }

    /// A cache of several layers with room for `tokens`, all of it NaN.
    pub(super) fn cache<S: Subject>(
        &self,
        bench: &Bench<S>,
        element: KvCacheType,
        tokens: usize,
    ) -> S::Tensor {
        bench.holding(&vec![nothing(element); self.words(element, tokens)])
    }

    /// Looks behind a cache with room for `tokens`, and at the layers that nobody wrote.
    pub(super) fn look_beside<S: Subject>(
        &self,
        report: &mut Report,
        bench: &Bench<S>,
        cache: &S::Tensor,
        element: KvCacheType,
        tokens: usize,
    ) {
        let found = bench.take(report, cache, self.words(element, tokens));
        let of_layer = 2 * self.shape.block_bytes(element) as usize / size_of::<f32>();
        for (index, words) in found.chunks_exact(of_layer).enumerate() {
            let is_own = index % LAYER.layers == LAYER.place;
            if !is_own && words.iter().any(|word| word.to_bits() != nothing(element).to_bits()) {
                report.fail(format!(
                    "layer {} was written beside layer {}",
                    index % LAYER.layers,
                    LAYER.place
                ));
            }
        }
    }

    /// Puts the tokens from `first` on into the cache, in pieces of these lengths, each from some rows of a tensor.
    pub(super) fn append<S: Subject>(
        &self,
        bench: &Bench<S>,
        blocks: &mut S::Tensor,
        first: usize,
        pieces: &[usize],
    ) {
        let (all, width) = (pieces.iter().sum::<usize>(), self.width());
        let elements = first * width..(first + all) * width;
        let keys = bench.holding(&self.keys[elements.clone()]);
        let values = bench.holding(&self.values[elements]);
        let (mut row, cache) = (0, &mut LayerCache { blocks, layer: LAYER });
        for tokens in pieces {
            let rows = row..row + tokens;
            bench.device.append_kv(&self.shape, first + row, rows, &keys, &values, cache);
            row += tokens;
        }
    }

    /// Turns a query to one key of its head: the last one that it may see, the first one that it may not, or an earlier one. A single
    /// token more or less would make no difference among thousands.
    pub(super) fn turn_to_one_key(&self, position: usize, head: usize, query: &mut [f32]) {
        /// The score of that key.
        const SCORE: f32 = 12.0;
        let Shape { kv_heads, head_dim, .. } = self.shape;
        let last = self.keys.len() / self.width() - 1;
        let turned_to = match (position + head) % 3 {
            0 => position,
            1 => (position + 1).min(last),
            _ => (position * 31 + head * 677) % (position + 1),
        };
        let vector = turned_to * kv_heads + head / self.shape.group();
        let key = &self.keys[vector * head_dim..][..head_dim];
        let squares: f32 = key.iter().map(|key| key * key).sum();
        let factor = SCORE * (head_dim as f32).sqrt() / squares;
        query.iter_mut().zip(key).for_each(|(query, key)| *query += factor * key);
    }

    /// Keys and values, KV head by KV head.
    pub(super) fn by_head(&self) -> Vec<[Vec<f32>; 2]> {
        let Shape { kv_heads, head_dim, .. } = self.shape;
        let of_head = |all: &[f32], head| -> Vec<f32> {
            all.chunks_exact(head_dim).skip(head).step_by(kv_heads).flatten().copied().collect()
        };
        (0..kv_heads).map(|head| [of_head(&self.keys, head), of_head(&self.values, head)]).collect()
    }
}
