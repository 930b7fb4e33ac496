//! The operators on planned buffers of this process.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;

use super::Cpu;
use crate::memory::{Allocator, Buffer, MemoryError};
use crate::model::operators::{Keep, LayerCache, LogRows, Operators, Projection, Tensor};
use crate::ops::attention::{self, KvSlice, KvSliceMut};
use crate::ops::gated_delta_rule::{self, Inputs};
use crate::ops::{Heads, causal_conv1d, largest, linear, rms_norm, rope, swiglu};
use crate::plan::{KvCacheType, Precision};
use crate::weights::stream::{Stream, StreamError};
use crate::weights::{Weight, stripes_of};

/// The CPU with the memory of one engine.
#[derive(Debug)]
pub struct CpuDevice {
    /// Threads and kernels.
    pub cpu: Cpu,
    /// The plan's buffers.
    pub allocator: Allocator,
    /// Which arithmetic projections use.
    pub precision: Precision,
    /// Element type of the KV cache.
    pub kv_cache_type: KvCacheType,
    /// Brings the weights that are not resident, where there are any.
    pub stream: Option<Stream>,
    /// The first read that failed since [`crate::backend::Backend::check`] was last asked.
    pub failed: Mutex<Option<StreamError>>,
}

impl Tensor for Buffer {
    fn commit(&mut self, bytes: u64) -> Result<(), MemoryError> {
        Buffer::commit(self, bytes)
    }
}

impl CpuDevice {
    /// The whole blocks of a layer's cache; part of another may follow on its last page.
    fn kv<'a>(&self, shape: &attention::Shape, cache: &'a LayerCache<'_, Buffer>) -> KvSlice<'a> {
        let (elements, buffer) = (self.kv_elements(shape, cache), &*cache.blocks);
        match self.kv_cache_type {
            KvCacheType::F16 => KvSlice::F16(&buffer.slice()[..elements]),
            KvCacheType::F32 => KvSlice::F32(&buffer.slice()[..elements]),
            KvCacheType::Int8 => KvSlice::Int8(&buffer.slice()[..elements]),
        }
    }

    /// As [`CpuDevice::kv`], to be written.
    fn kv_mut<'a>(&self, shape: &attention::Shape, cache: &'a mut LayerCache<'_, Buffer>) -> KvSliceMut<'a> {
        let (elements, buffer) = (self.kv_elements(shape, cache), &mut *cache.blocks);
        match self.kv_cache_type {
            KvCacheType::F16 => KvSliceMut::F16(&mut buffer.slice_mut()[..elements]),
            KvCacheType::F32 => KvSliceMut::F32(&mut buffer.slice_mut()[..elements]),
            KvCacheType::Int8 => KvSliceMut::Int8(&mut buffer.slice_mut()[..elements]),
        }
    }

    /// Elements of the whole blocks that are committed.
    fn kv_elements(&self, shape: &attention::Shape, cache: &LayerCache<'_, Buffer>) -> usize {
        let block = shape.cache_block_bytes(self.kv_cache_type, cache.layer.layers) as usize;
        let whole = cache.blocks.committed() / block * block;
        whole / self.kv_cache_type.width() as usize
    }
}

/// The first `elements` of a buffer of f32.
pub(super) fn floats(buffer: &Buffer, elements: usize) -> &[f32] {
    &buffer.slice::<f32>()[..elements]
}

/// `rows` of `width` elements each.
fn rows_of<'a>(buffer: &'a Buffer, rows: &Range<usize>, width: usize) -> &'a [f32] {
    &buffer.slice::<f32>()[rows.start * width..rows.end * width]
}

/// As [`rows_of`], to be written.
fn rows_of_mut<'a>(buffer: &'a mut Buffer, rows: &Range<usize>, width: usize) -> &'a mut [f32] {
    &mut buffer.slice_mut::<f32>()[rows.start * width..rows.end * width]
}

/// As [`floats`], to be written.
pub(super) fn floats_mut(buffer: &mut Buffer, elements: usize) -> &mut [f32] {
    &mut buffer.slice_mut::<f32>()[..elements]
}

impl Operators for CpuDevice {
    type Tensor = Buffer;
    type Weight = Weight;

    fn reserve(&self, key: &str) -> Result<Buffer, MemoryError> {
        self.allocator.reserve(key)
    }

    fn allocate(&self, key: &str) -> Result<Buffer, MemoryError> {
        self.allocator.allocate(key)
    }

    fn upcoming(&self, weights: &mut dyn Iterator<Item = &Weight>) {
        if let Some(stream) = &self.stream {
            stream.announce(stripes_of(weights));
        }
    }

