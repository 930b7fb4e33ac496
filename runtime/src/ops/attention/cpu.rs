//! How the work is divided. Many tokens: every (KV head, query tile) is a piece of work that walks the whole context. Few tokens:
//! every (KV head, span of the context) is a piece, in waves of [`WAVE_SPANS`] spans whose results are merged in order.
//! Threads take pieces as they become free; what a piece computes does not depend on who takes it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::cache::{Element, KvSlice, block_stride, check_cache, first_blocks};
use super::kernel::{Context, Running, Tile};
use super::shape::{BLOCK_TOKENS, CacheLayer, SPAN_BLOCKS, Shape, WAVE_SPANS};
use crate::backend::cpu::{Cpu, Kernel, SharedMut, Vector};
use crate::ops::Heads;

/// Attention of `tokens` tokens from `first_position` on, whose keys and values are in `layer` of the cache already.
///
/// # Panics
/// If a slice does not have the shape of the contract, or `workspace` holds fewer bytes than [`Shape::workspace`] for the pool's
/// threads.
#[expect(clippy::too_many_arguments, reason = "where, what, a layer of a cache, where to")]
pub fn forward(
    cpu: &Cpu,
    shape: &Shape,
    first_position: usize,
    tokens: usize,
    q: &[f32],
    q_layout: Heads,
    cache: KvSlice<'_>,
    layer: CacheLayer,
    out: &mut [f32],
    workspace: &mut [f32],
) {
    shape.check();
    q_layout.check(q.len());
    let expected = (tokens, shape.heads, shape.head_dim);
    assert_eq!((q_layout.tokens, q_layout.heads, q_layout.width), expected, "layout of q");
    assert_eq!(out.len(), tokens * shape.heads * shape.head_dim, "out must be [{tokens}, heads, head_dim]");
    check_cache(shape, layer, first_position + tokens, cache);
    let needed = shape.workspace(cpu.pool.threads()).0 as usize / size_of::<f32>();
    assert!(workspace.len() >= needed, "workspace needs {needed} values, not {}", workspace.len());
    if tokens == 0 {
        return;
    }
    let (wave, tiles) = workspace.split_at_mut(shape.wave_values());
    let (tiles, out) = (SharedMut::new(tiles), SharedMut::new(out));
    match cache {
        KvSlice::F16(cache) => {
            Call { cpu, shape, first_position, tokens, q, q_layout, cache, layer, out, tiles }.run(wave);
        }
        KvSlice::F32(cache) => {
            Call { cpu, shape, first_position, tokens, q, q_layout, cache, layer, out, tiles }.run(wave);
        }
        KvSlice::Int8(cache) => {
            Call { cpu, shape, first_position, tokens, q, q_layout, cache, layer, out, tiles }.run(wave);
        }
    }
}

struct Call<'a, E> {
    cpu: &'a Cpu,
    shape: &'a Shape,
    first_position: usize,
    tokens: usize,
    q: &'a [f32],
    q_layout: Heads,
    cache: &'a [E],
    layer: CacheLayer,
    out: SharedMut<'a, f32>,
    /// [`Shape::tile_values`] a thread.
    tiles: SharedMut<'a, f32>,
}

