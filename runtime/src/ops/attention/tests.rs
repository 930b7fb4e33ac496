use super::KvCacheType::{F16, F32, Int8};
use super::{
    BLOCK_TOKENS, CacheLayer, KvCacheType, KvSlice, KvSliceMut, Shape, append, forward, output_gate,
    reference,
};
use crate::backend::cpu::{Cpu, InstructionSet};
use crate::ops::Heads;
use crate::ops::testing::{Guarded, Numbers, assert_close, every_cpu};

/// Softmax in f32 over up to some hundred terms, relative to the largest output.
const TOLERANCE: f64 = 3e-6;

const fn shape(heads: usize, kv_heads: usize, head_dim: usize) -> Shape {
    Shape { heads, kv_heads, head_dim }
}

struct Case {
    shape: Shape,
    context: usize,
    /// Interleaved with something that is not a query.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

/// The layer under test; those beside it are never written.
const LAYER: CacheLayer = CacheLayer { place: 1, layers: 3 };

/// Keys and values in each element type of the cache.
enum Cache {
    F16(Vec<u16>),
    F32(Vec<f32>),
    Int8(Vec<i8>),
}

impl Cache {
    /// Whole blocks for `context` tokens, none of which was ever written: all NaN, the scales of bytes, too.
    fn new(shape: &Shape, context: usize, element: KvCacheType) -> Self {
        let bytes = context.div_ceil(BLOCK_TOKENS) as u64 * shape.cache_block_bytes(element, LAYER.layers);
        let length = (bytes / element.width()) as usize;
        match element {
            F16 => Cache::F16(vec![0x7e00; length]),
            F32 => Cache::F32(vec![f32::NAN; length]),
            Int8 => Cache::Int8(vec![-1; length]),
        }
    }

    fn writable(&mut self) -> KvSliceMut<'_> {
        match self {
            Cache::F16(cache) => KvSliceMut::F16(cache),
            Cache::F32(cache) => KvSliceMut::F32(cache),
            Cache::Int8(cache) => KvSliceMut::Int8(cache),
        }
    }

    fn readable(&self) -> KvSlice<'_> {
        match self {
            Cache::F16(cache) => KvSlice::F16(cache),
            Cache::F32(cache) => KvSlice::F32(cache),
            Cache::Int8(cache) => KvSlice::Int8(cache),
        }
    }
}

impl Case {
    fn new(seed: u64, shape: Shape, context: usize) -> Self {
        let mut numbers = Numbers::new(seed);
        let vectors = context * shape.kv_heads;
        // Values that every element type holds exactly, so that one truth serves all: whole steps of a power of two, with 127
        // of them somewhere in each vector.
        let mut exact = || -> Vec<f32> {
            let mut values = numbers.take(vectors * shape.head_dim, 127.0);
            for (index, vector) in values.chunks_exact_mut(shape.head_dim).enumerate() {
                vector[index % shape.head_dim] = if index % 3 == 0 { -127.0 } else { 127.0 };
                let step = 2f32.powi(-6 - (index % 4) as i32);
                vector.iter_mut().for_each(|value| *value = value.round() * step);
            }
            values
        };
        let (k, v) = (exact(), exact());
        let q = numbers.take(2 * context * shape.heads * shape.head_dim, 3.0);
        Self { shape, context, q, k, v }
    }

    /// Keys and values that no element type but f32 holds exactly.
    fn inexact(seed: u64, shape: Shape, context: usize) -> Self {
        let mut numbers = Numbers::new(seed);
        let kv = context * shape.kv_heads * shape.head_dim;
        let (k, v) = (numbers.take(kv, 2.0), numbers.take(kv, 2.0));
        let q = numbers.take(2 * context * shape.heads * shape.head_dim, 3.0);
        Self { shape, context, q, k, v }
    }

