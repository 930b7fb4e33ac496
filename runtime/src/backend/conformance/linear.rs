//! Projections.

use ledger::ElementType;

use super::bench::Bench;
use super::matrix::{Matrix, dense, int4};
use super::report::Report;
use super::subject::Subject;
use crate::engine_dir::TensorFormat;
use crate::model::operators::Projection;
use crate::ops::testing::{Numbers, wide};
use crate::ops::{HalfType, Store};

/// Around every border between kernels, and between their tiles.
const TOKENS: [usize; 14] = [1, 2, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 200, 513];
const FEWER: [usize; 5] = [1, 5, 17, 65, 130];
const GROUPS: [usize; 5] = [32, 64, 96, 128, 256];
const ROWS: [usize; 5] = [1, 8, 16, 40, 129];

/// How far the product of `matrix` with `tokens` tokens may be off.
pub(super) fn limit(report: &Report, matrix: &Matrix, tokens: usize) -> f64 {
    match (matrix.format, tokens) {
        (TensorFormat::Dense { .. }, 1) => report.limits.dense_one,
        (TensorFormat::Dense { element: ElementType::F32 }, _) => report.limits.singles,
        (TensorFormat::Dense { .. }, _) => report.limits.halves,
        _ => report.limits.quantised,
    }
}

/// Each matrix by itself, for each of `tokens`.
fn products<S: Subject>(report: &mut Report, matrices: &[Matrix], tokens: &[usize], store: Store) {
    let bench = Bench::<S>::new(matrices);
    let mut numbers = Numbers::new(7);
    for (matrix, weight) in matrices.iter().zip(&bench.weights) {
        for &tokens in tokens {
            let x = numbers.take(tokens * matrix.columns, 1.0);
            let mut expected = matrix.multiply(&wide(&x));
            let on_device = bench.holding(&x);
            let mut out = match store {
                Store::Overwrite => bench.unwritten(expected.len()),
                Store::Add => {
                    let before = numbers.take(expected.len(), 3.0);
                    expected.iter_mut().zip(&before).for_each(|(sum, before)| *sum += f64::from(*before));
                    bench.holding(&before)
                }
            };
            let mut scratch = bench.linear_scratch(tokens, matrix.columns);
            let projection = Projection { weight, out: &mut out, store };
            bench.device.linear(&on_device, tokens, &mut [projection], &mut scratch);
            report.at(format!("linear {} t{tokens}", matrix.words()));
            let found = bench.take(report, &out, expected.len());
            // A single number may be small by chance, and its error is not.
            let chance = if expected.len() < 4 { 10.0 } else { 1.0 };
            report.within("", chance * limit(report, matrix, tokens), &found, &expected);
            bench.check_scratch(report, &scratch, tokens, matrix.columns);
        }
    }
}

/// Every group size and every number of rows.
fn quantised<S: Subject>(report: &mut Report, seed: u64, format: impl Fn(usize) -> TensorFormat) {
    let mut numbers = Numbers::new(seed);
    let mut matrices = Vec::new();
    for group in GROUPS {
        for rows in ROWS {
            matrices.push(Matrix::random(format(group), rows, 768, &mut numbers));
        }
        matrices.push(Matrix::random(format(group), 40, group, &mut numbers));
    }
    products::<S>(report, &matrices, &TOKENS, Store::Overwrite);
}

pub(super) fn linear_int4<S: Subject>(report: &mut Report) {
    quantised::<S>(report, 1, |group| int4(group, false, HalfType::F16));
}

pub(super) fn linear_int4_zero_points<S: Subject>(report: &mut Report) {
    quantised::<S>(report, 2, |group| int4(group, true, HalfType::F16));
}

pub(super) fn linear_int4_bf16_scales<S: Subject>(report: &mut Report) {
    quantised::<S>(report, 3, |group| int4(group, false, HalfType::Bf16));
}

pub(super) fn linear_int4_bf16_scales_and_zero_points<S: Subject>(report: &mut Report) {
    quantised::<S>(report, 4, |group| int4(group, true, HalfType::Bf16));
}

pub(super) fn linear_int8<S: Subject>(report: &mut Report) {
    quantised::<S>(report, 5, |group_size| TensorFormat::Int8 { group_size });
}

fn plain<S: Subject>(report: &mut Report, element: ElementType) {
    let mut numbers = Numbers::new(6);
    let shapes = ROWS.into_iter().map(|rows| (rows, 256)).chain([(40, 32), (40, 96), (512, 2560)]);
    let matrices: Vec<Matrix> =
        shapes.map(|(rows, columns)| Matrix::random(dense(element), rows, columns, &mut numbers)).collect();
    products::<S>(report, &matrices, &TOKENS[..12], Store::Overwrite);
}

pub(super) fn linear_f16<S: Subject>(report: &mut Report) {
    plain::<S>(report, ElementType::F16);
}

pub(super) fn linear_bf16<S: Subject>(report: &mut Report) {
    plain::<S>(report, ElementType::Bf16);
}

pub(super) fn linear_f32<S: Subject>(report: &mut Report) {
    plain::<S>(report, ElementType::F32);
}

