//! The CPU with a clock around each operator, as a device of its own: the model's code runs on it unchanged.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ledger::MemoryPlan;
use runtime::backend::cpu::CpuDevice;
use runtime::backend::{Backend, DeviceError, NamedWeights};
use runtime::engine::EngineLoadError;
use runtime::engine_dir::EngineDir;
use runtime::memory::{Allocator, Buffer, MemoryError};
use runtime::model::operators::{Keep, LayerCache, LogRows, Operators, Projection};
use runtime::ops::attention::Shape as AttentionShape;
use runtime::ops::gated_delta_rule::Shape as DeltaShape;
use runtime::ops::{Heads, Store};
use runtime::plan::{RuntimeOptions, Streaming};
use runtime::weights::Weight;

/// Time by operator, the largest first.
pub(crate) type Shares = Vec<(&'static str, Duration)>;

/// A CPU that counts where its time goes.
#[derive(Debug)]
pub(crate) struct TimedCpu {
    device: CpuDevice,
    times: Mutex<BTreeMap<&'static str, Duration>>,
}

impl TimedCpu {
    /// What has been counted since it was last asked.
    pub(crate) fn take(&self) -> Shares {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shares: Shares = std::mem::take(&mut *times).into_iter().collect();
        shares.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        shares
    }

    fn time<R>(&self, operator: &'static str, body: impl FnOnce(&CpuDevice) -> R) -> R {
        let start = Instant::now();
        let result = body(&self.device);
        let took = start.elapsed();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        *times.entry(operator).or_default() += took;
        result
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

impl Backend for TimedCpu {
    fn load(
        directory: &EngineDir,
        options: &RuntimeOptions,
        streaming: Option<&Streaming>,
        plan: &MemoryPlan,
        allocator: &Allocator,
    ) -> Result<(TimedCpu, NamedWeights<TimedCpu>), EngineLoadError> {
        let (device, weights) = CpuDevice::load(directory, options, streaming, plan, allocator)?;
        Ok((TimedCpu { device, times: Mutex::default() }, weights))
    }

    fn first_rows(weight: &Weight, rows: usize) -> Weight {
        CpuDevice::first_rows(weight, rows)
    }

    fn check(&self) -> Result<(), DeviceError> {
        self.device.check()
    }
}

impl Operators for TimedCpu {
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
        self.time("embed", |device| device.embed(table, ids, out));
    }

    fn rms_norm(&self, x: &Buffer, rows: Range<usize>, weight: &Weight, eps: f32, out: &mut Buffer) {
        self.time("rms_norm", |device| device.rms_norm(x, rows, weight, eps, out));
    }

    fn rms_norm_heads(&self, x: &mut Buffer, heads: Heads, weight: &Weight, eps: f32) {
        self.time("rms_norm", |device| device.rms_norm_heads(x, heads, weight, eps));
    }

    fn rms_norm_gated(&self, x: &mut Buffer, elements: usize, gate: &Buffer, weight: &Weight, eps: f32) {
        self.time("rms_norm", |device| device.rms_norm_gated(x, elements, gate, weight, eps));
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
        self.time(name, |device| device.linear(x, tokens, projections, scratch));
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
        self.time("rope", |device| device.rope_angles(first, rows, rotary_dims, theta, cos, sin));
    }

    fn rope(&self, x: &mut Buffer, heads: Heads, rotary_dims: usize, cos: &Buffer, sin: &Buffer) {
        self.time("rope", |device| device.rope(x, heads, rotary_dims, cos, sin));
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
        self.time("append_kv", |device| device.append_kv(shape, first, rows, keys, values, cache));
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
        self.time("attention", |device| {
            device.attention(shape, first, rows, queries, heads, cache, out, scratch);
        });
    }

    fn output_gate(&self, x: &mut Buffer, gate: &Buffer, gate_offset: usize, gate_heads: Heads) {
        self.time("output_gate", |device| device.output_gate(x, gate, gate_offset, gate_heads));
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
        self.time("causal_conv1d", |device| device.causal_conv1d(channels, rows, keep, taps, x, window));
    }

    fn commit_conv1d(&self, channels: usize, kept: usize, tokens: usize, window: &mut Buffer) {
        self.time("causal_conv1d", |device| device.commit_conv1d(channels, kept, tokens, window));
    }

    fn delta_gates(
        &self,
        tokens: usize,
        a: &mut Buffer,
        b: &mut Buffer,
        negated_decay: &Weight,
        dt_bias: &Weight,
    ) {
        self.time("gated_delta_rule", |device| device.delta_gates(tokens, a, b, negated_decay, dt_bias));
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
        self.time("gated_delta_rule", |device| {
            device.gated_delta_rule(shape, rows, qkv, decay, beta, state, log, out, scratch);
        });
    }

    fn commit_delta_rule(
        &self,
        shape: &DeltaShape,
        log: LogRows<'_, Buffer>,
        tokens: usize,
        state: &mut Buffer,
    ) {
        self.time("gated_delta_rule", |device| device.commit_delta_rule(shape, log, tokens, state));
    }

    fn swiglu(&self, elements: usize, gate: &mut Buffer, up: &Buffer) {
        self.time("swiglu", |device| device.swiglu(elements, gate, up));
    }

    fn copy_rows(&self, from: &Buffer, rows: Range<usize>, width: usize, to: &mut Buffer, at: usize) {
        self.time("copies", |device| device.copy_rows(from, rows, width, to, at));
    }

    fn gather_rows(&self, x: &mut Buffer, rows: &[usize], width: usize) {
        self.time("copies", |device| device.gather_rows(x, rows, width));
    }

    fn concat_rows(&self, left: &Buffer, right: &Buffer, tokens: usize, width: usize, out: &mut Buffer) {
        self.time("copies", |device| device.concat_rows(left, right, tokens, width, out));
    }

    fn argmax_rows(&self, x: &Buffer, rows: Range<usize>, width: usize) -> Vec<Option<u32>> {
        self.time("argmax", |device| device.argmax_rows(x, rows, width))
    }

    fn read<'a>(&self, tensor: &'a Buffer, elements: Range<usize>) -> Cow<'a, [f32]> {
        self.device.read(tensor, elements)
    }
}