    /// Appends and attends in consecutive calls.
    fn run(&self, cpu: &Cpu, element: KvCacheType, lengths: &[usize]) -> Vec<f32> {
        let Shape { heads, kv_heads, head_dim } = self.shape;
        let mut cache = Cache::new(&self.shape, self.context, element);
        let mut all = Vec::new();
        let mut first = 0;
        for &tokens in lengths {
            let rows = first * kv_heads * head_dim..(first + tokens) * kv_heads * head_dim;
            let (k, v) = (&self.k[rows.clone()], &self.v[rows]);
            append(cpu, &self.shape, first, tokens, k, v, cache.writable(), LAYER);
            let layout = Heads::interleaved(tokens, heads, head_dim);
            let q = &self.q[first * layout.token_stride..(first + tokens) * layout.token_stride];
            let mut out = Guarded::nan(tokens * heads * head_dim);
            let bytes = self.shape.workspace(cpu.pool.threads());
            let mut workspace = Guarded::nan(bytes.0 as usize / 4);
            let (cache, shape) = (cache.readable(), &self.shape);
            forward(cpu, shape, first, tokens, q, layout, cache, LAYER, out.slice(), workspace.slice());
            workspace.take();
            all.extend(out.take());
            first += tokens;
        }
        all
    }

    fn truth(&self) -> Vec<f64> {
        let Shape { kv_heads, head_dim, heads } = self.shape;
        let layout = Heads::interleaved(self.context, heads, head_dim);
        let one_head = |values: &[f32], head: usize| -> Vec<f32> {
            values.chunks_exact(head_dim).skip(head).step_by(kv_heads).flatten().copied().collect()
        };
        let k: Vec<_> = (0..kv_heads).map(|head| one_head(&self.k, head)).collect();
        let v: Vec<_> = (0..kv_heads).map(|head| one_head(&self.v, head)).collect();
        let mut out = Vec::new();
        for token in 0..self.context {
            for head in 0..heads {
                let kv = head / self.shape.group();
                let seen = (token + 1) * head_dim;
                out.extend(reference::attend(
                    &self.q[layout.range(token, head)],
                    &k[kv][..seen],
                    &v[kv][..seen],
                ));
            }
        }
        out
    }
}

#[test]
fn agrees_with_the_reference() {
    for (seed, (shape, context)) in [
        (shape(1, 1, 16), 1),
        (shape(4, 2, 32), 63),
        (shape(4, 1, 48), 64),
        (shape(6, 2, 80), 65),
        (shape(8, 2, 128), 100),
        (shape(16, 4, 256), 130),
        (shape(5, 1, 96), 200),
        (shape(40, 1, 16), 70),
    ]
    .into_iter()
    .enumerate()
    {
        let case = Case::new(seed as u64, shape, context);
        let truth = case.truth();
        for cpu in every_cpu() {
            for element in [F16, F32, Int8] {
                assert_close(&case.run(&cpu, element, &[context]), &truth, TOLERANCE, "prefill");
            }
            for element in [F16, Int8] {
                assert_close(
                    &case.run(&cpu, element, &vec![1; context]),
                    &truth,
                    TOLERANCE,
                    "token by token",
                );
            }
        }
    }
}

#[test]
fn any_chunking_and_any_number_of_threads_give_the_same_bits() {
    // Over a span (512 tokens), so that spans are merged.
    let case = Case::new(20, shape(4, 2, 32), 1100);
    let mut last: Option<(InstructionSet, Vec<f32>)> = None;
    for cpu in every_cpu() {
        let whole = case.run(&cpu, F16, &[1100]);
        assert!(whole == case.run(&cpu, F16, &[256, 256, 1, 2, 63, 510, 12]), "{cpu:?}: chunks");
        assert!(whole == case.run(&cpu, F32, &[1100]), "{cpu:?}: f32 cache");
        // Scales that are powers of two multiply without rounding, before a sum or behind it.
        assert!(whole == case.run(&cpu, Int8, &[1100]), "{cpu:?}: int8 cache");
        if let Some((isa, other)) = &last
            && *isa == cpu.isa
        {
            assert!(whole == *other, "{isa:?} with other threads");
        } else {
            assert!(whole == case.run(&cpu, F16, &[1; 1100]), "{cpu:?}: token by token");
            assert_close(&whole, &case.truth(), TOLERANCE, "long context");
        }
        last = Some((cpu.isa, whole));
    }
}

#[test]
fn any_chunking_of_inexact_bytes_gives_the_same_bits() {
    let case = Case::inexact(23, shape(6, 2, 48), 700);
    let mut last: Option<(InstructionSet, Vec<f32>)> = None;
    for cpu in every_cpu() {
        let whole = case.run(&cpu, Int8, &[700]);
        assert!(whole == case.run(&cpu, Int8, &[256, 1, 2, 63, 256, 110, 12]), "{cpu:?}: chunks");
        if let Some((isa, other)) = &last
            && *isa == cpu.isa
        {
            assert!(whole == *other, "{isa:?} with other threads");
        } else {
            assert!(whole == case.run(&cpu, Int8, &[1; 700]), "{cpu:?}: token by token");
        }
        last = Some((cpu.isa, whole));
    }
}

