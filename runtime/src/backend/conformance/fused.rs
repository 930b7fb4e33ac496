//! Sequences of operators that a backend may join: each joined result against the references of its parts, and every tensor that
//! somebody could read afterwards.

use ledger::ElementType;

use super::bench::Bench;
use super::delta_rule::{Case as DeltaCase, DECAYS};
use super::linear::limit;
use super::matrix::{Matrix, dense, int4};
use super::report::Report;
use super::subject::Subject;
use crate::engine_dir::TensorFormat;
use crate::model::operators::{Keep, Projection};
use crate::ops::activation::reference::{sigmoid, silu, softplus};
use crate::ops::gated_delta_rule::Shape;
use crate::ops::testing::{Numbers, wide};
use crate::ops::{HalfType, Store, causal_conv1d, rms_norm};

const EPS: f32 = 1e-6;
const TOKENS: [usize; 9] = [1, 2, 8, 16, 32, 33, 65, 128, 200];

fn normed_rows(x: &[f32], weight: &[f32]) -> Vec<f64> {
    x.chunks_exact(weight.len()).flat_map(|row| rms_norm::reference::row(row, weight, EPS)).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Formats of projections that share an input.
fn sets(columns: usize, numbers: &mut Numbers) -> Vec<Vec<Matrix>> {
    let mut of = |format, rows| Matrix::random(format, rows, columns, numbers);
    vec![
        vec![
            of(int4(128, true, HalfType::F16), 200),
            of(int4(128, true, HalfType::F16), 48),
            of(int4(128, true, HalfType::F16), 40),
        ],
        vec![of(TensorFormat::Int8 { group_size: 64 }, 130)],
        vec![of(int4(32, false, HalfType::Bf16), 96), of(dense(ElementType::Bf16), 6)],
        vec![of(dense(ElementType::F16), 33)],
    ]
}

pub(super) fn norm_then_linear<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(90);
    for columns in [128, 1024, 2560] {
        let weight = numbers.take(columns, 2.0);
        for (set, mut matrices) in sets(columns, &mut numbers).into_iter().enumerate() {
            matrices.push(Matrix::numbers(&weight));
            let bench = Bench::<S>::new(&matrices);
            let (norm, weights) = bench.weights.split_last().unwrap();
            matrices.pop();
            for tokens in TOKENS {
                // The last rows of a longer tensor, as the head reads them.
                let before = tokens % 3;
                let x = numbers.take((before + tokens) * columns, 3.0);
                let on_device = bench.holding(&x);
                let mut normed = bench.unwritten(tokens * columns);
                let mut outs: Vec<S::Tensor> =
                    matrices.iter().map(|matrix| bench.unwritten(tokens * matrix.rows)).collect();
                let mut scratch = bench.linear_scratch(tokens, columns);
                bench.device.rms_norm(&on_device, before..before + tokens, norm, EPS, &mut normed);
                let mut projections: Vec<_> = weights
                    .iter()
                    .zip(&mut outs)
                    .map(|(weight, out)| Projection { weight, out, store: Store::Overwrite })
                    .collect();
                bench.device.linear(&normed, tokens, &mut projections, &mut scratch);
                report.at(format!("norm then linear set {set} of {columns} t{tokens}"));
                let expected = normed_rows(&x[before * columns..], &weight);
                let found = bench.take(report, &normed, tokens * columns);
                report.within("normed", report.limits.plain, &found, &expected);
                for (matrix, out) in matrices.iter().zip(&outs) {
                    let found = bench.take(report, out, tokens * matrix.rows);
                    let part = matrix.words();
                    report.within(&part, limit(report, matrix, tokens), &found, &matrix.multiply(&expected));
                }
            }
        }
    }
}