    fn embed(&self, table: &Weight, ids: &[u32], out: &mut Buffer) {
        if let Some(parts) = table.streamed() {
            return self.streaming(|stream| self.embed_streamed(stream, table, parts, ids, out));
        }
        let matrix = table.matrix();
        let hidden = matrix.columns();
        for (id, row) in ids.iter().zip(floats_mut(out, ids.len() * hidden).chunks_exact_mut(hidden)) {
            matrix
                .dequantise_row(*id as usize, row)
                .expect("ids are checked against the table before a pass");
        }
    }

    fn rms_norm(&self, x: &Buffer, rows: Range<usize>, weight: &Weight, eps: f32, out: &mut Buffer) {
        let weight = weight.numbers();
        let width = weight.len();
        let x = rows_of(x, &rows, width);
        rms_norm::forward(&self.cpu, x, weight, eps, floats_mut(out, rows.len() * width));
    }

    fn rms_norm_heads(&self, x: &mut Buffer, heads: Heads, weight: &Weight, eps: f32) {
        rms_norm::heads(
            &self.cpu,
            floats_mut(x, heads.tokens * heads.token_stride),
            heads,
            weight.numbers(),
            eps,
        );
    }

    fn rms_norm_gated(&self, x: &mut Buffer, elements: usize, gate: &Buffer, weight: &Weight, eps: f32) {
        let gate = floats(gate, elements);
        rms_norm::gated(&self.cpu, floats_mut(x, elements), gate, weight.numbers(), eps);
    }