/// What int8 may cost an output, relative to the largest value: a value is off by `s / 2` at most, and a score by `d`, the sum over the
/// head of `|q| s / 2` over its root. Each weight is then right to a factor of `exp(2 d)`, so that the weights' errors add up to
/// `exp(2 d) - 1` at most.
fn int8_bound(q: &[f32], largest_key: f32, largest_value: f32) -> f64 {
    let half_step = |largest: f32| f64::from(largest) / 127.0 / 2.0;
    let sum: f64 = q.iter().map(|q| f64::from(q.abs())).sum();
    let score = sum * half_step(largest_key) / (q.len() as f64).sqrt();
    half_step(largest_value) + ((2.0 * score).exp() - 1.0) * f64::from(largest_value)
}

#[test]
fn bytes_cost_no_more_than_their_bound() {
    for (seed, (shape, context)) in
        [(shape(1, 1, 16), 1), (shape(4, 2, 32), 65), (shape(8, 2, 128), 200), (shape(16, 4, 256), 130)]
            .into_iter()
            .enumerate()
    {
        let case = Case::inexact(40 + seed as u64, shape, context);
        let truth = case.truth();
        let layout = Heads::interleaved(context, shape.heads, shape.head_dim);
        let largest = |values: &[f32]| values.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        for cpu in every_cpu() {
            let found = case.run(&cpu, Int8, &[context]);
            let rows = found.chunks_exact(shape.head_dim).zip(truth.chunks_exact(shape.head_dim));
            let mut errors = 0.0;
            for (row, (found, truth)) in rows.enumerate() {
                let q = &case.q[layout.range(row / shape.heads, row % shape.heads)];
                let bound = int8_bound(q, largest(&case.k), largest(&case.v));
                for (found, truth) in found.iter().zip(truth) {
                    let error = (f64::from(*found) - truth).abs();
                    assert!(error <= bound, "{shape:?}, {cpu:?}: off by {error:.2e}, bound {bound:.2e}");
                    errors += error * error;
                }
            }
            let size: f64 = truth.iter().map(|value| value * value).sum();
            // Errors of either sign even out: 0.4 to 0.65 % of the outputs is what was found, far below the bound.
            let relative = (errors / size).sqrt();
            assert!(relative < 0.01, "{shape:?}, {cpu:?}: {relative:.2e} of the outputs");
        }
    }
}

#[test]
fn what_is_appended_as_bytes_comes_back_within_half_a_step() {
    let case = Case::inexact(24, shape(4, 2, 48), 100);
    let Shape { kv_heads, head_dim, .. } = case.shape;
    let head_block = BLOCK_TOKENS * (head_dim + 4);
    // Keys, and values, of one layer.
    let block_bytes = kv_heads * head_block;
    let written = |cpu: &Cpu, lengths: &[usize]| {
        let mut cache = Cache::new(&case.shape, case.context, Int8);
        let mut first = 0;
        for &tokens in lengths {
            let rows = first * kv_heads * head_dim..(first + tokens) * kv_heads * head_dim;
            let (k, v) = (&case.k[rows.clone()], &case.v[rows]);
            append(cpu, &case.shape, first, tokens, k, v, cache.writable(), LAYER);
            first += tokens;
        }
        let Cache::Int8(bytes) = cache else { unreachable!() };
        bytes
    };
    let mut first = None;
    for cpu in every_cpu() {
        let cache = written(&cpu, &[case.context]);
        assert!(cache == written(&cpu, &[1, 63, 2, 34]), "{cpu:?}: in pieces");
        for (part, bytes) in cache.chunks_exact(block_bytes).enumerate() {
            let is_own = part / 2 % LAYER.layers == LAYER.place;
            assert!(is_own || bytes.iter().all(|byte| *byte == -1), "{cpu:?}: of another layer, part {part}");
        }
        for (what, of_two, values) in [("K", 0, &case.k), ("V", 1, &case.v)] {
            for (vector, values) in values.chunks_exact(head_dim).enumerate() {
                let (token, head) = (vector / kv_heads, vector % kv_heads);
                let (block, slot) = (token / BLOCK_TOKENS, token % BLOCK_TOKENS);
                let part = (block * LAYER.layers + LAYER.place) * 2 + of_two;
                let bytes = &cache[part * block_bytes + head * head_block..][..head_block];
                let scale = bytes[BLOCK_TOKENS * head_dim + 4 * slot..][..4].iter().map(|byte| *byte as u8);
                let scale = f32::from_ne_bytes(scale.collect::<Vec<_>>().try_into().unwrap());
                let largest = values.iter().fold(0f32, |largest, x| largest.max(x.abs()));
                assert_eq!(scale, largest / 127.0, "{what}, token {token}, head {head}");
                for (i, value) in values.iter().enumerate() {
                    let at = if what == "K" { i * BLOCK_TOKENS + slot } else { slot * head_dim + i };
                    let error = (f32::from(bytes[at]) * scale - value).abs();
                    assert!(
                        error <= 0.5001 * scale,
                        "{what}, token {token}, head {head}, value {i}: {error}"
                    );
                }
            }
        }
        let first = first.get_or_insert_with(|| cache.clone());
        assert!(*first == cache, "{cpu:?} writes other bytes");
    }
}

