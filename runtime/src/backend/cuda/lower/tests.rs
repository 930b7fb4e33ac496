//! Which sequences become which kernels: what the conformance suite means to test joined is joined.

use super::super::kernel_set::Kernel;
use super::super::launch::{Step, StepKind};
use super::super::op::{Format, MatrixAt, PROJECTIONS, ProjectionAt};
use super::*;
use crate::ops::Heads;
use crate::ops::attention::{KvCacheType, Shape as AttentionShape};
use crate::ops::gated_delta_rule::Shape as DeltaShape;

const HIDDEN: u32 = 256;
const X: u64 = 0x1000;
const NORMED: u64 = 0x2000;
const SCRATCH: u64 = 0x3000;
const ROOM: u64 = 1 << 30;
const WEIGHT: u64 = 0x4000;
/// Where the outputs of projections are.
const OUT: [u64; 4] = [0x10_0000, 0x20_0000, 0x30_0000, 0x40_0000];

fn kernels(ops: &[Op]) -> Vec<Kernel> {
    let mut program = Program::default();
    lower(ops, Gpu { processors: 16 }, &mut program).unwrap();
    program.launches.iter().map(|launch| launch.kernel).collect()
}

/// The steps of persistent kernels.
fn steps(ops: &[Op]) -> Vec<Step> {
    let mut program = Program::default();
    lower(ops, Gpu { processors: 16 }, &mut program).unwrap();
    program.steps
}

fn norm(tokens: u32) -> Op {
    Op::RmsNorm { x: X, rows: tokens, weight: WEIGHT, width: HIDDEN, eps: 1e-6, out: NORMED }
}

fn linear(x: u64, tokens: u32, columns: u32, outputs: &[(u32, Format)]) -> Op {
    let mut projections = [None; PROJECTIONS];
    for (index, (rows, format)) in outputs.iter().enumerate() {
        let (rows, format) = (*rows, *format);
        let matrix = MatrixAt {
            values: WEIGHT,
            scales: WEIGHT,
            zeros: 0,
            rows,
            columns,
            format,
            group_size: 128,
            bf16_scales: false,
        };
        projections[index] = Some(ProjectionAt { matrix, out: OUT[index], stride: rows, add: false });
    }
    Op::Linear { x, tokens, columns, projections, scratch: SCRATCH, room: ROOM }
}

#[test]
fn a_norm_joins_the_projections_that_read_it() {
    let projections = [(512, Format::Int4), (128, Format::Int4), (128, Format::Int4)];
    for (tokens, expected) in [
        (1, &[Kernel::PERSISTENT][..]),
        (5, &[Kernel::PackActivations, Kernel::LinearFew8]),
        (17, &[Kernel::PackActivations, Kernel::LinearFew32]),
        (33, &[Kernel::PackActivations, Kernel::LinearManyInt4By64]),
    ] {
        let ops = [norm(tokens), linear(NORMED, tokens, HIDDEN, &projections)];
        assert_eq!(kernels(&ops), expected, "{tokens} tokens");
        let other = [norm(tokens), linear(X, tokens, HIDDEN, &projections)];
        assert_eq!(kernels(&other)[0], Kernel::RmsNorm, "{tokens} tokens of another tensor");
    }
}

#[test]
fn an_mlp_is_two_products() {
    let inner = 640;
    let pair = [(inner, Format::Int4), (inner, Format::Int4)];
    for (tokens, expected) in [
        (1, &[Kernel::PERSISTENT][..]),
        (8, &[Kernel::PackActivations, Kernel::LinearFew8, Kernel::PackActivations, Kernel::LinearFew8]),
        (40, &[Kernel::PackActivations, Kernel::LinearManyInt4By64, Kernel::LinearManyInt4By64]),
    ] {
        let ops = [
            norm(tokens),
            linear(NORMED, tokens, HIDDEN, &pair),
            Op::SwiGlu { elements: u64::from(tokens * inner), gate: OUT[0], up: OUT[1] },
            linear(OUT[0], tokens, inner, &[(HIDDEN, Format::Int4)]),
        ];
        assert_eq!(kernels(&ops), expected, "{tokens} tokens");
        assert_eq!(steps(&ops).len(), if tokens == 1 { 2 } else { 0 }, "{tokens} tokens");
    }
}

