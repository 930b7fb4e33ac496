//! The operators of a model, recorded for a GPU.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::memory::{Address, DeviceAllocator, DeviceBuffer};
use super::op::{Op, PROJECTIONS, ProjectionAt};
use super::queue::Queue;
use super::streaming::{Streamed, projection_at};
use super::weight::CudaWeight;
use super::witness::CudaWitness;
use crate::memory::MemoryError;
use crate::model::operators::{Keep, LayerCache, LogRows, Operators, Projection};
use crate::ops::Heads;
use crate::ops::attention::{self, KvCacheType};
use crate::ops::gated_delta_rule;
use crate::weights::stripes_of;

/// Bytes of an f32.
const WIDTH: u64 = 4;

/// A GPU with the memory of one engine.
#[derive(Debug)]
pub struct CudaDevice {
    pub(super) queue: Arc<Queue>,
    pub(super) witness: Arc<CudaWitness>,
    pub(super) allocator: DeviceAllocator,
    pub(super) kv_cache_type: KvCacheType,
    /// Where what a search for the largest finds comes to stand: parts, and then the places.
    pub(super) largest: Address,
    /// Rows that it has room for.
    pub(super) largest_rows: usize,
    /// Brings the weights that are not resident, where there are any.
    pub(super) streamed: Option<Streamed>,
}

/// `rows` of `width` elements, from the start of a buffer.
fn row(buffer: &DeviceBuffer, row: usize, width: usize) -> Address {
    buffer.start() + (row * width) as u64 * WIDTH
}

impl CudaDevice {
    fn record(&self, op: Op) {
        self.queue.record(op);
    }

    /// Where a layer's first blocks of keys and of values are, and how far its blocks are apart in bytes.
    fn layer_cache(
        &self,
        shape: &attention::Shape,
        cache: &LayerCache<'_, DeviceBuffer>,
    ) -> (Address, Address, u32) {
        let (start, layer, element) = (cache.blocks.start(), cache.layer, self.kv_cache_type);
        let stride = shape.cache_block_bytes(element, layer.layers) as u32;
        (start + layer.keys(shape, element), start + layer.values(shape, element), stride)
    }

    /// `x` times matrices that are resident, which may come to several operators.
    pub(super) fn linear_resident(
        &self,
        x: &DeviceBuffer,
        tokens: usize,
        projections: impl Iterator<Item = ProjectionAt>,
        scratch: &DeviceBuffer,
    ) {
        let (x, tokens) = (x.start(), tokens as u32);
        let (scratch, room) = (scratch.start(), scratch.committed());
        let mut projections = projections.peekable();
        while let Some(columns) = projections.peek().map(|first| first.matrix.columns) {
            let mut together = [None; PROJECTIONS];
            for (place, projection) in together.iter_mut().zip(&mut projections) {
                *place = Some(projection);
            }
            self.record(Op::Linear { x, tokens, columns, projections: together, scratch, room });
        }
    }

    /// Reads the first `bytes` of the run of memory that `weight` stands in, which is that of all weights: to measure what the
    /// memory gives at most.
    pub fn read_weights(&self, weight: &CudaWeight, bytes: u64) {
        let (from, held) = weight.memory();
        self.record(Op::ReadAll { from, bytes: bytes.min(held), out: self.largest });
    }
}

impl Operators for CudaDevice {
    type Tensor = DeviceBuffer;
    type Weight = CudaWeight;

    fn reserve(&self, key: &str) -> Result<DeviceBuffer, MemoryError> {
        self.allocator.reserve(key)
    }

    fn allocate(&self, key: &str) -> Result<DeviceBuffer, MemoryError> {
        self.allocator.allocate(key)
    }

    fn upcoming(&self, weights: &mut dyn Iterator<Item = &CudaWeight>) {
        if let Some(streamed) = &self.streamed {
            streamed.announce(stripes_of(weights.filter_map(CudaWeight::streamed)));
        }
    }

    fn embed(&self, table: &CudaWeight, ids: &[u32], out: &mut DeviceBuffer) {
        if let Some(rows) = table.streamed() {
            return self.embed_streamed(table, rows, ids, out);
        }
        let (table, tokens, out) = (table.matrix(), ids.len() as u32, out.start());
        self.queue.record_with(ids, |ids| Op::Embed { table, ids, tokens, out });
    }

    fn rms_norm(
        &self,
        x: &DeviceBuffer,
        rows: Range<usize>,
        weight: &CudaWeight,
        eps: f32,
        out: &mut DeviceBuffer,
    ) {
        let (weight, width) = weight.numbers();
        let x = row(x, rows.start, width as usize);
        self.record(Op::RmsNorm { x, rows: rows.len() as u32, weight, width, eps, out: out.start() });
    }

    fn rms_norm_heads(&self, x: &mut DeviceBuffer, heads: Heads, weight: &CudaWeight, eps: f32) {
        self.record(Op::NormHeads { x: x.start(), heads, weight: weight.numbers().0, eps });
    }