/// The gated norm of heads and the projection behind it. What the norm leaves in its own tensor is read by no model, and a backend
/// that joins the two need not write it.
pub(super) fn gated_norm_then_linear<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(91);
    for (width, heads) in [(128, 8), (64, 4), (32, 3), (256, 2), (80, 4)] {
        let (weight, columns) = (numbers.take(width, 2.0), heads * width);
        let formats =
            [int4(32, true, HalfType::F16), TensorFormat::Int8 { group_size: 32 }, dense(ElementType::Bf16)];
        let mut matrices: Vec<Matrix> =
            formats.into_iter().map(|format| Matrix::random(format, 136, columns, &mut numbers)).collect();
        matrices.push(Matrix::numbers(&weight));
        let bench = Bench::<S>::new(&matrices);
        for (matrix, projection) in matrices[..3].iter().zip(&bench.weights) {
            for tokens in TOKENS {
                let (x, z) = (numbers.take(tokens * columns, 3.0), numbers.take(tokens * columns, 6.0));
                let residual = numbers.take(tokens * matrix.rows, 1.0);
                let (mut on_device, gate) = (bench.holding(&x), bench.holding(&z));
                let mut hidden = bench.holding(&residual);
                let mut scratch = bench.linear_scratch(tokens, columns);
                bench.device.rms_norm_gated(&mut on_device, x.len(), &gate, &bench.weights[3], EPS);
                let projection = Projection { weight: projection, out: &mut hidden, store: Store::Add };
                bench.device.linear(&on_device, tokens, &mut [projection], &mut scratch);
                report.at(format!("gated norm {heads}x{width} then linear {} t{tokens}", matrix.words()));
                let pairs = x.chunks_exact(width).zip(z.chunks_exact(width));
                let normed: Vec<f64> =
                    pairs.flat_map(|(x, z)| rms_norm::reference::gated_row(x, z, &weight, EPS)).collect();
                let mut expected = matrix.multiply(&normed);
                expected.iter_mut().zip(&residual).for_each(|(sum, before)| *sum += f64::from(*before));
                let found = bench.take(report, &hidden, residual.len());
                report.within("", limit(report, matrix, tokens), &found, &expected);
            }
        }
    }
}

/// Norm, gate and up, their product, and down: an MLP as models call it.
pub(super) fn mlp<S: Subject>(report: &mut Report) {
    /// For more tokens the product may stand in 16 bits, in an order of its own: only the projection behind it reads it.
    const READABLE: usize = 32;
    let mut numbers = Numbers::new(92);
    let formats = [
        (int4(128, true, HalfType::F16), int4(128, true, HalfType::F16), 256, 640),
        (int4(32, false, HalfType::Bf16), TensorFormat::Int8 { group_size: 32 }, 96, 160),
        (TensorFormat::Int8 { group_size: 128 }, int4(128, false, HalfType::F16), 1024, 2560),
        (int4(64, true, HalfType::F16), dense(ElementType::Bf16), 128, 192),
        (dense(ElementType::F16), int4(64, true, HalfType::F16), 128, 192),
    ];
    for (set, (inner, back, hidden, wide_width)) in formats.into_iter().enumerate() {
        let weight = numbers.take(hidden, 2.0);
        let matrices = [
            Matrix::random(inner, wide_width, hidden, &mut numbers),
            Matrix::random(inner, wide_width, hidden, &mut numbers),
            Matrix::random(back, hidden, wide_width, &mut numbers),
            Matrix::numbers(&weight),
        ];
        let bench = Bench::<S>::new(&matrices);
        let [gate_proj, up_proj, down_proj, norm] = &bench.weights[..] else { unreachable!() };
        for tokens in TOKENS {
            let x = numbers.take(tokens * hidden, 1.0);
            let mut residual = bench.holding(&x);
            let mut normed = bench.unwritten(tokens * hidden);
            let (mut gate, mut up) =
                (bench.unwritten(tokens * wide_width), bench.unwritten(tokens * wide_width));
            let mut scratch = bench.linear_scratch(tokens, wide_width.max(hidden));
            let device = &bench.device;
            device.rms_norm(&residual, 0..tokens, norm, EPS, &mut normed);
            let mut projections = [
                Projection { weight: gate_proj, out: &mut gate, store: Store::Overwrite },
                Projection { weight: up_proj, out: &mut up, store: Store::Overwrite },
            ];
            device.linear(&normed, tokens, &mut projections, &mut scratch);
            device.swiglu(tokens * wide_width, &mut gate, &up);
            let down = Projection { weight: down_proj, out: &mut residual, store: Store::Add };
            device.linear(&gate, tokens, &mut [down], &mut scratch);

            report.at(format!("mlp set {set} {hidden}x{wide_width} t{tokens}"));
            let expected_normed = normed_rows(&x, &weight);
            let found = bench.take(report, &normed, x.len());
            report.within("normed", report.limits.plain, &found, &expected_normed);
            let gates = matrices[0].multiply(&expected_normed);
            let ups = matrices[1].multiply(&expected_normed);
            let product: Vec<f64> = gates.iter().zip(&ups).map(|(gate, up)| silu(*gate) * up).collect();
            let found = bench.take(report, &gate, product.len());
            let inner_limit = 2.0 * limit(report, &matrices[0], tokens);
            if tokens <= READABLE {
                report.within("product", inner_limit, &found, &product);
            }
            let mut expected = matrices[2].multiply(&product);
            expected.iter_mut().zip(&x).for_each(|(sum, before)| *sum += f64::from(*before));
            let found = bench.take(report, &residual, x.len());
            report.within("", inner_limit + limit(report, &matrices[2], tokens), &found, &expected);
        }
    }
}

