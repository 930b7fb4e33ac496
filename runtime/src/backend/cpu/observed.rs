//! The CPU with somebody who looks on, as a device of its own: the model's code runs on it unchanged. For clocks around operators,
//! and for faults that are planted to see whether they are found.

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;

use ledger::MemoryPlan;

use super::CpuDevice;
use crate::backend::{Backend, DeviceError, NamedWeights};
use crate::engine::EngineLoadError;
use crate::engine_dir::EngineDir;
use crate::memory::{Allocator, Buffer, MemoryError};
use crate::model::operators::{Keep, LayerCache, LogRows, Operators, Projection};
use crate::ops::attention::Shape as AttentionShape;
use crate::ops::gated_delta_rule::Shape as DeltaShape;
use crate::ops::{Heads, Store};
use crate::plan::{RuntimeOptions, Streaming};
use crate::weights::Weight;

/// Somebody who looks on.
pub trait Observer: Debug + Default + Send + Sync + 'static {
    /// Runs `body`, which is one operator of this name.
    fn around<R>(&self, _operator: &'static str, body: impl FnOnce() -> R) -> R {
        body()
    }

    /// A layer's recurrent state has been written: numbers in f32.
    fn state_written(&self, _state: &mut Buffer) {}
}

/// The CPU, and who looks on.
#[derive(Debug)]
pub struct Observed<O> {
    device: CpuDevice,
    observer: O,
}

impl<O: Observer> Observed<O> {
    /// Who looks on.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    fn around<R>(&self, operator: &'static str, body: impl FnOnce(&CpuDevice) -> R) -> R {
        self.observer.around(operator, || body(&self.device))
    }
}