    fn rms_norm_gated(
        &self,
        x: &mut DeviceBuffer,
        elements: usize,
        gate: &DeviceBuffer,
        weight: &CudaWeight,
        eps: f32,
    ) {
        let (weight, width) = weight.numbers();
        let (x, elements, gate) = (x.start(), elements as u32, gate.start());
        self.record(Op::GatedNorm { x, elements, gate, weight, width, eps });
    }

    fn linear(
        &self,
        x: &DeviceBuffer,
        tokens: usize,
        projections: &mut [Projection<'_, CudaWeight, DeviceBuffer>],
        scratch: &mut DeviceBuffer,
    ) {
        if projections.iter().any(|projection| projection.weight.streamed().is_some()) {
            return self.linear_streamed(x, tokens, projections, scratch);
        }
        self.linear_resident(x, tokens, projections.iter().map(projection_at), scratch);
    }

    fn rope_angles(
        &self,
        first: usize,
        rows: Range<usize>,
        rotary_dims: usize,
        theta: f64,
        cos: &mut DeviceBuffer,
        sin: &mut DeviceBuffer,
    ) {
        let half = rotary_dims / 2;
        let (cos, sin) = (row(cos, rows.start, half), row(sin, rows.start, half));
        let (rows, rotary, theta) = (rows.len() as u32, rotary_dims as u32, theta as f32);
        self.queue.record_with(&[first as u32], |first| Op::RopeAngles {
            first,
            rows,
            rotary,
            theta,
            cos,
            sin,
        });
    }

    fn rope(
        &self,
        x: &mut DeviceBuffer,
        heads: Heads,
        rotary_dims: usize,
        cos: &DeviceBuffer,
        sin: &DeviceBuffer,
    ) {
        let rotary = rotary_dims as u32;
        self.record(Op::Rope { x: x.start(), heads, rotary, cos: cos.start(), sin: sin.start() });
    }

    fn append_kv(
        &self,
        shape: &attention::Shape,
        first: usize,
        rows: Range<usize>,
        keys: &DeviceBuffer,
        values: &DeviceBuffer,
        cache: &mut LayerCache<'_, DeviceBuffer>,
    ) {
        let (shape, width) = (*shape, shape.kv_heads * shape.head_dim);
        let (keys, values) = (row(keys, rows.start, width), row(values, rows.start, width));
        let (key_cache, value_cache, block_stride) = self.layer_cache(&shape, cache);
        let (tokens, cache) = (rows.len() as u32, self.kv_cache_type);
        self.queue.record_with(&[first as u32], |first| Op::AppendKv {
            shape,
            cache,
            first,
            tokens,
            keys,
            values,
            key_cache,
            value_cache,
            block_stride,
        });
    }

    fn attention(
        &self,
        shape: &attention::Shape,
        first: usize,
        rows: Range<usize>,
        queries: &DeviceBuffer,
        heads: Heads,
        cache: &LayerCache<'_, DeviceBuffer>,
        out: &mut DeviceBuffer,
        scratch: &mut DeviceBuffer,
    ) {
        let shape = *shape;
        let queries = row(queries, rows.start, heads.token_stride);
        let out = row(out, rows.start, shape.heads * shape.head_dim);
        let (keys, values, block_stride) = self.layer_cache(&shape, cache);
        let heads = Heads { tokens: rows.len(), ..heads };
        let blocks = (first + rows.len()).div_ceil(attention::BLOCK_TOKENS).next_power_of_two() as u32;
        let (tokens, cache) = (rows.len() as u32, self.kv_cache_type);
        let (scratch, room) = (scratch.start(), scratch.committed());
        self.queue.record_with(&[first as u32], |first| Op::Attention {
            shape,
            cache,
            first,
            blocks,
            tokens,
            queries,
            heads,
            keys,
            values,
            block_stride,
            out,
            scratch,
            room,
        });
    }

    fn output_gate(&self, x: &mut DeviceBuffer, gate: &DeviceBuffer, gate_offset: usize, gate_heads: Heads) {
        let gate = gate.start() + gate_offset as u64 * WIDTH;
        self.record(Op::OutputGate { x: x.start(), gate, heads: gate_heads });
    }

    fn causal_conv1d(
        &self,
        channels: usize,
        rows: Range<usize>,
        keep: Keep,
        taps: &CudaWeight,
        x: &mut DeviceBuffer,
        window: &mut DeviceBuffer,
    ) {
        let x = row(x, rows.start, channels);
        let (taps, count) = taps.numbers();
        let (tokens, channels) = (rows.len() as u32, channels as u32);
        self.record(Op::Convolve {
            channels,
            tokens,
            undecided: keep == Keep::Undecided,
            taps,
            kernel: count / channels,
            x,
            window: window.start(),
        });
    }

    fn commit_conv1d(&self, channels: usize, kept: usize, tokens: usize, window: &mut DeviceBuffer) {
        let (channels, kept, tokens) = (channels as u32, kept as u32, tokens as u32);
        self.record(Op::CommitConvolution { channels, kept, tokens, window: window.start() });
    }

    fn delta_gates(
        &self,
        tokens: usize,
        a: &mut DeviceBuffer,
        b: &mut DeviceBuffer,
        negated_decay: &CudaWeight,
        dt_bias: &CudaWeight,
    ) {
        let (dt_bias, heads) = dt_bias.numbers();
        self.record(Op::DeltaGates {
            a: a.start(),
            b: b.start(),
            negated_decay: negated_decay.numbers().0,
            dt_bias,
            heads,
            tokens: tokens as u32,
        });
    }

    fn gated_delta_rule(
        &self,
        shape: &gated_delta_rule::Shape,
        rows: Range<usize>,
        qkv: &DeviceBuffer,
        decay: &DeviceBuffer,
        beta: &DeviceBuffer,
        state: &mut DeviceBuffer,
        log: Option<LogRows<'_, DeviceBuffer>>,
        out: &mut DeviceBuffer,
        scratch: &mut DeviceBuffer,
    ) {
        self.record(Op::Delta {
            shape: *shape,
            tokens: rows.len() as u32,
            qkv: row(qkv, rows.start, shape.row()),
            decay: row(decay, rows.start, shape.value_heads),
            beta: row(beta, rows.start, shape.value_heads),
            state: state.start(),
            log: log.map_or(0, |log| row(log.log, log.first, 1)),
            out: row(out, rows.start, shape.value_heads * shape.value_dim),
            scratch: scratch.start(),
        });
    }

    fn commit_delta_rule(
        &self,
        shape: &gated_delta_rule::Shape,
        log: LogRows<'_, DeviceBuffer>,
        tokens: usize,
        state: &mut DeviceBuffer,
    ) {
        let log = row(log.log, log.first, 1);
        self.record(Op::CommitDelta { shape: *shape, tokens: tokens as u32, log, state: state.start() });
    }

    fn swiglu(&self, elements: usize, gate: &mut DeviceBuffer, up: &DeviceBuffer) {
        self.record(Op::SwiGlu { elements: elements as u64, gate: gate.start(), up: up.start() });
    }

    fn copy_rows(
        &self,
        from: &DeviceBuffer,
        rows: Range<usize>,
        width: usize,
        to: &mut DeviceBuffer,
        at: usize,
    ) {
        if !rows.is_empty() {
            let count = (rows.len() * width) as u64;
            self.record(Op::CopyRows { from: row(from, rows.start, width), to: row(to, at, width), count });
        }
    }

    fn gather_rows(&self, x: &mut DeviceBuffer, rows: &[usize], width: usize) {
        let numbers: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        let (x, count, width) = (x.start(), rows.len() as u32, width as u32);
        if rows.iter().enumerate().any(|(to, from)| to != *from) {
            self.queue.record_with(&numbers, |rows| Op::GatherRows { x, rows, count, width });
        }
    }

    fn concat_rows(
        &self,
        left: &DeviceBuffer,
        right: &DeviceBuffer,
        tokens: usize,
        width: usize,
        out: &mut DeviceBuffer,
    ) {
        let (left, right, out) = (left.start(), right.start(), out.start());
        self.record(Op::ConcatRows { left, right, out, rows: tokens as u32, width: width as u32 });
    }

    fn argmax_rows(&self, x: &DeviceBuffer, rows: Range<usize>, width: usize) -> Vec<Option<u32>> {
        let mut found = Vec::with_capacity(rows.len());
        let places = self.largest + (self.largest_rows * super::lower::ARGMAX_PARTS as usize * 8) as u64;
        let all: Vec<usize> = rows.collect();
        for rows in all.chunks(self.largest_rows) {
            let (x, width) = (row(x, rows[0], width), width as u32);
            self.record(Op::Argmax { x, rows: rows.len() as u32, width, parts: self.largest, places });
            let mut bytes = vec![0; rows.len() * 4];
            // Whoever looks at the result asks for failures; without one it is no choice.
            let read = self.queue.read(places, &mut bytes);
            let numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
            found.extend(numbers.map(|place| (read.is_ok() && place != u32::MAX).then_some(place)));
        }
        found
    }

    fn read<'a>(&self, tensor: &'a DeviceBuffer, elements: Range<usize>) -> Cow<'a, [f32]> {
        let mut bytes = vec![0; elements.len() * size_of::<f32>()];
        let failed = self.queue.read(row(tensor, elements.start, 1), &mut bytes).is_err();
        let numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| match failed {
            // No number: nobody takes it for a result.
            true => f32::NAN,
            false => f32::from_le_bytes(*bytes),
        });
        Cow::Owned(numbers.collect())
    }
}

impl Drop for CudaDevice {
    fn drop(&mut self) {
        let _ = self.queue.finish();
        self.queue.drop_memory();
    }
}