/// Norm, the four projections of a Gated DeltaNet layer, its gates, and its convolution.
pub(super) fn linear_then_gates_and_convolution<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(93);
    for (set, (kernel, small)) in
        [(4, dense(ElementType::Bf16)), (4, int4(64, true, HalfType::F16)), (3, dense(ElementType::F16))]
            .into_iter()
            .enumerate()
    {
        let (hidden, channels, values, heads) = (256, 320, 136, 6);
        let large = int4(64, true, HalfType::F16);
        let weight = numbers.take(hidden, 2.0);
        let taps = numbers.take(kernel * channels, 1.0);
        let negated: Vec<f32> = numbers.between(heads, -3.0, 2.0).iter().map(|a| -a.exp()).collect();
        let bias = numbers.take(heads, 3.0);
        let matrices = [
            Matrix::random(large, channels, hidden, &mut numbers),
            Matrix::random(large, values, hidden, &mut numbers),
            Matrix::random(small, heads, hidden, &mut numbers),
            Matrix::random(small, heads, hidden, &mut numbers),
            Matrix::numbers(&weight),
            Matrix::numbers(&taps),
            Matrix::numbers(&negated),
            Matrix::numbers(&bias),
        ];
        let bench = Bench::<S>::new(&matrices);
        let [qkv_proj, z_proj, b_proj, a_proj, norm, conv, decays, biases] = &bench.weights[..] else {
            unreachable!()
        };
        for tokens in TOKENS {
            for keep in [Keep::All, Keep::Undecided] {
                let x = numbers.take(tokens * hidden, 1.0);
                let history = numbers.take((kernel - 1) * channels, 2.0);
                let residual = bench.holding(&x);
                let mut normed = bench.unwritten(tokens * hidden);
                let (mut qkv, mut z) = (bench.unwritten(tokens * channels), bench.unwritten(tokens * values));
                let (mut a, mut b) = (bench.unwritten(tokens * heads), bench.unwritten(tokens * heads));
                let room = if keep == Keep::All { 0 } else { tokens * channels };
                let mut window = bench.holding(&[&history[..], &vec![f32::NAN; room]].concat());
                let mut scratch = bench.linear_scratch(tokens, hidden);
                let device = &bench.device;
                device.rms_norm(&residual, 0..tokens, norm, EPS, &mut normed);
                let mut projections = [
                    Projection { weight: qkv_proj, out: &mut qkv, store: Store::Overwrite },
                    Projection { weight: z_proj, out: &mut z, store: Store::Overwrite },
                    Projection { weight: b_proj, out: &mut b, store: Store::Overwrite },
                    Projection { weight: a_proj, out: &mut a, store: Store::Overwrite },
                ];
                device.linear(&normed, tokens, &mut projections, &mut scratch);
                device.delta_gates(tokens, &mut a, &mut b, decays, biases);
                device.causal_conv1d(channels, 0..tokens, keep, conv, &mut qkv, &mut window);

                report.at(format!("gates and convolution set {set} t{tokens} {keep:?}"));
                let quantised = report.limits.quantised;
                let expected_normed = normed_rows(&x, &weight);
                let found = bench.take(report, &normed, x.len());
                report.within("normed", report.limits.plain, &found, &expected_normed);
                let found = bench.take(report, &z, tokens * values);
                report.within("z", quantised, &found, &matrices[1].multiply(&expected_normed));
                let of_gates = limit(report, &matrices[2], tokens).max(report.limits.plain);
                let expected: Vec<f64> =
                    matrices[2].multiply(&expected_normed).into_iter().map(sigmoid).collect();
                let found = bench.take(report, &b, tokens * heads);
                report.within("beta", 2.0 * of_gates, &found, &expected);
                let expected: Vec<f64> = matrices[3]
                    .multiply(&expected_normed)
                    .into_iter()
                    .enumerate()
                    .map(|(index, a)| {
                        f64::from(negated[index % heads]) * softplus(a + f64::from(bias[index % heads]))
                    })
                    .collect();
                let found = bench.take(report, &a, tokens * heads);
                report.within("decay", 2.0 * of_gates, &found, &expected);

                let inputs = matrices[0].multiply(&expected_normed);
                let expected = causal_conv1d::reference::forward(channels, &taps, &narrow(&inputs), &history);
                let found = bench.take(report, &qkv, tokens * channels);
                report.within("convolved", 2.0 * quantised, &found, &expected);
                let all: Vec<f64> = wide(&history).into_iter().chain(inputs).collect();
                let kept = match keep {
                    Keep::All => &all[tokens * channels..],
                    Keep::Undecided => &all[..],
                };
                let found = bench.take(report, &window, kept.len());
                report.within("window", quantised, &found, kept);
            }
        }
    }
}