impl<E: Element> Call<'_, E> {
    fn run(&self, wave: &mut [f32]) {
        if self.tokens <= self.shape.wave_tokens() {
            self.by_span(wave);
        } else {
            self.by_tile();
        }
    }

    /// Calls `body(worker, piece)` for every piece, each worker taking the next one that is left.
    fn share(&self, pieces: usize, body: &(dyn Fn(usize, usize) + Sync)) {
        if pieces == 1 {
            return body(0, 0);
        }
        let next = AtomicUsize::new(0);
        self.cpu.pool.drain(&|worker| {
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= pieces {
                    break;
                }
                body(worker, piece);
            }
        });
    }

    /// Blocks of the context that the first `tokens` tokens of the call see.
    fn blocks(&self, tokens: usize) -> usize {
        (self.first_position + tokens).div_ceil(BLOCK_TOKENS)
    }

    fn by_tile(&self) {
        let tile_tokens = self.shape.tile_tokens();
        let tiles = self.tokens.div_ceil(tile_tokens);
        self.share(tiles * self.shape.kv_heads, &|worker, piece| {
            // The last tiles see most and come first.
            let first_token = (tiles - 1 - piece / self.shape.kv_heads) * tile_tokens;
            self.cpu.isa.dispatch(WholeContext {
                call: self,
                worker,
                kv_head: piece % self.shape.kv_heads,
                first_token,
                tokens: tile_tokens.min(self.tokens - first_token),
            });
        });
    }

    fn by_span(&self, wave: &mut [f32]) {
        let shape = self.shape;
        let rows = shape.rows(self.tokens);
        let values = shape.running_values(rows);
        let (totals, partials) = wave.split_at_mut(shape.kv_heads * values);
        for total in totals.chunks_exact_mut(values) {
            Running::new(total, rows).reset();
        }
        let blocks = self.blocks(self.tokens);
        let spans = blocks.div_ceil(SPAN_BLOCKS);
        for first_span in (0..spans).step_by(WAVE_SPANS) {
            let in_wave = WAVE_SPANS.min(spans - first_span);
            let shared = SharedMut::new(&mut *partials);
            self.share(in_wave * shape.kv_heads, &|worker, piece| {
                let first_block = (first_span + piece / shape.kv_heads) * SPAN_BLOCKS;
                self.cpu.isa.dispatch(OneSpan {
                    call: self,
                    worker,
                    kv_head: piece % shape.kv_heads,
                    blocks: first_block..(first_block + SPAN_BLOCKS).min(blocks),
                    // SAFETY: each piece has its own values.
                    running: Running::new(
                        unsafe { shared.slice(piece * values..(piece + 1) * values) },
                        rows,
                    ),
                });
            });
            for (piece, partial) in
                partials.chunks_exact_mut(values).take(in_wave * shape.kv_heads).enumerate()
            {
                let total = &mut totals[piece % shape.kv_heads * values..][..values];
                let (total, partial) = (Running::new(total, rows), Running::new(partial, rows));
                self.cpu.isa.dispatch(Merge { total, partial, width: shape.head_dim });
            }
        }
        for (kv_head, total) in totals.chunks_exact_mut(values).enumerate() {
            self.cpu.isa.dispatch(Finish { call: self, kv_head, total: Running::new(total, rows) });
        }
    }

    /// The layer's keys and values.
    fn context(&self) -> Context<'_, E> {
        let [keys, values] = first_blocks::<E>(self.shape, self.layer);
        let stride = block_stride::<E>(self.shape, self.layer.layers);
        Context { k: &self.cache[keys..], v: &self.cache[values..], stride }
    }

    /// A worker's tile and the two running softmaxes behind it.
    fn tile(
        &self,
        worker: usize,
        kv_head: usize,
        tokens: std::ops::Range<usize>,
    ) -> (Tile<'_>, Running<'_>, Running<'_>) {
        let shape = self.shape;
        let values = shape.tile_values();
        // SAFETY: each worker has its own part and uses one tile at a time.
        let values = unsafe { self.tiles.slice(worker * values..(worker + 1) * values) };
        let rows = shape.rows(shape.tile_tokens());
        let (queries, rest) = values.split_at_mut(rows * shape.head_dim);
        let (scores, rest) = rest.split_at_mut(rows * BLOCK_TOKENS);
        let (rescale, rest) = rest.split_at_mut(rows);
        let (first, second) = rest.split_at_mut(shape.running_values(rows));
        let mut tile = Tile {
            shape,
            kv_head,
            first_token: tokens.start,
            tokens: tokens.len(),
            first_position: self.first_position,
            queries,
            scores: scores.as_chunks_mut().0,
            rescale,
        };
        tile.pack(self.q, self.q_layout);
        (tile, Running::new(first, rows), Running::new(second, rows))
    }

    #[inline(always)]
    fn write<V: Vector>(&self, token: usize, head: usize, row: usize, total: &Running<'_>) {
        let first = (token * self.shape.heads + head) * self.shape.head_dim;
        // SAFETY: each row is written once, by the piece of work that owns it.
        let out = unsafe { self.out.slice(first..first + self.shape.head_dim) };
        total.finish::<V>(row, out);
    }
}

/// One tile of queries, span after span.
struct WholeContext<'a, E> {
    call: &'a Call<'a, E>,
    worker: usize,
    kv_head: usize,
    first_token: usize,
    tokens: usize,
}

impl<E: Element> Kernel for WholeContext<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let call = self.call;
        let last_token = self.first_token + self.tokens;
        let (mut tile, mut total, mut partial) =
            call.tile(self.worker, self.kv_head, self.first_token..last_token);
        let blocks = call.blocks(last_token);
        total.reset();
        for first in (0..blocks).step_by(SPAN_BLOCKS) {
            partial.reset();
            tile.attend::<V, E>(call.context(), first..(first + SPAN_BLOCKS).min(blocks), &mut partial);
            total.merge::<V>(&partial, call.shape.head_dim);
        }
        for row in 0..tile.rows() {
            let (token, head) = tile.token_and_head(row);
            call.write::<V>(token, head, row, &total);
        }
    }
}

/// All queries of a KV head against one span.
struct OneSpan<'a, E> {
    call: &'a Call<'a, E>,
    worker: usize,
    kv_head: usize,
    blocks: std::ops::Range<usize>,
    running: Running<'a>,
}

impl<E: Element> Kernel for OneSpan<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let call = self.call;
        let (mut tile, ..) = call.tile(self.worker, self.kv_head, 0..call.tokens);
        self.running.reset();
        tile.attend::<V, E>(call.context(), self.blocks, &mut self.running);
    }
}

struct Merge<'a> {
    total: Running<'a>,
    partial: Running<'a>,
    width: usize,
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        self.total.merge::<V>(&self.partial, self.width);
    }
}

struct Finish<'a, E> {
    call: &'a Call<'a, E>,
    kv_head: usize,
    total: Running<'a>,
}

impl<E: Element> Kernel for Finish<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let group = self.call.shape.group();
        for row in 0..self.call.tokens * group {
            self.call.write::<V>(row / group, self.kv_head * group + row % group, row, &self.total);
        }
    }
}
