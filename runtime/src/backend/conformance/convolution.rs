//! The causal convolution, however its tokens are split.

use super::bench::Bench;
use super::matrix::Matrix;
use super::report::Report;
use super::subject::Subject;
use crate::model::operators::Keep;
use crate::ops::causal_conv1d::reference;
use crate::ops::testing::Numbers;

/// A sequence and what stood before it.
struct Case {
    channels: usize,
    kernel: usize,
    tokens: usize,
    taps: Vec<f32>,
    /// [kernel - 1, channels].
    history: Vec<f32>,
    x: Vec<f32>,
}

impl Case {
    fn new(seed: u64, kernel: usize, channels: usize, tokens: usize) -> Case {
        let mut numbers = Numbers::new(seed);
        Case {
            channels,
            kernel,
            tokens,
            taps: numbers.take(kernel * channels, 1.0),
            history: numbers.take((kernel - 1) * channels, 2.0),
            x: numbers.take(tokens * channels, 2.0),
        }
    }

    fn truth(&self) -> Vec<f64> {
        reference::forward(self.channels, &self.taps, &self.x, &self.history)
    }

    /// The window behind `tokens` tokens.
    fn window(&self, tokens: usize) -> Vec<f32> {
        let all = [&self.history[..], &self.x].concat();
        all[tokens * self.channels..][..self.history.len()].to_vec()
    }

    fn label(&self) -> String {
        format!("causal_conv1d {} taps, {} channels, t{}", self.kernel, self.channels, self.tokens)
    }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (kernel, channels) in [(2, 96), (3, 129), (4, 1), (4, 384), (4, 6144)] {
        for tokens in [1, 2, 3, 5, 8, 17, 70] {
            all.push(Case::new((kernel * 100 + tokens) as u64, kernel, channels, tokens));
        }
    }
    all
}

fn bench<S: Subject>(cases: &[Case]) -> Bench<S> {
    let taps: Vec<Matrix> = cases.iter().map(|case| Matrix::numbers(&case.taps)).collect();
    Bench::new(&taps)
}

pub(super) fn convolution_in_pieces<S: Subject>(report: &mut Report) {
    let cases = cases();
    let bench = bench::<S>(&cases);
    for (case, taps) in cases.iter().zip(&bench.weights) {
        let mut whole: Option<Vec<f32>> = None;
        for piece in [case.tokens, 1, 2, 5, 16] {
            let mut x = bench.holding(&case.x);
            let mut window = bench.holding(&case.history);
            let mut row = 0;
            while row < case.tokens {
                let rows = row..(row + piece).min(case.tokens);
                row = rows.end;
                bench.device.causal_conv1d(case.channels, rows, Keep::All, taps, &mut x, &mut window);
            }
            report.at(format!("{} in pieces of {piece}", case.label()));
            let found = bench.take(report, &x, case.x.len());
            report.within("", report.limits.plain, &found, &case.truth());
            let kept = bench.take(report, &window, case.history.len());
            report.same("window", &kept, &case.window(case.tokens));
            let first = whole.get_or_insert_with(|| found.clone());
            report.same("as in one piece", &found, first);
        }
    }
}

pub(super) fn convolution_of_undecided_tokens<S: Subject>(report: &mut Report) {
    let mut cases = cases();
    cases.retain(|case| case.tokens <= 8);
    let bench = bench::<S>(&cases);
    for (case, taps) in cases.iter().zip(&bench.weights) {
        let Case { channels, kernel, tokens, .. } = *case;
        let elements = case.history.len() + case.x.len();
        for accepted in 0..=tokens {
            // Rows of others stand before and behind.
            let x = [vec![7.0; 2 * channels], case.x.clone(), vec![8.0; channels]].concat();
            let mut on_device = bench.holding(&x);
            let mut window = bench.holding(&[&case.history[..], &vec![f32::NAN; case.x.len()]].concat());
            let rows = 2..2 + tokens;
            let device = &bench.device;
            device.causal_conv1d(channels, rows, Keep::Undecided, taps, &mut on_device, &mut window);
            report.at(format!("{}, undecided", case.label()));
            let found = bench.take(report, &on_device, x.len());
            let end = (2 + tokens) * channels;
            report.within("", report.limits.plain, &found[2 * channels..end], &case.truth());
            report.same("rows before", &found[..2 * channels], &x[..2 * channels]);
            report.same("rows behind", &found[end..], &x[end..]);
            let kept = bench.take(report, &window, elements);
            report.same("window", &kept, &[&case.history[..], &case.x].concat());
            device.commit_conv1d(channels, kernel - 1, accepted, &mut window);
            report.at(format!("{}, {accepted} accepted", case.label()));
            let kept = bench.take(report, &window, elements);
            report.same("window", &kept[..case.history.len()], &case.window(accepted));
        }
    }
}
