//! What mixes tokens: attention, the convolution and the gated delta rule.

use super::super::kernel_set::{Kernel, PREPARE_SHARED, SCAN_SHARED, attend_shared};
use super::super::launch::{Argument, Program, StepKind};
use super::super::memory::Address;
use super::super::op::Op;
use super::Gpu;
use super::row::{self, THREADS};
use crate::backend::cuda::scratch::{CHUNKED, Parts, delta_scratch};
use crate::ops::Heads;
use crate::ops::attention::KvCacheType;
use crate::ops::gated_delta_rule::Shape as DeltaShape;

/// The most tokens of which each is attended to by itself.
const FEW: u32 = 8;
/// Teams of four warps that a multiprocessor has for attention at a time.
const TEAMS: u32 = 2;
/// Queries and heads of a group that `attend_many` has in a block.
const ROWS: u32 = 64;
/// Tokens of a chunk of the delta rule, and values of a head that it is written for.
const CHUNK: u32 = 64;
const HEAD: usize = 128;

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct View {
    x: Address,
    weight: Address,
    cache: Address,
    heads: u32,
    token_stride: u32,
    head_stride: u32,
    keys: u32,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct HeadViews {
    views: [View; 3],
    cos: Address,
    sin: Address,
    first: Address,
    count: u32,
    tokens: u32,
    width: u32,
    rotary: u32,
    block_stride: u32,
    cache: u32,
    eps: f32,
    padding: u32,
}

// SAFETY: addresses and numbers; its padding has names.
unsafe impl Argument for HeadViews {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Attend {
    queries: Address,
    keys: Address,
    values: Address,
    gate: Address,
    out: Address,
    partial: Address,
    first: Address,
    tokens: u32,
    heads: u32,
    block_stride: u32,
    group: u32,
    token_stride: u32,
    head_stride: u32,
    cache: u32,
    splits: u32,
    dim: u32,
    rows: u32,
    prepare: Prepare,
}

/// What a kernel needs that norms and turns queries and keys itself; nothing where that has been done.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Prepare {
    query_norm: Address,
    key_norm: Address,
    cos: Address,
    sin: Address,
    new_keys: Address,
    new_values: Address,
    rotary: u32,
    eps: f32,
}

// SAFETY: as above.
unsafe impl Argument for Attend {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    x: Address,
    gate: Address,
    heads: u32,
    width: u32,
    token_stride: u32,
    head_stride: u32,
}

// SAFETY: as above.
unsafe impl Argument for Gate {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Convolution {
    x: Address,
    weights: Address,
    window: Address,
    channels: u32,
    tokens: u32,
    taps: u32,
    undecided: u32,
}

// SAFETY: as above.
unsafe impl Argument for Convolution {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Split {
    x: Address,
    weights: Address,
    window: Address,
    queries: Address,
    keys: Address,
    values: Address,
    key_heads: u32,
    value_heads: u32,
    tokens: u32,
    eps: f32,
}

// SAFETY: as above.
unsafe impl Argument for Split {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Gates {
    a: Address,
    b: Address,
    negated_decay: Address,
    dt_bias: Address,
    heads: u32,
    count: u32,
}

// SAFETY: as above.
unsafe impl Argument for Gates {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Recurrence {
    qkv: Address,
    decay: Address,
    beta: Address,
    state: Address,
    log: Address,
    out: Address,
    tokens: u32,
    key_heads: u32,
    value_heads: u32,
    key_dim: u32,
    value_dim: u32,
    early: u32,
}

// SAFETY: as above.
unsafe impl Argument for Recurrence {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Chunks {
    queries: Address,
    keys: Address,
    values: Address,
    decay: Address,
    beta: Address,
    w: Address,
    u: Address,
    m: Address,
    sums: Address,
    state: Address,
    out: Address,
    tokens: u32,
    key_heads: u32,
    value_heads: u32,
    padding: u32,
}

// SAFETY: as above.
unsafe impl Argument for Chunks {}

/// The kernel for few tokens: `rows` queries of a KV head at a time.
fn few_of(cache: KvCacheType, dim: u32, rows: u32) -> Kernel {
    use KvCacheType::{F16, F32, Int8};
    match (cache, dim, rows) {
        (F16, 64, 2) => Kernel::AttendFewF16Of64By2,
        (F16, 64, _) => Kernel::AttendFewF16Of64By4,
        (F16, 128, 2) => Kernel::AttendFewF16Of128By2,
        (F16, 128, _) => Kernel::AttendFewF16Of128By4,
        (F16, _, 2) => Kernel::AttendFewF16Of256By2,
        (F16, _, _) => Kernel::AttendFewF16Of256By4,
        (F32, 64, 2) => Kernel::AttendFewF32Of64By2,
        (F32, 64, _) => Kernel::AttendFewF32Of64By4,
        (F32, 128, 2) => Kernel::AttendFewF32Of128By2,
        (F32, 128, _) => Kernel::AttendFewF32Of128By4,
        (F32, _, 2) => Kernel::AttendFewF32Of256By2,
        (F32, _, _) => Kernel::AttendFewF32Of256By4,
        (Int8, 64, 2) => Kernel::AttendFewInt8Of64By2,
        (Int8, 64, _) => Kernel::AttendFewInt8Of64By4,
        (Int8, 128, 2) => Kernel::AttendFewInt8Of128By2,
        (Int8, 128, _) => Kernel::AttendFewInt8Of128By4,
        (Int8, _, 2) => Kernel::AttendFewInt8Of256By2,
        (Int8, _, _) => Kernel::AttendFewInt8Of256By4,
    }
}

/// The persistent kernel that attends to such a cache, if there is one.
fn persistent_of(cache: KvCacheType, dim: u32) -> Option<Kernel> {
    match (cache, dim) {
        (KvCacheType::F16, 128) => Some(Kernel::PersistentF16Of128),
        (KvCacheType::F16, 256) => Some(Kernel::PersistentF16Of256),
        (KvCacheType::Int8, 128) => Some(Kernel::PersistentInt8Of128),
        (KvCacheType::Int8, 256) => Some(Kernel::PersistentInt8Of256),
        _ => None,
    }
}

/// The number of a cache type in `ops/attention/kernel.cu`.
fn number_of(cache: KvCacheType) -> u32 {
    match cache {
        KvCacheType::F16 => 0,
        KvCacheType::F32 => 1,
        KvCacheType::Int8 => 2,
    }
}

/// Norms and rotations of heads, of queries and keys together where they follow each other, on to the caches, and of a single token
/// into attention itself.
pub(super) fn heads<'a>(ops: &'a [Op], gpu: Gpu, program: &mut Program) -> &'a [Op] {
    let (mut views, used) = match *ops {
        [
            Op::NormHeads { x: q, heads: of_q, weight: q_weight, eps },
            Op::NormHeads { x: k, heads: of_k, weight: k_weight, eps: of_keys },
            Op::Rope { x: q_turned, heads: turned_q, rotary, cos, sin },
            Op::Rope { x: k_turned, heads: turned_k, rotary: k_rotary, cos: k_cos, sin: k_sin },
            ..,
        ] if (q, k, of_q, of_k) == (q_turned, k_turned, turned_q, turned_k)
            && (rotary, cos, sin) == (k_rotary, k_cos, k_sin)
            && eps == of_keys
            && (of_q.tokens, of_q.width) == (of_k.tokens, of_k.width) =>
        {
            let views = [view(q, q_weight, of_q), view(k, k_weight, of_k), View::default()];
            let (tokens, width) = (of_q.tokens as u32, of_q.width as u32);
            (HeadViews { views, cos, sin, count: 2, tokens, width, rotary, eps, ..HeadViews::default() }, 4)
        }
        [Op::NormHeads { x, heads, weight, eps }, ..] => {
            let views = [view(x, weight, heads), View::default(), View::default()];
            let (tokens, width) = (heads.tokens as u32, heads.width as u32);
            (HeadViews { views, count: 1, tokens, width, eps, ..HeadViews::default() }, 1)
        }
        [Op::Rope { x, heads, rotary, cos, sin }, ..] => {
            let views = [view(x, 0, heads), View::default(), View::default()];
            let (tokens, width) = (heads.tokens as u32, heads.width as u32);
            (HeadViews { views, cos, sin, count: 1, tokens, width, rotary, ..HeadViews::default() }, 1)
        }
        _ => unreachable!("called for heads"),
    };
    let rest = &ops[used..];
    let [queries, keys, _] = views.views;
    // Keys that have just been turned, of all tokens of the pass, and their values.
    let rest = match *rest {
        [
            Op::AppendKv {
                shape,
                cache,
                first,
                tokens,
                keys: x,
                values,
                key_cache,
                value_cache,
                block_stride,
            },
            ref others @ ..,
        ] if views.count == 2
            && x == keys.x
            && tokens == views.tokens
            && (keys.heads, views.width) == (shape.kv_heads as u32, shape.head_dim as u32)
            && keys.token_stride == keys.heads * keys.head_stride =>
        {
            // Of a single token, attention does it all: nobody else reads its queries.
            if let [Op::Attention { queries: read, keys: of_keys, values: of_values, tokens: 1, .. }, ..] =
                others
                && (*read, *of_keys, *of_values) == (queries.x, key_cache, value_cache)
                && tokens == 1
            {
                let prepare = Prepare {
                    query_norm: queries.weight,
                    key_norm: keys.weight,
                    cos: views.cos,
                    sin: views.sin,
                    new_keys: x,
                    new_values: values,
                    rotary: views.rotary,
                    eps: views.eps,
                };
                return attend(others, prepare, gpu, program);
            }
            let packed = Heads::packed(tokens as usize, shape.kv_heads, shape.head_dim);
            let values = View { cache: value_cache, ..view(values, 0, packed) };
            views.views = [queries, View { cache: key_cache, keys: 1, ..keys }, values];
            (views.count, views.first) = (3, first);
            (views.block_stride, views.cache) = (block_stride, number_of(cache));
            others
        }
        _ => rest,
    };
    add_heads(views, program);
    rest
}

fn view(x: Address, weight: Address, heads: Heads) -> View {
    View {
        x,
        weight,
        cache: 0,
        heads: heads.heads as u32,
        token_stride: heads.token_stride as u32,
        head_stride: heads.head_stride as u32,
        keys: 0,
    }
}

fn add_heads(views: HeadViews, program: &mut Program) {
    /// Heads of a block, one a warp.
    const TOGETHER: u32 = 4;
    let heads: u32 = views.views.iter().take(views.count as usize).map(|view| view.heads).sum();
    let blocks = (views.tokens * heads).div_ceil(TOGETHER);
    program.add(Kernel::Heads, [blocks, 1, 1], TOGETHER * 32, 0).with(views);
}

/// Attention, with the gate of its output where that is next.
pub(super) fn attention<'a>(ops: &'a [Op], gpu: Gpu, program: &mut Program) -> &'a [Op] {
    attend(ops, Prepare::default(), gpu, program)
}

fn attend<'a>(ops: &'a [Op], prepare: Prepare, gpu: Gpu, program: &mut Program) -> &'a [Op] {
    let [
        Op::Attention {
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
        },
        rest @ ..,
    ] = ops
    else {
        unreachable!("called for attention")
    };
    let (gate, rest) = match rest {
        [Op::OutputGate { x, gate, heads: gated }, others @ ..]
            if x == out && gated.tokens == *tokens as usize && gated.token_stride == heads.token_stride =>
        {
            (*gate, others)
        }
        _ => (0, rest),
    };
    let (group, kv_heads, dim) = (shape.group() as u32, shape.kv_heads as u32, shape.head_dim as u32);
    let mut attend = Attend {
        queries: *queries,
        keys: *keys,
        values: *values,
        gate,
        out: *out,
        partial: *scratch,
        first: *first,
        tokens: *tokens,
        heads: shape.heads as u32,
        block_stride: *block_stride,
        group,
        token_stride: heads.token_stride as u32,
        head_stride: heads.head_stride as u32,
        cache: number_of(*cache),
        splits: 1,
        dim,
        rows: 0,
        prepare,
    };
    if *tokens <= FEW || group > ROWS {
        let persistent = persistent_of(*cache, dim).filter(|_| *tokens == 1);
        let parts = match persistent {
            Some(_) => Parts::of_one(shape),
            None => Parts::of_few(shape),
        };
        // A block of the cache each, where the GPU and the scratch memory have room for so many.
        let fill = (TEAMS * gpu.processors / (parts.across * tokens)).max(1);
        attend.splits = (*blocks).min(fill).min(parts.splits(*tokens, *room));
        attend.rows = parts.rows;
        match persistent {
            Some(kernel) => program.add_step(kernel, StepKind::Attend, attend, gpu.processors),
            None => {
                let kernel = few_of(*cache, dim, parts.rows);
                program.add(kernel, [attend.splits, parts.across, *tokens], 128, 0).with(attend);
            }
        }
        if attend.splits > 1 {
            /// Parts of 32 values of a block, one a warp.
            const TOGETHER: u32 = 4;
            let merged = tokens * attend.heads * (dim / 32);
            program
                .add(Kernel::AttendMerge, [merged.div_ceil(TOGETHER), 1, 1], TOGETHER * 32, 0)
                .with(attend);
        }
    } else {
        let kernel = match dim {
            64 => Kernel::AttendMany64,
            128 => Kernel::AttendMany128,
            _ => Kernel::AttendMany256,
        };
        let grid = [tokens.div_ceil(ROWS / group), kv_heads, 1];
        program.add(kernel, grid, 128, attend_shared(dim)).with(attend);
    }
    rest
}