#[test]
fn one_token_of_a_linear_layer_is_one_kernel_before_its_recurrence() {
    let (channels, heads) = (768, 4);
    let ops = |tokens| {
        let projections =
            [(channels, Format::Int4), (512, Format::Int4), (heads, Format::Bf16), (heads, Format::Bf16)];
        [
            norm(tokens),
            linear(NORMED, tokens, HIDDEN, &projections),
            Op::DeltaGates { a: OUT[3], b: OUT[2], negated_decay: WEIGHT, dt_bias: WEIGHT, heads, tokens },
            Op::Convolve {
                channels,
                tokens,
                undecided: false,
                taps: WEIGHT,
                kernel: 4,
                x: OUT[0],
                window: 0x7000,
            },
        ]
    };
    assert_eq!(kernels(&ops(1)), [Kernel::PERSISTENT]);
    assert_eq!(steps(&ops(1)).len(), 1);
    let gates_joined =
        [Kernel::PackActivations, Kernel::LinearFew8, Kernel::LinearHalf, Kernel::CausalConv1d];
    assert_eq!(kernels(&ops(4)), gates_joined);
}

#[test]
fn a_gated_norm_joins_the_projection_behind_it() {
    let (tokens, columns) = (1, 512);
    for (format, width, joins) in
        [(Format::Int4, 128, true), (Format::Bf16, 128, false), (Format::Int4, 80, false)]
    {
        let gated = Op::GatedNorm {
            x: X,
            elements: tokens * columns,
            gate: 0x7000,
            weight: WEIGHT,
            width,
            eps: 1e-6,
        };
        let found = kernels(&[gated, linear(X, tokens, columns, &[(HIDDEN, format)])]);
        assert_eq!(found.contains(&Kernel::RmsNorm), !joins, "{format:?}, heads of {width}: {found:?}");
    }
}

#[test]
fn queries_and_keys_are_normed_and_turned_at_once() {
    let of_queries = Heads::interleaved(3, 8, 128);
    let of_keys = Heads::packed(3, 2, 128);
    let normed = |x, heads| Op::NormHeads { x, heads, weight: WEIGHT, eps: 1e-6 };
    let turned = |x, heads| Op::Rope { x, heads, rotary: 64, cos: 0x7000, sin: 0x8000 };
    let (q, k) = (OUT[0], OUT[1]);
    let ops = [normed(q, of_queries), normed(k, of_keys), turned(q, of_queries), turned(k, of_keys)];
    assert_eq!(kernels(&ops), [Kernel::Heads]);
    let swapped = [ops[0], ops[1], ops[3], ops[2]];
    assert_eq!(kernels(&swapped), [Kernel::Heads; 4]);
}

#[test]
fn attention_joins_the_gate_of_its_output() {
    let shape = AttentionShape { heads: 8, kv_heads: 2, head_dim: 128 };
    for (tokens, kernel) in [(3, Kernel::AttendFewF16Of128By4), (70, Kernel::AttendMany128)] {
        let heads = Heads::interleaved(tokens as usize, 8, 128);
        let attend = Op::Attention {
            shape,
            cache: KvCacheType::F16,
            first: 0x7000,
            blocks: 1,
            tokens,
            queries: X,
            heads,
            keys: 0x8000,
            values: 0x9000,
            block_stride: 1 << 21,
            out: OUT[0],
            scratch: SCRATCH,
            room: ROOM,
        };
        let gate = |x| Op::OutputGate { x, gate: X + 512, heads };
        assert_eq!(kernels(&[attend, gate(OUT[0])]), [kernel]);
        assert_eq!(kernels(&[attend, gate(OUT[1])]), [kernel, Kernel::OutputGate]);
    }
}

/// Whoever writes or reads a cache is told how far its blocks are apart: other layers stand between them.
#[test]
fn blocks_of_a_layer_are_as_far_apart_as_the_operators_say() {
    const STRIDE: u32 = 0x0123_4567;
    let shape = AttentionShape { heads: 8, kv_heads: 2, head_dim: 128 };
    let (cache, first, block_stride) = (KvCacheType::F16, 0x7000, STRIDE);
    for tokens in [1, 8, 70] {
        let (of_queries, of_keys) = (Heads::packed(tokens, 8, 128), Heads::packed(tokens, 2, 128));
        let (q, k) = (OUT[0], OUT[1]);
        let normed = |x, heads| Op::NormHeads { x, heads, weight: WEIGHT, eps: 1e-6 };
        let turned = |x, heads| Op::Rope { x, heads, rotary: 64, cos: 0x7000, sin: 0x8000 };
        let tokens = tokens as u32;
        let append = Op::AppendKv {
            shape,
            cache,
            first,
            tokens,
            keys: k,
            values: OUT[2],
            key_cache: 0x8000,
            value_cache: 0x9000,
            block_stride,
        };
        let attend = Op::Attention {
            shape,
            cache,
            first,
            blocks: 4,
            tokens,
            queries: q,
            heads: of_queries,
            keys: 0x8000,
            values: 0x9000,
            block_stride,
            out: OUT[3],
            scratch: SCRATCH,
            room: ROOM,
        };
        let norms = [normed(q, of_queries), normed(k, of_keys), turned(q, of_queries), turned(k, of_keys)];
        for ops in [[&norms[..], &[append, attend]].concat(), vec![append, attend]] {
            let mut program = Program::default();
            lower(&ops, Gpu { processors: 16 }, &mut program).unwrap();
            for launch in &program.launches {
                let words = match launch.steps.is_empty() {
                    true => program.words_of(launch),
                    false => program.steps[launch.steps.start].words(),
                };
                let mut numbers =
                    words.iter().flat_map(|word| (0..4).map(move |at| (word >> (32 * at)) as u32));
                assert!(numbers.any(|number| number == STRIDE), "{:?} of {tokens} tokens", launch.kernel);
            }
        }
    }
}

