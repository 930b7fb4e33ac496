use super::{Inputs, Shape, chunked, commit, forward, gates, recurrent, reference, verify};
use crate::backend::cpu::Cpu;
use crate::ops::activation::reference as activation;
use crate::ops::testing::{Guarded, Numbers, assert_close, every_cpu, wide};

/// Normalised vectors and contracting updates in f32: a few units in the last place of the largest value.
const TOLERANCE: f64 = 5e-6;

struct Case {
    shape: Shape,
    qkv: Vec<f32>,
    g: Vec<f32>,
    beta: Vec<f32>,
    state: Vec<f32>,
}

impl Case {
    fn new(seed: u64, shape: Shape, tokens: usize, slowest: f32, fastest: f32) -> Self {
        let mut numbers = Numbers::new(seed);
        let gates = tokens * shape.value_heads;
        Self {
            shape,
            qkv: numbers.take(tokens * shape.row(), 1.5),
            g: numbers.between(gates, fastest, slowest),
            beta: numbers.between(gates, 0.0, 1.0),
            state: numbers.take(shape.value_heads * shape.head_state(), 0.7),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs { qkv: &self.qkv, g: &self.g, beta: &self.beta }
    }

    fn tokens(&self, range: std::ops::Range<usize>) -> Inputs<'_> {
        let (row, heads) = (self.shape.row(), self.shape.value_heads);
        let gates = range.start * heads..range.end * heads;
        Inputs {
            qkv: &self.qkv[range.start * row..range.end * row],
            g: &self.g[gates.clone()],
            beta: &self.beta[gates],
        }
    }

    /// Outputs and state in f64.
    fn truth(&self) -> (Vec<f64>, Vec<f64>) {
        let mut state = wide(&self.state);
        (reference::recurrent(&self.shape, self.inputs(), &mut state), state)
    }

    fn out_len(&self) -> usize {
        self.g.len() * self.shape.value_dim
    }

    /// The fast recurrent form over consecutive calls.
    fn run(&self, cpu: &Cpu, lengths: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let mut state = Guarded::of(&self.state);
        let mut all = Vec::new();
        let mut start = 0;
        for &length in lengths {
            let mut out = Guarded::nan(length * self.shape.value_heads * self.shape.value_dim);
            recurrent(cpu, &self.shape, self.tokens(start..start + length), state.slice(), out.slice());
            all.extend(out.take());
            start += length;
        }
        (all, state.take())
    }
}

const fn shape(key_heads: usize, value_heads: usize, key_dim: usize, value_dim: usize) -> Shape {
    Shape { key_heads, value_heads, key_dim, value_dim }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (seed, tokens) in [1, 2, 63, 64, 65, 100].into_iter().enumerate() {
        for (shape, slowest, fastest) in [
            (shape(2, 2, 128, 128), 0.0, -0.1),
            (shape(2, 4, 16, 80), 0.0, -100.0),
            (shape(1, 3, 24, 20), -0.5, -8.0),
            (shape(3, 3, 8, 7), 0.0, 0.0),
        ] {
            all.push(Case::new(seed as u64, shape, tokens, slowest, fastest));
        }
    }
    all
}

#[test]
fn references_agree_with_each_other() {
    for case in cases() {
        let (out, state) = case.truth();
        for chunk in [1, 5, 64] {
            let mut chunked_state = wide(&case.state);
            let chunked = reference::chunked(&case.shape, chunk, case.inputs(), &mut chunked_state);
            for (a, b) in out.iter().zip(&chunked).chain(state.iter().zip(&chunked_state)) {
                assert!((a - b).abs() < 1e-11, "{a} {b}");
            }
        }
    }
}

#[test]
fn recurrent_agrees_with_the_reference() {
    for case in cases() {
        let (out, state) = case.truth();
        for cpu in every_cpu() {
            let (actual, actual_state) = case.run(&cpu, &[case.g.len() / case.shape.value_heads]);
            assert_close(&actual, &out, TOLERANCE, "outputs");
            assert_close(&actual_state, &state, TOLERANCE, "state");
        }
    }
}

#[test]
fn chunked_agrees_with_the_reference() {
    for case in cases() {
        let (out, state) = case.truth();
        for cpu in every_cpu() {
            for chunk in [1, 3, 16, 64] {
                let mut actual = Guarded::nan(case.out_len());
                let mut actual_state = Guarded::of(&case.state);
                let bytes = case.shape.chunked_workspace(chunk, cpu.pool.threads());
                let mut workspace = Guarded::nan(bytes.0 as usize / 4);
                let (out_slice, state_slice) = (actual.slice(), actual_state.slice());
                chunked(&cpu, &case.shape, chunk, case.inputs(), state_slice, out_slice, workspace.slice());
                workspace.take();
                assert_close(&actual.take(), &out, TOLERANCE, "outputs");
                assert_close(&actual_state.take(), &state, TOLERANCE, "state");
            }
        }
    }
}