/// A convolution; for many tokens that the delta rule reads next, both in chunks.
pub(super) fn convolution<'a>(ops: &'a [Op], written: &mut Vec<Address>, program: &mut Program) -> &'a [Op] {
    let [Op::Convolve { channels, tokens, undecided, taps, kernel, x, window }, rest @ ..] = ops else {
        unreachable!("called for a convolution")
    };
    if let (
        [Op::Delta { shape, tokens: same, qkv, decay, beta, state, log: 0, out, scratch }, others @ ..],
        4,
    ) = (rest, *kernel)
        && !undecided
        && (qkv, same) == (x, tokens)
        && *tokens >= CHUNKED
        && (shape.key_dim, shape.value_dim) == (HEAD, HEAD)
    {
        written.push(*state);
        let parts = delta_scratch(shape, *tokens as usize);
        let at = |part: usize| scratch + parts[part].0;
        let (key_heads, value_heads) = (shape.key_heads as u32, shape.value_heads as u32);
        let split = Split {
            x: *x,
            weights: *taps,
            window: *window,
            queries: at(0),
            keys: at(1),
            values: at(2),
            key_heads,
            value_heads,
            tokens: *tokens,
            eps: 1e-6,
        };
        /// Tokens of a block of the convolution.
        const TOGETHER: u32 = 16;
        let grid = [tokens.div_ceil(TOGETHER), 2 * key_heads + value_heads, 1];
        program.add(Kernel::ConvolveAndSplit, grid, HEAD as u32, 0).with(split);
        program
            .add(Kernel::KeepWindow, [channels.div_ceil(128), 1, 1], 128, 0)
            .with(*x)
            .with(*window)
            .with(*channels)
            .with(kernel - 1)
            .with(*tokens);
        let chunks = Chunks {
            queries: at(0),
            keys: at(1),
            values: at(2),
            decay: *decay,
            beta: *beta,
            w: at(3),
            u: at(4),
            m: at(5),
            sums: at(6),
            state: *state,
            out: *out,
            tokens: *tokens,
            key_heads,
            value_heads,
            padding: 0,
        };
        let grid = [tokens.div_ceil(CHUNK), value_heads, 1];
        program.add(Kernel::DeltaPrepare, grid, 128, PREPARE_SHARED).with(chunks);
        program.add(Kernel::DeltaScan, [value_heads, HEAD as u32 / 32, 1], 128, SCAN_SHARED).with(chunks);
        return others;
    }
    let convolution = Convolution {
        x: *x,
        weights: *taps,
        window: *window,
        channels: *channels,
        tokens: *tokens,
        taps: *kernel,
        undecided: (*undecided).into(),
    };
    program.add(Kernel::CausalConv1d, [channels.div_ceil(128), 1, 1], 128, 0).with(convolution);
    rest
}

