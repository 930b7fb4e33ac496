//! Sequences that only look as if they could be joined.

use ledger::ElementType;

use super::super::bench::Bench;
use super::super::heads::{normed, turned};
use super::super::linear::limit;
use super::super::matrix::{Matrix, dense, int4};
use super::super::report::Report;
use super::super::subject::Subject;
use super::{EPS, normed_rows};
use crate::model::operators::{Keep, Projection};
use crate::ops::activation::reference::{sigmoid, silu, softplus};
use crate::ops::testing::{Numbers, wide};
use crate::ops::{HalfType, Heads, Store, causal_conv1d, rope};

const TOKENS: [usize; 4] = [1, 8, 33, 130];

/// Queries and keys that are turned in another order, by tables of their own, or not at all.
pub(in crate::backend::conformance) fn heads_apart<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(110);
    let (width, rotary) = (128, 64);
    let weights = [numbers.take(width, 2.0), numbers.take(width, 2.0)];
    let bench = Bench::<S>::new(&[Matrix::numbers(&weights[0]), Matrix::numbers(&weights[1])]);
    for tokens in TOKENS {
        for order in ["keys first", "keys alone", "queries alone", "none", "twice", "by other angles"] {
            let layouts = [Heads::interleaved(tokens, 6, width), Heads::packed(tokens, 2, width)];
            let x = layouts.map(|layout| numbers.take(tokens * layout.token_stride, 3.0));
            let (mut cos, mut sin) = (vec![0.0; tokens * rotary / 2], vec![0.0; tokens * rotary / 2]);
            rope::fill(77, rotary, 1e4, &mut cos, &mut sin);
            let mut tensors = [bench.holding(&x[0]), bench.holding(&x[1])];
            // Each has a table of its own; those of the keys are the other way round in one of the cases.
            let tables =
                if order == "by other angles" { [[&cos, &sin], [&sin, &cos]] } else { [[&cos, &sin]; 2] };
            let there = tables.map(|table| table.map(|values| bench.holding(values)));
            for index in 0..2 {
                bench.device.rms_norm_heads(&mut tensors[index], layouts[index], &bench.weights[index], EPS);
            }
            let turns: &[usize] = match order {
                "keys first" => &[1, 0],
                "keys alone" => &[1],
                "queries alone" => &[0],
                "twice" => &[0, 0],
                "by other angles" => &[0, 1],
                _ => &[],
            };
            for index in turns {
                let (tensor, [cos, sin]) = (&mut tensors[*index], &there[*index]);
                bench.device.rope(tensor, layouts[*index], rotary, cos, sin);
            }
            report.at(format!("norm of heads t{tokens}, turned: {order}"));
            for (index, part) in ["queries", "keys"].into_iter().enumerate() {
                let mut expected = normed(&x[index], layouts[index], &weights[index]);
                for _ in turns.iter().filter(|turn| **turn == index) {
                    turned(&mut expected, layouts[index], rotary, tables[index][0], tables[index][1]);
                }
                let found = bench.take(report, &tensors[index], x[index].len());
                report.within(part, report.limits.plain, &found, &expected);
            }
        }
    }
}

/// What may be different about an MLP.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Twist {
    /// The product is that of the first rows only.
    FewerElements,
    /// The first projection is the values, the second one the gate.
    Reversed,
    /// The projections add to what stands in their tensors.
    Added,
    /// The projection behind it reads fewer tokens.
    FewerTokens,
    /// It is one of plain numbers.
    DenseBehind,
    /// It reads the values, not the product.
    OtherInput,
    /// Gate and values are stored in different formats.
    Unlike,
    /// There is none.
    NothingBehind,
}

pub(in crate::backend::conformance) fn mlp_apart<S: Subject>(report: &mut Report) {
    use Twist::*;
    let mut numbers = Numbers::new(111);
    let (hidden, inner) = (128, 192);
    let mut of = |format, rows, columns| Matrix::random(format, rows, columns, &mut numbers);
    let matrices = [
        of(int4(64, true, HalfType::F16), inner, hidden),
        of(int4(64, true, HalfType::F16), inner, hidden),
        of(int4(32, false, HalfType::F16), inner, hidden),
        of(int4(64, true, HalfType::F16), hidden, inner),
        of(dense(ElementType::Bf16), hidden, inner),
    ];
    let bench = Bench::<S>::new(&matrices);
    for twist in [FewerElements, Reversed, Added, FewerTokens, DenseBehind, OtherInput, Unlike, NothingBehind]
    {
        for tokens in TOKENS {
            let x = numbers.take(tokens * hidden, 1.0);
            let before = numbers.take(tokens * inner, 1.0);
            let residual = numbers.take(tokens * hidden, 1.0);
            let (input, mut behind) = (bench.holding(&x), bench.holding(&residual));
            let (mut gate, mut up) = (bench.holding(&before), bench.holding(&before));
            let mut scratch = bench.linear_scratch(tokens, inner);
            let of_up = if twist == Unlike { 2 } else { 1 };
            let store = if twist == Added { Store::Add } else { Store::Overwrite };
            let device = &bench.device;
            let first = Projection { weight: &bench.weights[0], out: &mut gate, store };
            let second = Projection { weight: &bench.weights[of_up], out: &mut up, store };
            device.linear(&input, tokens, &mut [first, second], &mut scratch);
            if twist == Reversed {
                std::mem::swap(&mut gate, &mut up);
            }
            let rows = if twist == FewerElements { tokens.div_ceil(2) } else { tokens };
            device.swiglu(rows * inner, &mut gate, &up);
            let read = if twist == FewerTokens { tokens.div_ceil(2) } else { tokens };
            let (of_back, from) = match twist {
                DenseBehind => (4, &gate),
                OtherInput => (3, &up),
                _ => (3, &gate),
            };
            if twist != NothingBehind {
                let down =
                    Projection { weight: &bench.weights[of_back], out: &mut behind, store: Store::Add };
                device.linear(from, read, &mut [down], &mut scratch);
            }

            report.at(format!("mlp, {twist:?} t{tokens}"));
            bench.check_scratch(report, &scratch, tokens, inner);
            let product = |matrix: &Matrix| {
                let mut y = matrix.multiply(&wide(&x));
                if twist == Added {
                    y.iter_mut().zip(&before).for_each(|(y, before)| *y += f64::from(*before));
                }
                y
            };
            let (mut expected, mut values) = (product(&matrices[0]), product(&matrices[of_up]));
            if twist == Reversed {
                std::mem::swap(&mut expected, &mut values);
            }
            let gated = expected.iter_mut().zip(&values).take(rows * inner);
            gated.for_each(|(gate, up)| *gate = silu(*gate) * up);
            let quantised = report.limits.quantised;
            let is_read = match tokens {
                1 => !matches!(twist, OtherInput | NothingBehind),
                _ => !matches!(twist, DenseBehind | OtherInput | NothingBehind | FewerTokens),
            };
            let found = bench.take(report, &gate, expected.len());
            if S::READABLE.contains(&tokens) || !is_read {
                report.within("product", 2.0 * quantised, &found, &expected);
            }
            let source = if twist == OtherInput { &values } else { &expected };
            let mut sum = wide(&residual);
            if twist != NothingBehind {
                let added = matrices[of_back].multiply(&source[..read * inner]);
                sum.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
            }
            let found = bench.take(report, &behind, sum.len());
            report.within("", 3.0 * quantised, &found, &sum);
        }
    }
}