#[test]
fn a_chunked_delta_rule_begins_with_its_convolution() {
    let shape = DeltaShape { key_heads: 2, value_heads: 4, key_dim: 128, value_dim: 128 };
    let ops = |tokens, log| {
        let channels = shape.row() as u32;
        let (taps, window) = (WEIGHT, 0x7000);
        [
            Op::Convolve { channels, tokens, undecided: log != 0, taps, kernel: 4, x: X, window },
            Op::Delta {
                shape,
                tokens,
                qkv: X,
                decay: 0x8000,
                beta: 0x9000,
                state: 0xa000,
                log,
                out: OUT[0],
                scratch: SCRATCH,
            },
        ]
    };
    let chunked = [Kernel::ConvolveAndSplit, Kernel::KeepWindow, Kernel::DeltaPrepare, Kernel::DeltaScan];
    assert_eq!(kernels(&ops(16, 0)), chunked);
    assert_eq!(kernels(&ops(15, 0)), [Kernel::CausalConv1d, Kernel::DeltaRecurrent]);
    assert_eq!(kernels(&ops(16, 0xb000)), [Kernel::CausalConv1d, Kernel::DeltaRecurrent]);
}

/// Some rows of a matrix, whose outputs stand between those of others.
#[test]
fn rows_of_a_larger_matrix_are_never_multiplied_in_parts() {
    let many = |rows: u32, stride: u32, room: u64| {
        let mut op = linear(X, 128, 1024, &[(rows, Format::Int4)]);
        let Op::Linear { projections: [Some(projection), ..], room: in_scratch, .. } = &mut op else {
            unreachable!("just made")
        };
        (projection.stride, *in_scratch) = (stride, room);
        kernels(&[op])
    };
    let activations = packed_bytes(128, 1024);
    let (alone, of_many) = (1024, 4096);
    let parts = 2 * 128 * u64::from(alone) * 4;
    for (stride, room, in_parts) in [
        (alone, ROOM, true),
        (alone, activations + parts, true),
        // What no scratch memory was planned for.
        (alone, activations + parts - 1, false),
        (alone, activations, false),
        (of_many, ROOM, false),
    ] {
        let kernels = many(alone, stride, room);
        assert_eq!(kernels.contains(&Kernel::AddParts), in_parts, "{stride} {room}: {kernels:?}");
    }
}

/// The MLP's way back reads what its first half has left in 16 bits: nothing stands in the scratch memory, which is its parts' alone.
#[test]
fn parts_take_the_place_of_activations_that_stand_elsewhere() {
    let (tokens, hidden, inner) = (128, 1024, 1024);
    let parts = 2 * u64::from(tokens * hidden) * 4;
    let in_parts = |room: u64| {
        let mut first = linear(NORMED, tokens, hidden, &[(inner, Format::Int4), (inner, Format::Int4)]);
        let mut back = linear(OUT[0], tokens, inner, &[(hidden, Format::Int4)]);
        for op in [&mut first, &mut back] {
            let Op::Linear { room: in_scratch, .. } = op else { unreachable!("just made") };
            *in_scratch = room;
        }
        let gated = Op::SwiGlu { elements: u64::from(tokens * inner), gate: OUT[0], up: OUT[1] };
        let mut program = Program::default();
        lower(&[first, gated, back], Gpu { processors: 16 }, &mut program).unwrap();
        let added = program.launches.iter().find(|launch| launch.kernel == Kernel::AddParts)?;
        Some(program.arguments[added.arguments[0].start / 16] as u64)
    };
    assert_eq!(in_parts(parts), Some(SCRATCH));
    assert_eq!(in_parts(parts - 1), None);
}

