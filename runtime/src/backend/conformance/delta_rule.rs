//! The gated delta rule by itself: token by token, with a log, and its gates. Its chunked form is a matter of `fused`.

use super::bench::Bench;
use super::matrix::Matrix;
use super::report::Report;
use super::subject::Subject;
use crate::model::operators::LogRows;
use crate::ops::activation::reference::{sigmoid, softplus};
use crate::ops::gated_delta_rule::{Inputs, Shape, reference};
use crate::ops::testing::{Numbers, wide};

const fn shape(key_heads: usize, value_heads: usize, key_dim: usize, value_dim: usize) -> Shape {
    Shape { key_heads, value_heads, key_dim, value_dim }
}

const SHAPES: [Shape; 5] = [
    shape(2, 4, 128, 128),
    shape(1, 2, 64, 64),
    shape(3, 3, 32, 32),
    shape(1, 3, 128, 64),
    shape(1, 3, 24, 20),
];

/// The slowest and the fastest decay, as logarithms.
pub(super) const DECAYS: [(f32, f32); 4] = [(0.0, 0.0), (0.0, -0.1), (-0.5, -8.0), (0.0, -100.0)];

/// How much more an output may be off than a state: where all has been forgotten, it is a product of nearly orthogonal vectors.
const OUTPUTS: f64 = 4.0;

/// What the recurrence reads.
pub(super) struct Case {
    pub(super) shape: Shape,
    pub(super) qkv: Vec<f32>,
    pub(super) decay: Vec<f32>,
    pub(super) beta: Vec<f32>,
    pub(super) state: Vec<f32>,
}

impl Case {
    pub(super) fn new(seed: u64, shape: Shape, tokens: usize, (slowest, fastest): (f32, f32)) -> Case {
        let mut numbers = Numbers::new(seed);
        let gates = tokens * shape.value_heads;
        Case {
            shape,
            qkv: numbers.take(tokens * shape.row(), 1.5),
            decay: numbers.between(gates, fastest, slowest),
            beta: numbers.between(gates, 0.0, 1.0),
            state: numbers.take(shape.value_heads * shape.head_state(), 0.7),
        }
    }

    /// Outputs and state behind the first `tokens`, where `qkv` is what the recurrence reads.
    pub(super) fn truth(&self, qkv: &[f32], tokens: usize) -> (Vec<f64>, Vec<f64>) {
        let gates = tokens * self.shape.value_heads;
        let (g, beta) = (&self.decay[..gates], &self.beta[..gates]);
        let inputs = Inputs { qkv: &qkv[..tokens * self.shape.row()], g, beta };
        let mut state = wide(&self.state);
        (reference::recurrent(&self.shape, inputs, &mut state), state)
    }

    pub(super) fn tokens(&self) -> usize {
        self.decay.len() / self.shape.value_heads
    }

    pub(super) fn label(&self) -> String {
        let Shape { key_heads, value_heads, key_dim, value_dim } = self.shape;
        let lowest = self.decay.iter().copied().fold(0.0, f32::min);
        format!(
            "{key_heads}/{value_heads} heads {key_dim}x{value_dim} t{} decays to {lowest:.1}",
            self.tokens()
        )
    }
}

pub(super) fn delta_rule<S: Subject>(report: &mut Report) {
    let bench = Bench::<S>::new(&[]);
    for (seed, shape) in (60..).zip(SHAPES) {
        for tokens in [1, 2, 8, 15, 16, 63, 64, 65, 200, 513] {
            for decays in DECAYS {
                let case = Case::new(seed + tokens as u64, shape, tokens, decays);
                let (expected, expected_state) = case.truth(&case.qkv, tokens);
                for pieces in [vec![tokens], vec![1, 2, 61, 9, 500]] {
                    let (qkv, decay) = (bench.holding(&case.qkv), bench.holding(&case.decay));
                    let beta = bench.holding(&case.beta);
                    let mut state = bench.holding(&case.state);
                    let mut out = bench.unwritten(expected.len());
                    let mut scratch = bench.zeros(S::delta_scratch(&shape, tokens));
                    let mut row = 0;
                    for piece in pieces.iter().map(|piece| (*piece).min(tokens)) {
                        let rows = row..(row + piece).min(tokens);
                        row = rows.end;
                        bench.device.gated_delta_rule(
                            &shape,
                            rows.clone(),
                            &qkv,
                            &decay,
                            &beta,
                            &mut state,
                            None,
                            &mut out,
                            &mut scratch,
                        );
                        if row == tokens {
                            break;
                        }
                    }
                    report.at(format!("delta rule {} in {} pieces", case.label(), pieces.len()));
                    let limit = report.limits.delta_rule[0];
                    let found = bench.take(report, &out, expected.len());
                    report.within("", OUTPUTS * limit, &found, &expected);
                    let found = bench.take(report, &state, case.state.len());
                    report.within("state", limit, &found, &expected_state);
                }
            }
        }
    }
}