/// Norms whose result another projection reads, gates and convolutions of other tensors, and projections that add.
pub(in crate::backend::conformance) fn projections_apart<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(112);
    let (hidden, channels, heads) = (128, 96, 6);
    let weight = numbers.take(hidden, 2.0);
    let taps = numbers.take(4 * channels, 1.0);
    let (negated, bias) = (vec![-0.5; heads], numbers.take(heads, 1.0));
    let matrices = [
        Matrix::random(int4(64, true, HalfType::F16), channels, hidden, &mut numbers),
        Matrix::random(dense(ElementType::Bf16), heads, hidden, &mut numbers),
        Matrix::numbers(&weight),
        Matrix::numbers(&taps),
        Matrix::numbers(&negated),
        Matrix::numbers(&bias),
    ];
    let bench = Bench::<S>::new(&matrices);
    for tokens in TOKENS {
        let x = numbers.take(tokens * hidden, 2.0);
        let other = numbers.take(tokens * hidden, 2.0);
        let (on_device, others) = (bench.holding(&x), bench.holding(&other));
        let mut normed = bench.unwritten(tokens * hidden);
        let before = numbers.take(tokens * channels, 1.0);
        let mut qkv = bench.holding(&before);
        let b = numbers.take(tokens * heads, 4.0);
        let (mut decay, mut beta) = (bench.unwritten(tokens * heads), bench.holding(&b));
        let history = numbers.take(3 * channels, 1.0);
        let mut window = bench.holding(&history);
        let mut scratch = bench.linear_scratch(tokens, hidden);
        let device = &bench.device;
        // The projection reads another tensor than the norm writes, one of its results is not among the gates, and it adds to what
        // the convolution then reads.
        device.rms_norm(&on_device, 0..tokens, &bench.weights[2], EPS, &mut normed);
        let mut projections = [
            Projection { weight: &bench.weights[0], out: &mut qkv, store: Store::Add },
            Projection { weight: &bench.weights[1], out: &mut decay, store: Store::Overwrite },
        ];
        device.linear(&others, tokens, &mut projections, &mut scratch);
        device.delta_gates(tokens, &mut decay, &mut beta, &bench.weights[4], &bench.weights[5]);
        let taps_there = &bench.weights[3];
        device.causal_conv1d(channels, 0..tokens, Keep::All, taps_there, &mut qkv, &mut window);

        report.at(format!("projections apart t{tokens}"));
        bench.check_scratch(report, &scratch, tokens, hidden);
        let found = bench.take(report, &normed, x.len());
        report.within("normed", report.limits.plain, &found, &normed_rows(&x, &weight));
        let of_gates = 2.0 * limit(report, &matrices[1], tokens).max(report.limits.plain);
        let a = matrices[1].multiply(&wide(&other)).into_iter().enumerate();
        let expected: Vec<f64> =
            a.map(|(index, a)| -0.5 * softplus(a + f64::from(bias[index % heads]))).collect();
        let found = bench.take(report, &decay, expected.len());
        report.within("decay", of_gates, &found, &expected);
        let expected: Vec<f64> = b.iter().map(|b| sigmoid(f64::from(*b))).collect();
        let found = bench.take(report, &beta, expected.len());
        report.within("beta", report.limits.plain, &found, &expected);
        let inputs: Vec<f32> = matrices[0]
            .multiply(&wide(&other))
            .iter()
            .zip(&before)
            .map(|(y, before)| (y + f64::from(*before)) as f32)
            .collect();
        let expected = causal_conv1d::reference::forward(channels, &taps, &inputs, &history);
        let found = bench.take(report, &qkv, inputs.len());
        report.within("convolved", 2.0 * report.limits.quantised, &found, &expected);
        let all = wide(&[&history[..], &inputs].concat());
        let found = bench.take(report, &window, history.len());
        report.within("window", report.limits.quantised, &found, &all[tokens * channels..]);
    }
}
