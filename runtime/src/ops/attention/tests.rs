use super::{BLOCK_TOKENS, KvSlice, KvSliceMut, Shape, append, forward, output_gate, reference};
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

/// Both element types of the cache.
enum Cache {
    F16([Vec<u16>; 2]),
    F32([Vec<f32>; 2]),
}

impl Case {
    fn new(seed: u64, shape: Shape, context: usize) -> Self {
        let mut numbers = Numbers::new(seed);
        let kv = context * shape.kv_heads * shape.head_dim;
        // Values that f16 holds exactly, so that one truth serves both caches.
        let mut halves = |count| -> Vec<f32> {
            let exact = |x: f32| half::f16::from_f32(x).to_f32();
            numbers.take(count, 2.0).into_iter().map(exact).collect()
        };
        let (k, v) = (halves(kv), halves(kv));
        let q = numbers.take(2 * context * shape.heads * shape.head_dim, 3.0);
        Self { shape, context, q, k, v }
    }

    fn cache(&self, f16: bool) -> Cache {
        let length = self.context.div_ceil(BLOCK_TOKENS) * self.shape.block_len();
        // Slots that were never written hold NaN.
        if f16 {
            Cache::F16([vec![0x7e00; length], vec![0x7e00; length]])
        } else {
            Cache::F32([vec![f32::NAN; length], vec![f32::NAN; length]])
        }
    }

    /// Appends and attends in consecutive calls.
    fn run(&self, cpu: &Cpu, f16: bool, lengths: &[usize]) -> Vec<f32> {
        let Shape { heads, kv_heads, head_dim } = self.shape;
        let mut cache = self.cache(f16);
        let mut all = Vec::new();
        let mut first = 0;
        for &tokens in lengths {
            let rows = first * kv_heads * head_dim..(first + tokens) * kv_heads * head_dim;
            let (k, v) = (&self.k[rows.clone()], &self.v[rows]);
            let (to_k, to_v) = match &mut cache {
                Cache::F16([k, v]) => (KvSliceMut::F16(k), KvSliceMut::F16(v)),
                Cache::F32([k, v]) => (KvSliceMut::F32(k), KvSliceMut::F32(v)),
            };
            append(cpu, &self.shape, first, tokens, k, v, to_k, to_v);
            let (k, v) = match &cache {
                Cache::F16([k, v]) => (KvSlice::F16(k), KvSlice::F16(v)),
                Cache::F32([k, v]) => (KvSlice::F32(k), KvSlice::F32(v)),
            };
            let layout = Heads::interleaved(tokens, heads, head_dim);
            let q = &self.q[first * layout.token_stride..(first + tokens) * layout.token_stride];
            let mut out = Guarded::nan(tokens * heads * head_dim);
            let bytes = self.shape.workspace(cpu.pool.threads());
            let mut workspace = Guarded::nan(bytes.0 as usize / 4);
            forward(cpu, &self.shape, first, tokens, q, layout, k, v, out.slice(), workspace.slice());
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
            for f16 in [true, false] {
                assert_close(&case.run(&cpu, f16, &[context]), &truth, TOLERANCE, "prefill");
            }
            assert_close(&case.run(&cpu, true, &vec![1; context]), &truth, TOLERANCE, "token by token");
        }
    }
}

#[test]
fn any_chunking_and_any_number_of_threads_give_the_same_bits() {
    // Over a span (512 tokens), so that spans are merged.
    let case = Case::new(20, shape(4, 2, 32), 1100);
    let mut last: Option<(InstructionSet, Vec<f32>)> = None;
    for cpu in every_cpu() {
        let whole = case.run(&cpu, true, &[1100]);
        assert!(whole == case.run(&cpu, true, &[256, 256, 1, 2, 63, 510, 12]), "{cpu:?}: chunks");
        assert!(whole == case.run(&cpu, false, &[1100]), "{cpu:?}: f32 cache");
        if let Some((isa, other)) = &last
            && *isa == cpu.isa
        {
            assert!(whole == *other, "{isa:?} with other threads");
        } else {
            assert!(whole == case.run(&cpu, true, &[1; 1100]), "{cpu:?}: token by token");
            assert_close(&whole, &case.truth(), TOLERANCE, "long context");
        }
        last = Some((cpu.isa, whole));
    }
}

#[test]
fn more_spans_than_a_wave_and_few_tokens() {
    let case = Case::new(21, shape(2, 1, 16), 64 * 8 * 9 + 3);
    let truth = case.truth();
    let split = [case.context - 2, 2];
    for cpu in every_cpu() {
        assert_close(&case.run(&cpu, true, &split), &truth, TOLERANCE, "ten spans");
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let mut case = Case::new(22, shape(2, 1, 64), 80);
    case.q.iter_mut().for_each(|q| *q *= 300.0);
    let truth = case.truth();
    for cpu in every_cpu() {
        // Scores of some thousands keep fewer digits after the point.
        assert_close(&case.run(&cpu, true, &[80]), &truth, 2e-3, "large scores");
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
        let values = threads * 32 * (3 * 256 + 68) + 4 * 9 * 16 * 258;
        assert_eq!(shape.workspace(threads).0, 4 * values as u64);
    }
}