#[test]
fn zeros_stay_zeros_and_what_is_no_number_stays_none() {
    let cpu = Cpu::new(1).unwrap();
    let mut case = Case::inexact(25, shape(1, 1, 16), 2);
    case.v.fill(0.0);
    case.k[16..].fill(1e-42);
    assert!(case.run(&cpu, Int8, &[2]).iter().all(|value| *value == 0.0));
    for lost in [f32::NAN, f32::INFINITY] {
        for keys in [true, false] {
            let mut case = Case::inexact(26, shape(1, 1, 16), 2);
            let values = if keys { &mut case.k } else { &mut case.v };
            values[19] = lost;
            let out = case.run(&cpu, Int8, &[1, 1]);
            assert!(out[..16].iter().all(|value| value.is_finite()), "{lost}, {keys}");
            assert!(out[16..].iter().all(|value| value.is_nan()), "{lost}, {keys}: {out:?}");
        }
    }
}

#[test]
fn bytes_of_a_block_are_the_stated_formula() {
    // Qwen3.5-4B: 4 KV heads of 256.
    let shape = shape(16, 4, 256);
    assert_eq!(shape.block_bytes(F32), 4 * 64 * 4 * 256);
    assert_eq!(shape.block_bytes(F16), 4 * 64 * 2 * 256);
    assert_eq!(shape.block_bytes(Int8), 4 * 64 * (256 + 4));
    // Its 8 attention layers: 2 MiB every 64 tokens, exactly a page of a GPU.
    assert_eq!(shape.cache_block_bytes(F16, 8), 2 << 20);
    let third = CacheLayer { place: 2, layers: 8 };
    assert_eq!((third.keys(&shape, F16), third.values(&shape, F16)), (2 << 18, 5 << 17));
}

#[test]
fn more_spans_than_a_wave_and_few_tokens() {
    let case = Case::new(21, shape(2, 1, 16), 64 * 8 * 9 + 3);
    let truth = case.truth();
    let split = [case.context - 2, 2];
    for cpu in every_cpu() {
        assert_close(&case.run(&cpu, F16, &split), &truth, TOLERANCE, "ten spans");
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let mut case = Case::new(22, shape(2, 1, 64), 80);
    case.q.iter_mut().for_each(|q| *q *= 300.0);
    let truth = case.truth();
    for cpu in every_cpu() {
        // Scores of some thousands keep fewer digits after the point.
        assert_close(&case.run(&cpu, F16, &[80]), &truth, 2e-3, "large scores");
    }
}

#[test]
fn output_gate_is_a_sigmoid() {
    let cpu = Cpu::new(1).unwrap();
    let mut out = [2.0f32, 4.0];
    output_gate(&cpu, &mut out, &[0.0, f32::INFINITY], Heads::packed(1, 1, 2));
    assert_eq!(out, [1.0, 4.0]);
}

#[test]
fn workspace_is_the_stated_formula() {
    // Qwen3.5-4B: 32 rows a tile, 16 rows a wave.
    let shape = shape(16, 4, 256);
    for threads in [1, 2, 8] {
        let values = threads * 32 * (3 * 256 + 69) + 4 * 9 * 16 * 258;
        assert_eq!(shape.workspace(threads).0, 4 * values as u64);
    }
}