    fn linear(
        &self,
        x: &Buffer,
        tokens: usize,
        projections: &mut [Projection<'_, Weight, Buffer>],
        scratch: &mut Buffer,
    ) {
        let Some(columns) = projections.first().map(|projection| projection.weight.columns()) else {
            return;
        };
        if projections.iter().any(|projection| projection.weight.streamed().is_some()) {
            return self.streaming(|stream| self.linear_streamed(stream, x, tokens, projections, scratch));
        }
        let mut products: Vec<linear::Projection<'_>> = projections
            .iter_mut()
            .map(|projection| {
                let matrix = projection.weight.matrix();
                let out = floats_mut(projection.out, tokens * matrix.rows());
                linear::Projection { matrix, out, store: projection.store }
            })
            .collect();
        linear::forward(
            &self.cpu.pool,
            self.cpu.isa,
            self.precision,
            floats(x, tokens * columns),
            tokens,
            &mut products,
            scratch.slice_mut(),
        )
        .expect("shapes and workspace follow from one configuration");
    }

    fn rope_angles(
        &self,
        first: usize,
        rows: Range<usize>,
        rotary_dims: usize,
        theta: f64,
        cos: &mut Buffer,
        sin: &mut Buffer,
    ) {
        let (cos, sin) = (rows_of_mut(cos, &rows, rotary_dims / 2), rows_of_mut(sin, &rows, rotary_dims / 2));
        rope::fill(first, rotary_dims, theta as f32, cos, sin);
    }

    fn rope(&self, x: &mut Buffer, heads: Heads, rotary_dims: usize, cos: &Buffer, sin: &Buffer) {
        let elements = heads.tokens * rotary_dims / 2;
        let (cos, sin) = (floats(cos, elements), floats(sin, elements));
        let x = floats_mut(x, heads.tokens * heads.token_stride);
        rope::forward(&self.cpu, x, heads, rotary_dims, cos, sin);
    }

    fn append_kv(
        &self,
        shape: &attention::Shape,
        first: usize,
        rows: Range<usize>,
        keys: &Buffer,
        values: &Buffer,
        cache: &mut LayerCache<'_, Buffer>,
    ) {
        let (tokens, width) = (rows.len(), shape.kv_heads * shape.head_dim);
        let (keys, values) = (rows_of(keys, &rows, width), rows_of(values, &rows, width));
        let layer = cache.layer;
        attention::append(&self.cpu, shape, first, tokens, keys, values, self.kv_mut(shape, cache), layer);
    }

    fn attention(
        &self,
        shape: &attention::Shape,
        first: usize,
        rows: Range<usize>,
        queries: &Buffer,
        heads: Heads,
        cache: &LayerCache<'_, Buffer>,
        out: &mut Buffer,
        scratch: &mut Buffer,
    ) {
        attention::forward(
            &self.cpu,
            shape,
            first,
            rows.len(),
            rows_of(queries, &rows, heads.token_stride),
            Heads { tokens: rows.len(), ..heads },
            self.kv(shape, cache),
            cache.layer,
            rows_of_mut(out, &rows, shape.heads * shape.head_dim),
            scratch.slice_mut(),
        );
    }

    fn output_gate(&self, x: &mut Buffer, gate: &Buffer, gate_offset: usize, gate_heads: Heads) {
        let gate = &floats(gate, gate_heads.tokens * gate_heads.token_stride)[gate_offset..];
        let elements = gate_heads.tokens * gate_heads.heads * gate_heads.width;
        attention::output_gate(&self.cpu, floats_mut(x, elements), gate, gate_heads);
    }

    fn causal_conv1d(
        &self,
        channels: usize,
        rows: Range<usize>,
        keep: Keep,
        taps: &Weight,
        x: &mut Buffer,
        window: &mut Buffer,
    ) {
        let taps = taps.numbers();
        let kept = taps.len() / channels - 1;
        let x = rows_of_mut(x, &rows, channels);
        match keep {
            Keep::All => {
                causal_conv1d::forward(&self.cpu, channels, taps, x, floats_mut(window, kept * channels));
            }
            Keep::Undecided => {
                let window = floats_mut(window, (kept + rows.len()) * channels);
                causal_conv1d::verify(&self.cpu, channels, taps, x, window);
            }
        }
    }

    fn commit_conv1d(&self, channels: usize, kept: usize, tokens: usize, window: &mut Buffer) {
        causal_conv1d::commit(channels, kept, tokens, window.slice_mut());
    }

    fn delta_gates(
        &self,
        tokens: usize,
        a: &mut Buffer,
        b: &mut Buffer,
        negated_decay: &Weight,
        dt_bias: &Weight,
    ) {
        let (negated_decay, dt_bias) = (negated_decay.numbers(), dt_bias.numbers());
        let elements = tokens * dt_bias.len();
        let (a, b) = (floats_mut(a, elements), floats_mut(b, elements));
        gated_delta_rule::gates(&self.cpu, a, b, negated_decay, dt_bias);
    }

    fn gated_delta_rule(
        &self,
        shape: &gated_delta_rule::Shape,
        rows: Range<usize>,
        qkv: &Buffer,
        decay: &Buffer,
        beta: &Buffer,
        state: &mut Buffer,
        log: Option<LogRows<'_, Buffer>>,
        out: &mut Buffer,
        _scratch: &mut Buffer,
    ) {
        let inputs = Inputs {
            qkv: rows_of(qkv, &rows, shape.row()),
            g: rows_of(decay, &rows, shape.value_heads),
            beta: rows_of(beta, &rows, shape.value_heads),
        };
        let state = floats_mut(state, shape.value_heads * shape.head_state());
        let out = rows_of_mut(out, &rows, shape.value_heads * shape.value_dim);
        match log {
            None => gated_delta_rule::forward(&self.cpu, shape, inputs, state, out),
            Some(LogRows { log, first }) => {
                let log = &mut log.slice_mut::<f32>()[first..][..rows.len() * shape.log_row()];
                gated_delta_rule::verify(&self.cpu, shape, inputs, state, log, out);
            }
        }
    }

    fn commit_delta_rule(
        &self,
        shape: &gated_delta_rule::Shape,
        log: LogRows<'_, Buffer>,
        tokens: usize,
        state: &mut Buffer,
    ) {
        let log = &log.log.slice::<f32>()[log.first..];
        let state = floats_mut(state, shape.value_heads * shape.head_state());
        gated_delta_rule::commit(&self.cpu, shape, log, tokens, state);
    }

    fn swiglu(&self, elements: usize, gate: &mut Buffer, up: &Buffer) {
        swiglu::forward(&self.cpu, floats_mut(gate, elements), floats(up, elements));
    }

    fn copy_rows(&self, from: &Buffer, rows: Range<usize>, width: usize, to: &mut Buffer, at: usize) {
        rows_of_mut(to, &(at..at + rows.len()), width).copy_from_slice(rows_of(from, &rows, width));
    }

    fn gather_rows(&self, x: &mut Buffer, rows: &[usize], width: usize) {
        let x = x.slice_mut::<f32>();
        for (to, from) in rows.iter().enumerate() {
            x.copy_within(from * width..(from + 1) * width, to * width);
        }
    }

    fn concat_rows(&self, left: &Buffer, right: &Buffer, tokens: usize, width: usize, out: &mut Buffer) {
        let (left, right) = (floats(left, tokens * width), floats(right, tokens * width));
        let pairs = left.chunks_exact(width).zip(right.chunks_exact(width));
        for (out, (left, right)) in floats_mut(out, tokens * 2 * width).chunks_exact_mut(2 * width).zip(pairs)
        {
            out[..width].copy_from_slice(left);
            out[width..].copy_from_slice(right);
        }
    }

    fn argmax_rows(&self, x: &Buffer, rows: Range<usize>, width: usize) -> Vec<Option<u32>> {
        let rows = rows_of(x, &rows, width).chunks_exact(width);
        rows.map(|row| largest(row).map(|(place, _)| place)).collect()
    }

    fn read<'a>(&self, tensor: &'a Buffer, elements: Range<usize>) -> Cow<'a, [f32]> {
        Cow::Borrowed(&tensor.slice()[elements])
    }
}