fn each_format(group_size: usize) -> [TensorFormat; 6] {
    [
        int4(group_size, true, HalfType::F16),
        TensorFormat::Int8 { group_size },
        int4(group_size, false, HalfType::Bf16),
        dense(ElementType::F16),
        dense(ElementType::Bf16),
        dense(ElementType::F32),
    ]
}

pub(super) fn linear_of_large_matrices<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(8);
    for format in each_format(128).into_iter().take(3) {
        for (rows, columns) in [(512, 2560), (512, 9216), (4096, 2560)] {
            let matrix = Matrix::random(format, rows, columns, &mut numbers);
            products::<S>(report, &[matrix], &FEWER, Store::Overwrite);
        }
        // So many rows and tokens that a GPU takes its largest tiles.
        let matrix = Matrix::random(format, 4096, 256, &mut numbers);
        products::<S>(report, &[matrix], &[1, 129, 600], Store::Overwrite);
    }
    // As many rows as a table has.
    for format in each_format(64).into_iter().take(3) {
        let matrix = Matrix::random(format, 140_001, 64, &mut numbers);
        products::<S>(report, &[matrix], &[1, 4, 11, 20], Store::Overwrite);
    }
}

pub(super) fn linear_that_adds<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(9);
    let matrices = each_format(64).map(|format| Matrix::random(format, 72, 320, &mut numbers));
    products::<S>(report, &matrices, &TOKENS[..12], Store::Add);
    let large = each_format(128).map(|format| Matrix::random(format, 4096, 128, &mut numbers));
    products::<S>(report, &large[..2], &[600], Store::Add);
}

pub(super) fn linear_of_several_matrices<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(10);
    let columns = 768;
    let mut of = |format, rows| Matrix::random(format, rows, columns, &mut numbers);
    let sets = [
        vec![
            of(int4(128, true, HalfType::F16), 200),
            of(int4(128, true, HalfType::F16), 48),
            of(int4(128, true, HalfType::F16), 40),
        ],
        vec![of(int4(32, false, HalfType::F16), 129), of(TensorFormat::Int8 { group_size: 96 }, 17)],
        vec![
            of(int4(64, false, HalfType::Bf16), 300),
            of(TensorFormat::Int8 { group_size: 128 }, 64),
            of(dense(ElementType::Bf16), 6),
            of(dense(ElementType::F16), 7),
        ],
        vec![of(dense(ElementType::F32), 9), of(int4(96, true, HalfType::F16), 16)],
        // Groups of which some are read alike, and some are not.
        vec![
            of(int4(256, true, HalfType::F16), 100),
            of(int4(128, false, HalfType::F16), 90),
            of(int4(32, true, HalfType::F16), 80),
            of(TensorFormat::Int8 { group_size: 256 }, 70),
        ],
        // More than one kernel takes at once.
        (0..6).map(|index| of(each_format(64)[index], 16 * index + 7)).collect(),
    ];
    for (set, matrices) in sets.iter().enumerate() {
        let bench = Bench::<S>::new(matrices);
        for tokens in TOKENS {
            let x = Numbers::new(11).take(tokens * columns, 1.0);
            let on_device = bench.holding(&x);
            let mut outs: Vec<S::Tensor> =
                matrices.iter().map(|matrix| bench.unwritten(tokens * matrix.rows)).collect();
            let mut scratch = bench.linear_scratch(tokens, columns);
            let mut projections: Vec<_> = bench
                .weights
                .iter()
                .zip(&mut outs)
                .map(|(weight, out)| Projection { weight, out, store: Store::Overwrite })
                .collect();
            bench.device.linear(&on_device, tokens, &mut projections, &mut scratch);
            for (index, (matrix, out)) in matrices.iter().zip(&outs).enumerate() {
                report.at(format!("linear set {set} matrix {index}, {} t{tokens}", matrix.words()));
                let found = bench.take(report, out, tokens * matrix.rows);
                report.within("", limit(report, matrix, tokens), &found, &matrix.multiply(&wide(&x)));
            }
        }
    }
}

pub(super) fn linear_of_the_first_rows<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(12);
    let matrices = each_format(64).map(|format| Matrix::random(format, 200, 128, &mut numbers));
    let bench = Bench::<S>::new(&matrices);
    for (matrix, weight) in matrices.iter().zip(&bench.weights) {
        for (rows, tokens) in [(1, 1), (17, 1), (100, 4), (64, 40), (199, 70)] {
            let x = numbers.take(tokens * matrix.columns, 1.0);
            let first = S::first_rows(weight, rows);
            let on_device = bench.holding(&x);
            let mut out = bench.unwritten(tokens * rows);
            let mut scratch = bench.linear_scratch(tokens, matrix.columns);
            let projection = Projection { weight: &first, out: &mut out, store: Store::Overwrite };
            bench.device.linear(&on_device, tokens, &mut [projection], &mut scratch);
            report.at(format!("linear first {rows} of {} t{tokens}", matrix.words()));
            let found = bench.take(report, &out, tokens * rows);
            let whole = matrix.multiply(&wide(&x));
            let expected: Vec<f64> =
                whole.chunks_exact(matrix.rows).flat_map(|row| row[..rows].iter().copied()).collect();
            report.within("", limit(report, matrix, tokens), &found, &expected);
        }
    }
}