/// A convolution and the delta rule behind it, which a backend may do in chunks. What the convolution leaves in its own tensor is
/// read by no model then, and need not be written.
pub(super) fn convolution_then_delta_rule<S: Subject>(report: &mut Report) {
    let shape_of =
        |key_heads, value_heads, dim| Shape { key_heads, value_heads, key_dim: dim, value_dim: dim };
    for (seed, (shape, kernel)) in (94..).zip([
        (shape_of(2, 4, 128), 4),
        (shape_of(1, 1, 128), 4),
        (shape_of(2, 2, 128), 3),
        (shape_of(1, 2, 64), 4),
    ]) {
        let channels = shape.row();
        let mut numbers = Numbers::new(seed);
        let taps = numbers.take(kernel * channels, 1.0);
        let bench = Bench::<S>::new(&[Matrix::numbers(&taps)]);
        for tokens in [1, 8, 15, 16, 17, 63, 64, 65, 128, 200, 513] {
            for decays in DECAYS {
                let case = DeltaCase::new(seed + tokens as u64, shape, tokens, decays);
                let history = numbers.take((kernel - 1) * channels, 1.5);
                let convolved = causal_conv1d::reference::forward(channels, &taps, &case.qkv, &history);
                let (expected, expected_state) = case.truth(&narrow(&convolved), tokens);
                // The second piece begins with the window and the state that the first one leaves.
                for pieces in [vec![tokens], vec![tokens / 3, tokens - tokens / 3]] {
                    let mut qkv = bench.holding(&case.qkv);
                    let (decay, beta) = (bench.holding(&case.decay), bench.holding(&case.beta));
                    let mut state = bench.holding(&case.state);
                    let mut window = bench.holding(&history);
                    let mut out = bench.unwritten(expected.len());
                    let mut scratch = bench.bytes(S::delta_scratch(&shape, tokens));
                    let mut row = 0;
                    for piece in pieces.iter().filter(|piece| **piece > 0) {
                        let rows = row..row + piece;
                        row = rows.end;
                        let (device, taps) = (&bench.device, &bench.weights[0]);
                        device.causal_conv1d(channels, rows.clone(), Keep::All, taps, &mut qkv, &mut window);
                        device.gated_delta_rule(
                            &shape,
                            rows,
                            &qkv,
                            &decay,
                            &beta,
                            &mut state,
                            None,
                            &mut out,
                            &mut scratch,
                        );
                    }
                    report.at(format!(
                        "{kernel} taps, then delta rule {} in {} pieces",
                        case.label(),
                        pieces.len()
                    ));
                    let limit = report.limits.delta_rule[1];
                    let found = bench.take(report, &out, expected.len());
                    report.within("", limit, &found, &expected);
                    let found = bench.take(report, &state, case.state.len());
                    report.within("state", limit, &found, &expected_state);
                    let found = bench.take(report, &window, history.len());
                    let all = [&history[..], &case.qkv].concat();
                    report.same("window", &found, &all[tokens * channels..]);
                    bench.take(report, &qkv, case.qkv.len());
                }
            }
        }
    }
}