pub(super) fn delta_rule_with_a_log<S: Subject>(report: &mut Report) {
    let bench = Bench::<S>::new(&[]);
    for (seed, shape) in (70..).zip(SHAPES) {
        for tokens in [1, 2, 4, 8] {
            for decays in DECAYS {
                let case = Case::new(seed + tokens as u64, shape, tokens, decays);
                let (expected, _) = case.truth(&case.qkv, tokens);
                // Another layer's rows stand before this one's.
                let (first, length) = (3 * shape.log_row(), tokens * shape.log_row());
                let before = vec![0.5; first];
                let mut log = bench.holding(&[&before[..], &vec![f32::NAN; length]].concat());
                let (qkv, decay) = (bench.holding(&case.qkv), bench.holding(&case.decay));
                let beta = bench.holding(&case.beta);
                let mut state = bench.holding(&case.state);
                let mut out = bench.unwritten(expected.len());
                let mut scratch = bench.zeros(S::delta_scratch(&shape, tokens));
                let rows = Some(LogRows { log: &mut log, first });
                bench.device.gated_delta_rule(
                    &shape,
                    0..tokens,
                    &qkv,
                    &decay,
                    &beta,
                    &mut state,
                    rows,
                    &mut out,
                    &mut scratch,
                );
                report.at(format!("delta rule with a log {}", case.label()));
                let limit = report.limits.delta_rule[0];
                let found = bench.take(report, &out, expected.len());
                report.within("", OUTPUTS * limit, &found, &expected);
                let found = bench.take(report, &state, case.state.len());
                report.same("the state stays", &found, &case.state);
                let found = bench.take(report, &log, first + length);
                report.same("another layer's rows", &found[..first], &before);
                for accepted in 0..=tokens {
                    let mut state = bench.holding(&case.state);
                    let rows = LogRows { log: &mut log, first };
                    bench.device.commit_delta_rule(&shape, rows, accepted, &mut state);
                    let (_, expected) = case.truth(&case.qkv, accepted);
                    let found = bench.take(report, &state, case.state.len());
                    report.within(&format!("{accepted} accepted"), limit, &found, &expected);
                }
            }
        }
    }
}

pub(super) fn delta_gates<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(80);
    for heads in [1, 6, 32] {
        let a_log = numbers.between(heads, -3.0, 2.8);
        let negated: Vec<f32> = a_log.iter().map(|a| -a.exp()).collect();
        let bias = numbers.take(heads, 5.0);
        let bench = Bench::<S>::new(&[Matrix::numbers(&negated), Matrix::numbers(&bias)]);
        for tokens in [1, 8, 33, 200] {
            let (a, b) = (numbers.take(tokens * heads, 40.0), numbers.take(tokens * heads, 40.0));
            let (mut decay, mut beta) = (bench.holding(&a), bench.holding(&b));
            bench.device.delta_gates(tokens, &mut decay, &mut beta, &bench.weights[0], &bench.weights[1]);
            report.at(format!("delta_gates {heads} heads t{tokens}"));
            let expected: Vec<f64> = a
                .iter()
                .enumerate()
                .map(|(index, a)| {
                    f64::from(negated[index % heads]) * softplus(f64::from(*a + bias[index % heads]))
                })
                .collect();
            let found = bench.take(report, &decay, a.len());
            report.within("decay", report.limits.plain, &found, &expected);
            let expected: Vec<f64> = b.iter().map(|b| sigmoid(f64::from(*b))).collect();
            let found = bench.take(report, &beta, b.len());
            report.within("beta", report.limits.plain, &found, &expected);
        }
    }
}
