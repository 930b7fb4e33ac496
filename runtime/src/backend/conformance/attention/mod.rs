//! Attention over a cache that is filled in chunks, and the gate of its output.

mod sequence;

use super::bench::Bench;
use super::report::Report;
use super::subject::Subject;
use crate::model::operators::LayerCache;
use crate::ops::Heads;
use crate::ops::activation::reference::sigmoid;
use crate::ops::attention::{Shape, reference};
use crate::ops::testing::Numbers;
use crate::plan::KvCacheType;
use sequence::{Case, LAYER};

/// Tokens that follow a context in one call, around every border between kernels and their tiles.
const QUERIES: [usize; 9] = [1, 2, 4, 8, 9, 16, 17, 64, 100];

/// Queries of one call.
struct Ask {
    first: usize,
    tokens: usize,
    /// Whether a gate follows each query, and is used.
    gated: bool,
    /// Rows of the tensors that stand before those of the call.
    before: usize,
}

fn ask<S: Subject>(
    report: &mut Report,
    bench: &Bench<S>,
    case: &Case,
    blocks: &mut S::Tensor,
    scratch: &mut S::Tensor,
    ask: &Ask,
) {
    let Shape { heads, head_dim, .. } = case.shape;
    let Ask { first, tokens, gated, before } = *ask;
    let rows = before + tokens;
    let layout = match gated {
        true => Heads::interleaved(rows, heads, head_dim),
        false => Heads::packed(rows, heads, head_dim),
    };
    let mut queries = Numbers::new((first * 1000 + tokens) as u64).take(rows * layout.token_stride, 3.0);
    for token in 0..tokens {
        for head in 0..heads {
            case.turn_to_one_key(first + token, head, &mut queries[layout.range(before + token, head)]);
        }
    }
    let on_device = bench.holding(&queries);
    let width = heads * head_dim;
    let mut out = bench.unwritten(rows * width);
    let cache = &LayerCache { blocks, layer: LAYER };
    bench.device.attention(&case.shape, first, before..rows, &on_device, layout, cache, &mut out, scratch);
    if gated && before == 0 {
        bench.device.output_gate(&mut out, &on_device, head_dim, layout);
    }
    let mut found = bench.take(report, &out, rows * width);
    bench.look_behind(report, scratch, S::attention_scratch(&case.shape) as usize / size_of::<f32>());
    if found[..before * width].iter().any(|value| !value.is_nan()) {
        report.fail("a row before those of the call was written");
    }
    found.drain(..before * width);
    // Every token of a short context, and those around the ends of a long one.
    let chosen: Vec<usize> = match tokens * (first + tokens) {
        ..=10_000 => (0..tokens).collect(),
        _ => (0..tokens).filter(|t| *t < 2 || t + 2 >= tokens || *t == tokens / 2 || t % 64 == 63).collect(),
    };
    let (mut expected, mut compared) = (Vec::new(), Vec::new());
    let cached = case.by_head();
    for token in chosen {
        for head in 0..heads {
            let range = layout.range(before + token, head);
            let [keys, values] = &cached[head / case.shape.group()];
            let seen = (first + token + 1) * head_dim;
            let mut truth = reference::attend(&queries[range.clone()], &keys[..seen], &values[..seen]);
            if gated && before == 0 {
                let gate = &queries[range.start + head_dim..][..head_dim];
                truth.iter_mut().zip(gate).for_each(|(y, gate)| *y *= sigmoid(f64::from(*gate)));
            }
            expected.extend(truth);
            compared.extend_from_slice(&found[token * width + head * head_dim..][..head_dim]);
        }
    }
    if let Some(place) = found.iter().position(|value| !value.is_finite()) {
        report.fail(format!("value {place} of {} is {}", found.len(), found[place]));
    }
    let limit = report.limits.attention[usize::from(tokens > 8)];
    report.within("", limit, &compared, &expected);
}

/// One context, with the queries of `tokens` behind it.
fn attends<S: Subject>(
    report: &mut Report,
    shape: Shape,
    element: KvCacheType,
    contexts: &[usize],
    tokens: &[usize],
) {
    let bench = Bench::<S>::with_cache(&[], element);
    let mut scratch = bench.zeros(S::attention_scratch(&shape));
    for &context in contexts {
        for &tokens in tokens {
            // The context counts the queries' own tokens.
            let length = context.max(tokens);
            let case = Case::new((context + tokens) as u64, shape, length);
            let mut cache = case.cache(&bench, element, length);
            let first = length - tokens;
            let mut pieces = Vec::new();
            while pieces.iter().sum::<usize>() < first {
                let next = [256, 1, 63, 2, 130][pieces.len() % 5];
                pieces.push(next.min(first - pieces.iter().sum::<usize>()));
            }
            case.append(&bench, &mut cache, 0, &pieces);
            case.append(&bench, &mut cache, first, &[tokens]);
            report.at(format!("append_kv {element:?} {shape:?}, {length} tokens"));
            case.look_beside(report, &bench, &cache, element, length);
            for gated in [false, true] {
                let Shape { heads, kv_heads, head_dim } = shape;
                let gate = if gated { " gated" } else { "" };
                report.at(format!(
                    "attention {element:?} {heads}/{kv_heads}x{head_dim} context {length} t{tokens}{gate}"
                ));
                ask(
                    report,
                    &bench,
                    &case,
                    &mut cache,
                    &mut scratch,
                    &Ask { first, tokens, gated, before: 0 },
                );
            }
        }
    }
}

