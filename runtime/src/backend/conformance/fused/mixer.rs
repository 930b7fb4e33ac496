//! What follows the projections of a Gated DeltaNet layer: gates, the convolution, the delta rule.

use ledger::ElementType;

use super::super::bench::Bench;
use super::super::delta_rule::{Case as DeltaCase, DECAYS};
use super::super::linear::limit;
use super::super::matrix::{Matrix, dense, int4};
use super::super::report::Report;
use super::super::subject::Subject;
use super::{EPS, TOKENS, normed_rows};
use crate::model::operators::{Keep, Projection};
use crate::ops::activation::reference::{sigmoid, softplus};
use crate::ops::gated_delta_rule::Shape;
use crate::ops::testing::{Numbers, wide};
use crate::ops::{HalfType, Store, causal_conv1d};

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Norm, the four projections of a Gated DeltaNet layer, its gates, and its convolution.
pub(in crate::backend::conformance) fn linear_then_gates_and_convolution<S: Subject>(report: &mut Report) {
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
                bench.check_scratch(report, &scratch, tokens, hidden);
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
pub(in crate::backend::conformance) fn convolution_then_delta_rule<S: Subject>(report: &mut Report) {
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
                    let mut scratch = bench.zeros(S::delta_scratch(&shape, tokens));
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
                    bench.look_behind(report, &qkv, case.qkv.len());
                    let bytes = S::delta_scratch(&shape, tokens) as usize;
                    bench.look_behind(report, &scratch, bytes / size_of::<f32>());
                }
            }
        }
    }
}
