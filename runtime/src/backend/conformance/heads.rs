//! Rotary angles, and heads that are turned by them.

use super::bench::Bench;
use super::matrix::Matrix;
use super::report::Report;
use super::subject::Subject;
use crate::ops::testing::Numbers;
use crate::ops::{Heads, rms_norm, rope};

const EPS: f32 = 1e-6;

/// Angles as the published models have them: products of f32.
fn angles(first: usize, rows: usize, rotary: usize, theta: f64) -> Vec<f32> {
    let frequency = |j: usize| 1.0 / (theta as f32).powf((2 * j) as f32 / rotary as f32);
    let half = rotary / 2;
    (0..rows * half).map(|index| (first + index / half) as f32 * frequency(index % half)).collect()
}

pub(super) fn rotary_angles<S: Subject>(report: &mut Report) {
    let bench = Bench::<S>::new(&[]);
    for (rotary, theta) in [(64, 1e7), (128, 1e6), (12, 1e4), (256, 1e7)] {
        for first in [0, 1, 4095, 262_000] {
            for (all, rows) in [(1, 0..1), (9, 2..7), (130, 0..130)] {
                let half = rotary / 2;
                let before = vec![0.25; all * half];
                let (mut cos, mut sin) = (bench.holding(&before), bench.holding(&before));
                bench.device.rope_angles(first, rows.clone(), rotary, theta, &mut cos, &mut sin);
                report.at(format!("rope_angles {rotary} from {first}, rows {rows:?} of {all}"));
                let angles = angles(first, rows.len(), rotary, theta);
                let mut worst = 0.0f64;
                for (name, table, function) in
                    [("cos", &cos, f64::cos as fn(f64) -> f64), ("sin", &sin, f64::sin as fn(f64) -> f64)]
                {
                    let found = bench.take(report, table, before.len());
                    let (start, end) = (rows.start * half, rows.end * half);
                    let others = [&found[..start], &found[end..]].concat();
                    report.same("other rows", &others, &before[..others.len()]);
                    for (place, (found, angle)) in found[start..end].iter().zip(&angles).enumerate() {
                        let error = (f64::from(*found) - function(f64::from(*angle))).abs();
                        // What the frequency may be off turns with the position, and the function adds a little.
                        let limit = report.limits.angle * f64::from(*angle) + 2e-6;
                        worst = worst.max(error / limit);
                        if error.is_nan() || error > limit {
                            report.fail(format!("{name} {place} is {found} at {angle}: off by {error:.1e}"));
                            break;
                        }
                    }
                }
                report.note(format!("{worst:.2} of what is allowed"));
            }
        }
    }
}

/// The first `rotary` values of every head turned, in f64, by a table as it stands.
pub(super) fn turned(x: &mut [f64], heads: Heads, rotary: usize, cos: &[f32], sin: &[f32]) {
    let half = rotary / 2;
    for token in 0..heads.tokens {
        for head in 0..heads.heads {
            let start = heads.range(token, head).start;
            for j in 0..half {
                let (cos, sin) = (f64::from(cos[token * half + j]), f64::from(sin[token * half + j]));
                let (a, b) = (x[start + j], x[start + j + half]);
                (x[start + j], x[start + j + half]) = (a * cos - b * sin, b * cos + a * sin);
            }
        }
    }
}

/// Every head of `x` normed, in f64.
pub(super) fn normed(x: &[f32], heads: Heads, weight: &[f32]) -> Vec<f64> {
    let mut out: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    for token in 0..heads.tokens {
        for head in 0..heads.heads {
            let range = heads.range(token, head);
            out[range.clone()].copy_from_slice(&rms_norm::reference::row(&x[range], weight, EPS));
        }
    }
    out
}

fn table(tokens: usize, rotary: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut cos, mut sin) = (vec![0.0; tokens * rotary / 2], vec![0.0; tokens * rotary / 2]);
    rope::fill(4000, rotary, 1e6, &mut cos, &mut sin);
    (cos, sin)
}

pub(super) fn turned_heads<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(40);
    let bench = Bench::<S>::new(&[]);
    for (width, rotary) in [(64, 64), (128, 128), (256, 64), (24, 12), (128, 2)] {
        for (tokens, heads) in [(1, 1), (1, 16), (5, 3), (65, 4)] {
            for layout in [Heads::packed(tokens, heads, width), Heads::interleaved(tokens, heads, width)] {
                let (cos, sin) = table(tokens, rotary);
                let x = numbers.take(tokens * layout.token_stride, 2.0);
                let mut on_device = bench.holding(&x);
                let (cos_there, sin_there) = (bench.holding(&cos), bench.holding(&sin));
                bench.device.rope(&mut on_device, layout, rotary, &cos_there, &sin_there);
                report.at(format!("rope {rotary} of {layout:?}"));
                let found = bench.take(report, &on_device, x.len());
                let mut expected: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
                turned(&mut expected, layout, rotary, &cos, &sin);
                report.within("", report.limits.plain, &found, &expected);
            }
        }
    }
}

/// What a model does with queries and keys, which a backend may do at once.
pub(super) fn normed_and_turned_heads<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(41);
    for (width, rotary) in [(64, 64), (128, 128), (256, 64)] {
        let weights = [numbers.take(width, 2.0), numbers.take(width, 2.0)];
        let bench = Bench::<S>::new(&[Matrix::numbers(&weights[0]), Matrix::numbers(&weights[1])]);
        for (tokens, query_heads, key_heads) in [(1, 16, 4), (3, 5, 1), (8, 8, 8), (70, 6, 2)] {
            for interleaved in [false, true] {
                let of_queries = match interleaved {
                    true => Heads::interleaved(tokens, query_heads, width),
                    false => Heads::packed(tokens, query_heads, width),
                };
                let of_keys = Heads::packed(tokens, key_heads, width);
                let (cos, sin) = table(tokens, rotary);
                let queries = numbers.take(tokens * of_queries.token_stride, 3.0);
                let keys = numbers.take(tokens * of_keys.token_stride, 3.0);
                let (mut q, mut k) = (bench.holding(&queries), bench.holding(&keys));
                let (cos_there, sin_there) = (bench.holding(&cos), bench.holding(&sin));
                let device = &bench.device;
                device.rms_norm_heads(&mut q, of_queries, &bench.weights[0], EPS);
                device.rms_norm_heads(&mut k, of_keys, &bench.weights[1], EPS);
                device.rope(&mut q, of_queries, rotary, &cos_there, &sin_there);
                device.rope(&mut k, of_keys, rotary, &cos_there, &sin_there);
                report.at(format!("norm and rope {rotary} of {of_queries:?} and {key_heads} key heads"));
                for (part, tensor, x, heads, weight) in
                    [("queries", &q, &queries, of_queries, 0), ("keys", &k, &keys, of_keys, 1)]
                {
                    let mut expected = normed(x, heads, &weights[weight]);
                    turned(&mut expected, heads, rotary, &cos, &sin);
                    let found = bench.take(report, tensor, x.len());
                    report.within(part, report.limits.plain, &found, &expected);
                }
            }
        }
    }
}