/// Operators that nothing joins. `written` are states that the pass has changed: they must not be read before the kernel in front has
/// ended. Passes wait for each other.
pub(super) fn alone(op: &Op, written: &mut Vec<Address>, program: &mut Program) {
    match *op {
        Op::AppendKv { shape, cache, first, tokens, keys, values, key_cache, value_cache, block_stride } => {
            let packed = Heads::packed(tokens as usize, shape.kv_heads, shape.head_dim);
            // No rotation: the angles' width is 0.
            let views = [
                View { cache: key_cache, keys: 1, ..view(keys, 0, packed) },
                View { cache: value_cache, ..view(values, 0, packed) },
                View::default(),
            ];
            let (width, cache) = (shape.head_dim as u32, number_of(cache));
            let views = HeadViews {
                views,
                first,
                count: 2,
                tokens,
                width,
                block_stride,
                cache,
                ..HeadViews::default()
            };
            add_heads(views, program);
        }
        Op::OutputGate { x, gate, heads } => {
            let gate = Gate {
                x,
                gate,
                heads: heads.heads as u32,
                width: heads.width as u32,
                token_stride: heads.token_stride as u32,
                head_stride: heads.head_stride as u32,
            };
            let grid = [heads.tokens as u32, heads.heads as u32, 1];
            program.add(Kernel::OutputGate, grid, 128, 0).with(gate);
        }
        Op::CommitConvolution { channels, kept, tokens, window } => {
            program
                .add(Kernel::CommitConv1d, [channels.div_ceil(128), 1, 1], 128, 0)
                .with(window)
                .with(channels)
                .with(kept)
                .with(tokens);
        }
        Op::DeltaGates { a, b, negated_decay, dt_bias, heads, tokens } => {
            let count = heads * tokens;
            let gates = Gates { a, b, negated_decay, dt_bias, heads, count };
            program.add(Kernel::DeltaGates, [row::blocks(count.into()), 1, 1], THREADS, 0).with(gates);
        }
        Op::Delta { shape, tokens, qkv, decay, beta, state, log, out, .. } => {
            let early = u32::from(!written.contains(&state));
            written.push(state);
            let operands = Recurrence { qkv, decay, beta, state, log, out, early, ..NOTHING };
            let recurrence = recurrence(&shape, tokens, operands);
            program.add(Kernel::DeltaRecurrent, grid_of(&shape), 128, 0).with(recurrence);
        }
        Op::CommitDelta { shape, tokens, log, state } => {
            written.push(state);
            let recurrence = recurrence(&shape, tokens, Recurrence { log, state, ..NOTHING });
            program.add(Kernel::CommitDeltaRule, grid_of(&shape), 128, 0).with(recurrence);
        }
        _ => unreachable!("other operators are lowered elsewhere"),
    }
}

const NOTHING: Recurrence = Recurrence {
    qkv: 0,
    decay: 0,
    beta: 0,
    state: 0,
    log: 0,
    out: 0,
    tokens: 0,
    key_heads: 0,
    value_heads: 0,
    key_dim: 0,
    value_dim: 0,
    early: 0,
};

fn recurrence(shape: &DeltaShape, tokens: u32, operands: Recurrence) -> Recurrence {
    Recurrence {
        tokens,
        key_heads: shape.key_heads as u32,
        value_heads: shape.value_heads as u32,
        key_dim: shape.key_dim as u32,
        value_dim: shape.value_dim as u32,
        ..operands
    }
}

/// A block for each head and 32 columns of its state.
fn grid_of(shape: &DeltaShape) -> [u32; 3] {
    [shape.value_heads as u32, shape.value_dim.div_ceil(32) as u32, 1]
}
