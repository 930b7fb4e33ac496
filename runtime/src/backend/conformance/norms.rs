//! Norms, and the product of an MLP's halves.

use super::bench::Bench;
use super::matrix::Matrix;
use super::report::Report;
use super::subject::Subject;
use crate::ops::testing::Numbers;
use crate::ops::{Heads, rms_norm, swiglu as product};

const EPS: f32 = 1e-6;

pub(super) fn norm_of_rows<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(20);
    for width in [32, 96, 128, 1000, 2560, 4096] {
        let weight = numbers.take(width, 2.0);
        let bench = Bench::<S>::new(&[Matrix::numbers(&weight)]);
        for (all, rows) in [(1, 0..1), (5, 0..5), (9, 3..4), (9, 2..9), (70, 5..70)] {
            let x = numbers.take(all * width, 5.0);
            let (on_device, mut out) = (bench.holding(&x), bench.unwritten(rows.len() * width));
            bench.device.rms_norm(&on_device, rows.clone(), &bench.weights[0], EPS, &mut out);
            report.at(format!("rms_norm {width}, rows {rows:?} of {all}"));
            let found = bench.take(report, &out, rows.len() * width);
            let chosen = x[rows.start * width..rows.end * width].chunks_exact(width);
            let expected: Vec<f64> =
                chosen.flat_map(|row| rms_norm::reference::row(row, &weight, EPS)).collect();
            report.within("", report.limits.plain, &found, &expected);
            let after = bench.take(report, &on_device, x.len());
            report.same("what is normed", &after, &x);
        }
    }
}

pub(super) fn norm_of_heads<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(21);
    for width in [16, 64, 80, 128, 256] {
        let weight = numbers.take(width, 2.0);
        let bench = Bench::<S>::new(&[Matrix::numbers(&weight)]);
        for (tokens, heads) in [(1, 1), (1, 6), (5, 8), (33, 3)] {
            for layout in [Heads::packed(tokens, heads, width), Heads::interleaved(tokens, heads, width)] {
                let x = numbers.take(tokens * layout.token_stride, 5.0);
                let mut on_device = bench.holding(&x);
                bench.device.rms_norm_heads(&mut on_device, layout, &bench.weights[0], EPS);
                report.at(format!("rms_norm_heads {layout:?}"));
                let found = bench.take(report, &on_device, x.len());
                let mut expected: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
                for token in 0..tokens {
                    for head in 0..heads {
                        let range = layout.range(token, head);
                        let normed = rms_norm::reference::row(&x[range.clone()], &weight, EPS);
                        expected[range].copy_from_slice(&normed);
                    }
                }
                report.within("", report.limits.plain, &found, &expected);
            }
        }
    }
}

pub(super) fn gated_norm<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(22);
    for width in [16, 80, 128, 256] {
        let weight = numbers.take(width, 2.0);
        let bench = Bench::<S>::new(&[Matrix::numbers(&weight)]);
        for rows in [1, 16, 33, 300] {
            let (x, gate) = (numbers.take(rows * width, 5.0), numbers.take(rows * width, 8.0));
            let (mut on_device, z) = (bench.holding(&x), bench.holding(&gate));
            bench.device.rms_norm_gated(&mut on_device, x.len(), &z, &bench.weights[0], EPS);
            report.at(format!("rms_norm_gated {width}, {rows} rows"));
            let found = bench.take(report, &on_device, x.len());
            let pairs = x.chunks_exact(width).zip(gate.chunks_exact(width));
            let expected: Vec<f64> =
                pairs.flat_map(|(x, gate)| rms_norm::reference::gated_row(x, gate, &weight, EPS)).collect();
            report.within("", report.limits.plain, &found, &expected);
        }
    }
}

pub(super) fn swiglu<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(23);
    let bench = Bench::<S>::new(&[]);
    for elements in [1, 31, 257, 100_000] {
        let (gate, up) = (numbers.take(elements, 40.0), numbers.take(elements, 3.0));
        let (mut on_device, with) = (bench.holding(&gate), bench.holding(&up));
        bench.device.swiglu(elements, &mut on_device, &with);
        report.at(format!("swiglu {elements}"));
        let found = bench.take(report, &on_device, elements);
        report.within("", report.limits.plain, &found, &product::reference::forward(&gate, &up));
    }
}