const TYPES: [KvCacheType; 3] = [KvCacheType::F16, KvCacheType::F32, KvCacheType::Int8];

fn of_dim<S: Subject>(report: &mut Report, head_dim: usize) {
    for group in [1, 2, 3, 4, 5, 6, 8] {
        let shape = Shape { heads: 2 * group, kv_heads: 2, head_dim };
        attends::<S>(report, shape, KvCacheType::F16, &[1, 65, 300], &QUERIES);
    }
    let shape = Shape { heads: 4, kv_heads: 1, head_dim };
    for element in TYPES {
        attends::<S>(report, shape, element, &[1, 63, 64, 65, 300, 1500], &QUERIES);
    }
}

pub(super) fn attention_of_64<S: Subject>(report: &mut Report) {
    of_dim::<S>(report, 64);
}

pub(super) fn attention_of_128<S: Subject>(report: &mut Report) {
    of_dim::<S>(report, 128);
}

pub(super) fn attention_of_256<S: Subject>(report: &mut Report) {
    of_dim::<S>(report, 256);
}

pub(super) fn attention_of_a_long_context<S: Subject>(report: &mut Report) {
    for (shape, element) in [
        (Shape { heads: 16, kv_heads: 4, head_dim: 256 }, KvCacheType::F16),
        (Shape { heads: 8, kv_heads: 2, head_dim: 256 }, KvCacheType::Int8),
        (Shape { heads: 6, kv_heads: 2, head_dim: 128 }, KvCacheType::F16),
        (Shape { heads: 3, kv_heads: 1, head_dim: 64 }, KvCacheType::F32),
    ] {
        attends::<S>(report, shape, element, &[5000], &[1, 4, 9, 100]);
    }
}

/// A whole prompt in one call, and rows of a tensor that other sequences share.
pub(super) fn attention_of_a_prompt<S: Subject>(report: &mut Report) {
    for head_dim in [64, 128, 256] {
        let shape = Shape { heads: 8, kv_heads: 2, head_dim };
        let bench = Bench::<S>::new(&[]);
        let mut scratch = bench.zeros(S::attention_scratch(&shape));
        for (tokens, before) in [(3, 2), (8, 5), (64, 3), (200, 0), (513, 0)] {
            let case = Case::new(tokens as u64, shape, tokens);
            let mut cache = case.cache(&bench, KvCacheType::F16, tokens);
            case.append(&bench, &mut cache, 0, &[tokens]);
            report.at(format!("attention of a prompt 8/2x{head_dim} t{tokens} behind {before} rows"));
            let of = Ask { first: 0, tokens, gated: before > 0, before };
            ask(report, &bench, &case, &mut cache, &mut scratch, &of);
        }
    }
}

/// Values that no type but f32 holds exactly: what is off is what the type costs.
pub(super) fn attention_of_inexact_values<S: Subject>(report: &mut Report) {
    for element in TYPES {
        let shape = Shape { heads: 8, kv_heads: 2, head_dim: 128 };
        let bench = Bench::<S>::with_cache(&[], element);
        let mut scratch = bench.zeros(S::attention_scratch(&shape));
        let length = 333;
        let mut case = Case::new(50, shape, length);
        let mut numbers = Numbers::new(51);
        case.keys = numbers.take(case.keys.len(), 2.0);
        case.values = numbers.take(case.values.len(), 2.0);
        let mut cache = case.cache(&bench, element, length);
        case.append(&bench, &mut cache, 0, &[200, 1, 132]);
        let limits = report.limits;
        let cost = match element {
            KvCacheType::F32 => 0.0,
            KvCacheType::F16 => 5e-4,
            KvCacheType::Int8 => 1e-2,
        };
        report.limits.attention = limits.attention.map(|limit| limit + cost);
        for tokens in [1, 40] {
            report.at(format!("attention of inexact values {element:?} t{tokens}"));
            let of = Ask { first: length - tokens, tokens, gated: false, before: 0 };
            ask(report, &bench, &case, &mut cache, &mut scratch, &of);
        }
        report.limits = limits;
    }
}

/// A gate by itself.
pub(super) fn output_gate<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(52);
    let bench = Bench::<S>::new(&[]);
    for (tokens, heads, width) in [(1, 1, 64), (1, 16, 256), (7, 3, 80), (100, 8, 128)] {
        let layout = Heads::interleaved(tokens, heads, width);
        let x = numbers.take(tokens * heads * width, 2.0);
        let gate = numbers.take(tokens * layout.token_stride, 30.0);
        let (mut on_device, gates) = (bench.holding(&x), bench.holding(&gate));
        bench.device.output_gate(&mut on_device, &gates, width, layout);
        report.at(format!("output_gate {layout:?}"));
        let found = bench.take(report, &on_device, x.len());
        let expected: Vec<f64> = x
            .iter()
            .enumerate()
            .map(|(index, x)| {
                let (token, head) = (index / (heads * width), index / width % heads);
                let at = layout.range(token, head).start + width + index % width;
                f64::from(*x) * sigmoid(f64::from(gate[at]))
            })
            .collect();
        report.within("", report.limits.plain, &found, &expected);
    }
}