/// Which of a layer's products a call is, by its shape.
fn product(projections: &[Projection<'_, Weight, Buffer>], columns: usize) -> &'static str {
    match projections {
        [one] if one.store == Store::Add && columns > 2 * one.weight.rows() => "down_proj",
        [one] if one.store == Store::Add => "o_proj, out_proj",
        [one] if one.weight.rows() > 16 * columns => "head",
        [gate, up] if gate.weight.rows() == up.weight.rows() => "gate_proj and up_proj",
        [_, _, _] => "q_proj, k_proj and v_proj",
        [_, _, _, _] => "in_proj_qkv, z, b and a",
        _ => "other products",
    }
}

impl<O: Observer> Backend for Observed<O> {
    fn load(
        directory: &EngineDir,
        options: &RuntimeOptions,
        streaming: Option<&Streaming>,
        plan: &MemoryPlan,
        allocator: &Allocator,
    ) -> Result<(Observed<O>, NamedWeights<Observed<O>>), EngineLoadError> {
        let (device, weights) = CpuDevice::load(directory, options, streaming, plan, allocator)?;
        Ok((Observed { device, observer: O::default() }, weights))
    }

    fn first_rows(weight: &Weight, rows: usize) -> Weight {
        CpuDevice::first_rows(weight, rows)
    }

    fn check(&self) -> Result<(), DeviceError> {
        self.device.check()
    }
}

impl<O: Observer> Operators for Observed<O> {
    type Tensor = Buffer;
    type Weight = Weight;

    fn reserve(&self, key: &str) -> Result<Buffer, MemoryError> {
        self.device.reserve(key)
    }

    fn allocate(&self, key: &str) -> Result<Buffer, MemoryError> {
        self.device.allocate(key)
    }

    fn upcoming(&self, weights: &mut dyn Iterator<Item = &Weight>) {
        self.device.upcoming(weights);
    }

    fn embed(&self, table: &Weight, ids: &[u32], out: &mut Buffer) {
        self.around("embed", |device| device.embed(table, ids, out));
    }

    fn rms_norm(&self, x: &Buffer, rows: Range<usize>, weight: &Weight, eps: f32, out: &mut Buffer) {
        self.around("rms_norm", |device| device.rms_norm(x, rows, weight, eps, out));
    }

    fn rms_norm_heads(&self, x: &mut Buffer, heads: Heads, weight: &Weight, eps: f32) {
        self.around("rms_norm", |device| device.rms_norm_heads(x, heads, weight, eps));
    }

    fn rms_norm_gated(&self, x: &mut Buffer, elements: usize, gate: &Buffer, weight: &Weight, eps: f32) {
        self.around("rms_norm", |device| device.rms_norm_gated(x, elements, gate, weight, eps));
    }

    fn linear(
        &self,
        x: &Buffer,
        tokens: usize,
        projections: &mut [Projection<'_, Weight, Buffer>],
        scratch: &mut Buffer,
    ) {
        let columns = projections.first().map_or(0, |projection| projection.weight.columns());
        let name = product(projections, columns);
        self.around(name, |device| device.linear(x, tokens, projections, scratch));
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
        self.around("rope", |device| device.rope_angles(first, rows, rotary_dims, theta, cos, sin));
    }

    fn rope(&self, x: &mut Buffer, heads: Heads, rotary_dims: usize, cos: &Buffer, sin: &Buffer) {
        self.around("rope", |device| device.rope(x, heads, rotary_dims, cos, sin));
    }

    fn append_kv(
        &self,
        shape: &AttentionShape,
        first: usize,
        rows: Range<usize>,
        keys: &Buffer,
        values: &Buffer,
        cache: &mut LayerCache<'_, Buffer>,
    ) {
        self.around("append_kv", |device| device.append_kv(shape, first, rows, keys, values, cache));
    }

    fn attention(
        &self,
        shape: &AttentionShape,
        first: usize,
        rows: Range<usize>,
        queries: &Buffer,
        heads: Heads,
        cache: &LayerCache<'_, Buffer>,
        out: &mut Buffer,
        scratch: &mut Buffer,
    ) {
        self.around("attention", |device| {
            device.attention(shape, first, rows, queries, heads, cache, out, scratch);
        });
    }

    fn output_gate(&self, x: &mut Buffer, gate: &Buffer, gate_offset: usize, gate_heads: Heads) {
        self.around("output_gate", |device| device.output_gate(x, gate, gate_offset, gate_heads));
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
        self.around("causal_conv1d", |device| device.causal_conv1d(channels, rows, keep, taps, x, window));
    }

    fn commit_conv1d(&self, channels: usize, kept: usize, tokens: usize, window: &mut Buffer) {
        self.around("causal_conv1d", |device| device.commit_conv1d(channels, kept, tokens, window));
    }

    fn delta_gates(
        &self,
        tokens: usize,
        a: &mut Buffer,
        b: &mut Buffer,
        negated_decay: &Weight,
        dt_bias: &Weight,
    ) {
        self.around("gated_delta_rule", |device| device.delta_gates(tokens, a, b, negated_decay, dt_bias));
    }

    fn gated_delta_rule(
        &self,
        shape: &DeltaShape,
        rows: Range<usize>,
        qkv: &Buffer,
        decay: &Buffer,
        beta: &Buffer,
        state: &mut Buffer,
        log: Option<LogRows<'_, Buffer>>,
        out: &mut Buffer,
        scratch: &mut Buffer,
    ) {
        self.around("gated_delta_rule", |device| {
            device.gated_delta_rule(shape, rows, qkv, decay, beta, state, log, out, scratch);
        });
        self.observer.state_written(state);
    }

    fn commit_delta_rule(
        &self,
        shape: &DeltaShape,
        log: LogRows<'_, Buffer>,
        tokens: usize,
        state: &mut Buffer,
    ) {
        self.around("gated_delta_rule", |device| device.commit_delta_rule(shape, log, tokens, state));
        self.observer.state_written(state);
    }

    fn swiglu(&self, elements: usize, gate: &mut Buffer, up: &Buffer) {
        self.around("swiglu", |device| device.swiglu(elements, gate, up));
    }

    fn copy_rows(&self, from: &Buffer, rows: Range<usize>, width: usize, to: &mut Buffer, at: usize) {
        self.around("copies", |device| device.copy_rows(from, rows, width, to, at));
    }

    fn gather_rows(&self, x: &mut Buffer, rows: &[usize], width: usize) {
        self.around("copies", |device| device.gather_rows(x, rows, width));
    }

    fn concat_rows(&self, left: &Buffer, right: &Buffer, tokens: usize, width: usize, out: &mut Buffer) {
        self.around("copies", |device| device.concat_rows(left, right, tokens, width, out));
    }

    fn argmax_rows(&self, x: &Buffer, rows: Range<usize>, width: usize) -> Vec<Option<u32>> {
        self.around("argmax", |device| device.argmax_rows(x, rows, width))
    }

    fn read<'a>(&self, tensor: &'a Buffer, elements: Range<usize>) -> Cow<'a, [f32]> {
        self.device.read(tensor, elements)
    }
}