#[test]
fn what_follows_rows_of_a_larger_matrix_does_not_join_them() {
    for tokens in [1, 8, 40] {
        let mut part = linear(X, tokens, HIDDEN, &[(64, Format::Int4)]);
        if let Op::Linear { projections: [Some(projection), ..], .. } = &mut part {
            projection.stride = 640;
        }
        let alone = kernels(&[part]);
        let window = 0x9000;
        for next in [
            Op::SwiGlu { elements: u64::from(tokens * 640), gate: OUT[0], up: OUT[1] },
            Op::Convolve {
                channels: 640,
                tokens,
                undecided: false,
                taps: WEIGHT,
                kernel: 4,
                x: OUT[0],
                window,
            },
            Op::DeltaGates {
                a: OUT[0],
                b: OUT[1],
                negated_decay: WEIGHT,
                dt_bias: WEIGHT,
                heads: 640,
                tokens,
            },
        ] {
            let both = kernels(&[part, next]);
            assert_eq!((&both[..alone.len()], both.len() > alone.len()), (&alone[..], true), "{next:?}");
        }
    }
}

/// A layer of attention for one token, behind its projections and in front of the next.
fn attention_of_one(blocks: u32) -> Vec<Op> {
    let shape = AttentionShape { heads: 8, kv_heads: 2, head_dim: 128 };
    let attend = Op::Attention {
        shape,
        cache: KvCacheType::F16,
        first: 0x7000,
        blocks,
        tokens: 1,
        queries: OUT[0],
        heads: Heads::packed(1, 8, 128),
        keys: 0x8000,
        values: 0x9000,
        block_stride: 0x8000,
        out: OUT[1],
        scratch: SCRATCH,
        room: ROOM,
    };
    vec![
        norm(1),
        linear(NORMED, 1, HIDDEN, &[(1024, Format::Int4)]),
        attend,
        linear(OUT[1], 1, 1024, &[(HIDDEN, Format::Int4)]),
        Op::Argmax { x: OUT[0], rows: 1, width: 1000, parts: 0xa000, places: 0xb000 },
    ]
}

#[test]
fn a_pass_of_one_token_is_one_kernel_that_stays() {
    let kinds = |ops: &[Op]| steps(ops).iter().map(|step| step.kind).collect::<Vec<_>>();
    use StepKind::{Attend, Merge, Multiply, Place, Search};
    assert_eq!(kernels(&attention_of_one(1)), [Kernel::PERSISTENT]);
    assert_eq!(kinds(&attention_of_one(1)), [Multiply, Attend, Multiply, Search, Place]);
    assert_eq!(kinds(&attention_of_one(4)), [Multiply, Attend, Merge, Multiply, Search, Place]);
    let next: Vec<u32> = steps(&attention_of_one(4)).iter().map(|step| step.next).collect();
    assert_eq!(next, [3, 3, 3, 6, 6, 6], "which product's weights are asked for next");
    // Without anything that only such a kernel does, it is others.
    assert_eq!(kernels(&attention_of_one(1)[4..]), [Kernel::ArgmaxParts, Kernel::ArgmaxRows]);
    // What is no step divides it.
    let mut divided = attention_of_one(1);
    divided.insert(3, Op::CopyRows { from: OUT[0], to: OUT[2], count: 16 });
    assert_eq!(kernels(&divided), [Kernel::PersistentF16Of128, Kernel::CopyRows, Kernel::PERSISTENT]);
}

#[test]
fn all_blocks_get_the_same_share_in_the_long_run() {
    // 20 tiles for 16 blocks: four have one more.
    let products: Vec<Op> = (0..4).map(|_| linear(X, 1, HIDDEN, &[(320, Format::Int4)])).collect();
    let rotation = |step: &Step| step.number_at(std::mem::offset_of!(linear::Linear, rotation)) as u32;
    let rotations: Vec<u32> = steps(&products).iter().map(rotation).collect();
    assert_eq!(rotations, [0, 12, 8, 4]);
}

#[test]
fn a_window_that_the_step_in_front_moves_on_is_not_read_early() {
    let (channels, kernel) = (512, 4);
    let one = |window| {
        [
            linear(X, 1, HIDDEN, &[(channels, Format::Int4)]),
            Op::Convolve { channels, tokens: 1, undecided: false, taps: WEIGHT, kernel, x: OUT[0], window },
        ]
    };
    let early = |second| {
        let steps = steps(&[one(0x7000), one(second)].concat());
        assert_eq!(steps.len(), 2);
        steps[1].flags & Step::EARLY != 0
    };
    assert!(early(0x9000));
    assert!(!early(0x7000));
}