#[test]
fn any_split_and_any_number_of_threads_give_the_same_bits() {
    let case = Case::new(9, shape(2, 4, 128, 112), 130, 0.0, -3.0);
    let mut last = None;
    for cpu in every_cpu() {
        let whole = case.run(&cpu, &[130]);
        assert_eq!(whole, case.run(&cpu, &[1; 130]));
        assert_eq!(whole, case.run(&cpu, &[1, 2, 61, 64, 2]));
        if let Some((isa, other)) = &last
            && *isa == cpu.isa
        {
            assert_eq!(&whole, other, "{isa:?} with other threads");
        }
        last = Some((cpu.isa, whole));
    }
}

#[test]
fn a_gate_of_minus_100_forgets_everything_and_0_nothing() {
    let mut case = Case::new(3, shape(1, 2, 16, 16), 3, 0.0, 0.0);
    for (g, beta) in case.g.chunks_exact_mut(2).zip(case.beta.chunks_exact_mut(2)) {
        g.copy_from_slice(&[-100.0, 0.0]);
        beta.copy_from_slice(&[0.0, 0.0]);
    }
    for cpu in every_cpu() {
        let (out, state) = case.run(&cpu, &[3]);
        assert!(state[..256].iter().all(|s| s.abs() < 1e-30));
        assert_eq!(state[256..], case.state[256..], "no decay and no update");
        assert!(out.iter().all(|o| o.is_finite()));
    }
}

#[test]
fn a_fading_state_never_becomes_subnormal() {
    let mut case = Case::new(6, shape(1, 1, 32, 48), 300, -0.5, -0.6);
    case.beta.fill(0.0);
    for cpu in every_cpu() {
        for tokens in 80..90 {
            let mut state = case.state.clone();
            let mut out = vec![f32::NAN; tokens * 48];
            recurrent(&cpu, &case.shape, case.tokens(0..tokens), &mut state, &mut out);
            assert!(state.iter().all(|&s| s == 0.0 || s.abs() >= (-63f32).exp2()));
            assert!(state.contains(&0.0), "the case is not long enough");
        }
        assert!(case.run(&cpu, &[300]).1.iter().all(|&s| s == 0.0));
    }
}

#[test]
fn no_tokens_change_nothing() {
    let case = Case::new(4, shape(2, 4, 16, 16), 0, 0.0, 0.0);
    for cpu in every_cpu() {
        let mut state = case.state.clone();
        forward(&cpu, &case.shape, case.inputs(), &mut state, &mut []);
        assert_eq!(state, case.state);
    }
}

#[test]
fn gates_agree_with_their_formula() {
    let mut numbers = Numbers::new(5);
    let (tokens, heads) = (33, 6);
    let a = numbers.take(tokens * heads, 40.0);
    let b = numbers.take(tokens * heads, 40.0);
    let a_log = numbers.between(heads, -3.0, 2.8);
    let dt_bias = numbers.take(heads, 5.0);
    let factor: Vec<f32> = a_log.iter().map(|a| -a.exp()).collect();
    for cpu in every_cpu() {
        let (mut g, mut beta) = (Guarded::of(&a), Guarded::of(&b));
        gates(&cpu, g.slice(), beta.slice(), &factor, &dt_bias);
        for (index, (g, beta)) in g.take().into_iter().zip(beta.take()).enumerate() {
            let head = index % heads;
            let sum = f64::from(a[index] + dt_bias[head]);
            let expected = f64::from(factor[head]) * activation::softplus(sum);
            assert!((f64::from(g) - expected).abs() <= 1e-6 * expected.abs(), "{g} {expected}");
            assert!(g <= 0.0);
            let expected = activation::sigmoid(f64::from(b[index]));
            assert!((f64::from(beta) - expected).abs() <= 1e-7 * expected, "{beta} {expected}");
        }
    }
}

#[test]
fn an_accepted_prefix_of_the_log_gives_the_bits_of_the_recurrence() {
    let shapes = [
        Shape { key_heads: 2, value_heads: 4, key_dim: 128, value_dim: 128 },
        Shape { key_heads: 1, value_heads: 3, key_dim: 32, value_dim: 40 },
        Shape { key_heads: 1, value_heads: 1, key_dim: 300, value_dim: 17 },
        Shape { key_heads: 1, value_heads: 2, key_dim: 512, value_dim: 33 },
    ];
    for (seed, shape) in (0..).zip(shapes) {
        for tokens in [1, 2, 4, 8] {
            let case = Case::new(90 + seed, shape, tokens, -0.001, -60.0);
            for cpu in every_cpu() {
                let (expected_out, _) = case.run(&cpu, &[tokens]);
                let (mut log, mut out) =
                    (Guarded::nan(tokens * shape.log_row()), Guarded::nan(expected_out.len()));
                verify(&cpu, &shape, case.inputs(), &case.state, log.slice(), out.slice());
                assert_eq!(out.take(), expected_out);
                let log = log.take();
                for accepted in 0..=tokens {
                    let mut state = Guarded::of(&case.state);
                    commit(&cpu, &shape, &log, accepted, state.slice());
                    let mut expected = case.state.clone();
                    let mut sink = vec![0.0; accepted * shape.value_heads * shape.value_dim];
                    recurrent(&cpu, &shape, case.tokens(0..accepted), &mut expected, &mut sink);
                    assert_eq!(state.take(), expected, "{accepted} of {tokens}, {shape:?}");
                }
            }
        }
    }
}
