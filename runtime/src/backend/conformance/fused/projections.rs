//! A norm before a projection, and an MLP.

use ledger::ElementType;

use super::super::bench::Bench;
use super::super::linear::limit;
use super::super::matrix::{Matrix, dense, int4};
use super::super::report::Report;
use super::super::subject::Subject;
use super::{EPS, TOKENS, normed_rows};
use crate::engine_dir::TensorFormat;
use crate::model::operators::Projection;
use crate::ops::activation::reference::silu;
use crate::ops::testing::Numbers;
use crate::ops::{HalfType, Store, rms_norm};

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

pub(in crate::backend::conformance) fn norm_then_linear<S: Subject>(report: &mut Report) {
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
                bench.check_scratch(report, &scratch, tokens, columns);
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
pub(in crate::backend::conformance) fn gated_norm_then_linear<S: Subject>(report: &mut Report) {
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
                bench.check_scratch(report, &scratch, tokens, columns);
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
pub(in crate::backend::conformance) fn mlp<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(92);
    let formats = [
        (int4(128, true, HalfType::F16), int4(128, true, HalfType::F16), 256, 640),
        (int4(32, false, HalfType::Bf16), TensorFormat::Int8 { group_size: 32 }, 96, 160),
        (TensorFormat::Int8 { group_size: 128 }, int4(128, false, HalfType::F16), 1024, 2560),
        (int4(64, true, HalfType::F16), dense(ElementType::Bf16), 128, 192),
        (dense(ElementType::F16), int4(64, true, HalfType::F16), 128, 192),
        (int4(128, true, HalfType::F16), int4(128, true, HalfType::F16), 128, 4096),
        (TensorFormat::Int8 { group_size: 64 }, TensorFormat::Int8 { group_size: 64 }, 128, 4096),
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
        // So many rows and tokens that a GPU takes its largest tiles.
        let tokens: &[usize] = if wide_width == 4096 { &[1, 5, 40, 300] } else { &TOKENS };
        for &tokens in tokens {
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
            bench.check_scratch(report, &scratch, tokens, wide_width.max(hidden));
            let expected_normed = normed_rows(&x, &weight);
            let found = bench.take(report, &normed, x.len());
            report.within("normed", report.limits.plain, &found, &expected_normed);
            let gates = matrices[0].multiply(&expected_normed);
            let ups = matrices[1].multiply(&expected_normed);
            let product: Vec<f64> = gates.iter().zip(&ups).map(|(gate, up)| silu(*gate) * up).collect();
            let found = bench.take(report, &gate, product.len());
            let inner_limit = 2.0 * limit(report, &matrices[0], tokens);
            if S::READABLE.contains(&tokens) {
                report.within("product", inner_limit, &found, &product);
            }
            let mut expected = matrices[2].multiply(&product);
            expected.iter_mut().zip(&x).for_each(|(sum, before)| *sum += f64::from(*before));
            let found = bench.take(report, &residual, x.len());
            report.within("", inner_limit + limit(report, &matrices[2], tokens), &found, &expected);
        }
    }
}
