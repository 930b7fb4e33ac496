mod cases;

use proptest::prelude::*;

use super::*;
use crate::backend::cpu::guarded::Guarded;
use crate::backend::cpu::{InstructionSet, Pool};
use crate::ops::matmul_dense::{self, DenseType};
use crate::ops::matmul_int4;
use crate::ops::quantize_activations::quantize_activations;
use cases::{Case, KINDS, Kind, Random};

/// What the fast path multiplies with: the activations after quantisation.
fn rounded(x: &[f32], tokens: usize, group_size: usize) -> Vec<f64> {
    let pool = Pool::new(1).unwrap();
    let columns = x.len() / tokens;
    let mut workspace = vec![0; workspace_bytes(tokens, columns, group_size).0 as usize];
    let quantized =
        quantize_activations(&pool, InstructionSet::Portable, x, tokens, group_size, &mut workspace).unwrap();
    (0..x.len())
        .map(|index| {
            let (token, column) = (index / columns, index % columns);
            let group = column / group_size;
            let value = quantized.group_values(token, group)[column % group_size];
            f64::from(value) * f64::from(quantized.group_scale(token, group))
        })
        .collect()
}

/// One call with one matrix; the output lies between guards, and everything is filled with NaN before.
fn product(
    pool: &Pool,
    isa: InstructionSet,
    precision: Precision,
    case: &Case,
    x: &[f32],
    tokens: usize,
) -> Vec<f32> {
    const GUARD: usize = 64;
    let bytes = workspace_bytes(tokens, case.columns, case.group_size).0 as usize;
    let mut workspace = vec![0xff; bytes + GUARD];
    let (workspace, workspace_guard) = workspace.split_at_mut(bytes);
    let mut out = vec![f32::NAN; tokens * case.rows + 2 * GUARD];
    let end = out.len() - GUARD;
    let mut projections =
        [Projection { matrix: case.matrix(), out: &mut out[GUARD..end], store: Store::Overwrite }];
    forward(pool, isa, precision, x, tokens, &mut projections, workspace).unwrap();
    assert!(workspace_guard.iter().all(|&byte| byte == 0xff), "workspace overrun");
    assert!(out[..GUARD].iter().chain(&out[end..]).all(|value| value.is_nan()), "output overrun");
    out[GUARD..end].to_vec()
}

/// Compares every instruction set with the f64 product, at both precisions.
fn agrees(kind: Kind, rows: usize, columns: usize, group_size: usize, tokens: usize, seed: u64) {
    let mut random = Random(seed | 1);
    let case = Case::new(kind, rows, columns, group_size, &mut random);
    let x = Guarded::new(&random.floats(tokens * columns));
    let pool = Pool::new(2).unwrap();
    for precision in [Precision::Exact, Precision::Fast] {
        let fast = precision == Precision::Fast && !matches!(kind, Kind::Dense(_));
        let operand =
            if fast { rounded(&x, tokens, group_size) } else { x.iter().map(|&x| f64::from(x)).collect() };
        let expected = case.expected(&operand);
        for isa in InstructionSet::all_supported() {
            let found = product(&pool, isa, precision, &case, &x, tokens);
            for (index, (found, (expected, magnitude))) in found.iter().zip(&expected).enumerate() {
                // Some dozen f32 additions a lane, each with half an ulp of a partial sum that the magnitudes bound.
                let tolerance = 2e-6 * magnitude + 1e-30;
                assert!(
                    (f64::from(*found) - expected).abs() <= tolerance,
                    "{kind:?} {rows}x{columns} g{group_size}, {tokens} tokens, {isa:?} {precision:?}: \
                     output {index} is {found}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn every_kind_agrees_with_the_reference_on_awkward_shapes() {
    for (seed, kind) in KINDS.into_iter().enumerate() {
        for (rows, columns, group_size) in
            [(1, 32, 32), (17, 96, 32), (48, 128, 64), (70, 384, 128), (33, 320, 160)]
        {
            for tokens in [1, 2, 3, 4, 5, 6, 7, 8, 9, 17] {
                agrees(kind, rows, columns, group_size, tokens, seed as u64 + 1);
            }
        }
        for tokens in [63, 64, 65] {
            agrees(kind, 80, 256, 128, tokens, seed as u64 + 77);
        }
    }
}

#[test]
fn a_whole_row_may_be_one_group() {
    agrees(Kind::Int4 { zero_points: true, bf16: false }, 18, 9728, 9728, 3, 5);
    agrees(Kind::Int8, 18, 9728, 9728, 3, 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_shapes_agree_with_the_reference(
        kind in 0..KINDS.len(),
        rows in 1usize..100,
        groups in 1usize..6,
        runs in 1usize..6,
        tokens in 1usize..20,
        seed in any::<u64>(),
    ) {
        agrees(KINDS[kind], rows, groups * runs * 32, runs * 32, tokens, seed);
    }

    #[test]
    fn dense_columns_need_no_multiple(
        element in 5..8usize,
        rows in 1usize..40,
        columns in 1usize..300,
        tokens in 1usize..10,
        seed in any::<u64>(),
    ) {
        agrees(KINDS[element], rows, columns, 32, tokens, seed);
    }
}

#[test]
fn a_product_never_depends_on_the_other_tokens_or_on_the_threads() {
    let mut random = Random(11);
    let tokens = 37;
    for kind in KINDS {
        let case = Case::new(kind, 75, 384, 128, &mut random);
        let x = random.floats(tokens * case.columns);
        for isa in InstructionSet::all_supported() {
            for precision in [Precision::Exact, Precision::Fast] {
                let whole = product(&Pool::new(1).unwrap(), isa, precision, &case, &x, tokens);
                for (threads, chunk) in [(1, 1), (2, 2), (3, 5), (2, 16), (4, 37)] {
                    let pool = Pool::new(threads).unwrap();
                    let mut pieces = Vec::new();
                    for x in x.chunks(chunk * case.columns) {
                        pieces.extend(product(&pool, isa, precision, &case, x, x.len() / case.columns));
                    }
                    let same = whole.iter().zip(&pieces).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(
                        same && whole.len() == pieces.len(),
                        "{kind:?} {isa:?} {precision:?} in chunks of {chunk}"
                    );
                }
            }
        }
    }
}

/// The formula of `tiles` value by value, with its one fused multiply-add a group.
fn fused(case: &Case, x: &[f32], tokens: usize) -> Vec<f32> {
    let (columns, size) = (case.columns, case.group_size);
    let (pool, isa) = (Pool::new(1).unwrap(), InstructionSet::Portable);
    let mut workspace = vec![0; workspace_bytes(tokens, columns, size).0 as usize];
    let activations = quantize_activations(&pool, isa, x, tokens, size, &mut workspace).unwrap();
    let matrix = case.matrix();
    let tiles = match &matrix {
        Matrix::Int4(matrix) => matrix.tiles(),
        Matrix::Int8(matrix) => matrix.tiles(),
        Matrix::Dense(_) => panic!("dense matrices have no groups"),
    };
    let mut y = vec![0.0f32; tokens * case.rows];
    for (index, y) in y.iter_mut().enumerate() {
        let (token, row) = (index / case.rows, index % case.rows);
        for group in 0..columns / size {
            let scale = tiles.scale_type().to_f32(tiles.group_scales(row / 16, group)[row % 16]);
            let weights = &case.weights[row * columns + group * size..][..size];
            let terms = weights.iter().zip(activations.group_values(token, group));
            let dot: i32 = terms.map(|(w, &a)| (w / f64::from(scale)).round() as i32 * i32::from(a)).sum();
            *y = (dot as f32 * scale).mul_add(activations.group_scale(token, group), *y);
        }
    }
    y
}

#[test]
fn instruction_sets_with_fused_products_give_the_bits_of_the_formula() {
    let mut random = Random(5);
    let pool = Pool::new(2).unwrap();
    for kind in KINDS.into_iter().filter(|kind| !matches!(kind, Kind::Dense(_))) {
        let case = Case::new(kind, 45, 384, 64, &mut random);
        for tokens in 1..=9 {
            let x = random.floats(tokens * case.columns);
            let expected = fused(&case, &x, tokens);
            for isa in InstructionSet::all_supported().filter(|&isa| isa != InstructionSet::Portable) {
                let found = product(&pool, isa, Precision::Fast, &case, &x, tokens);
                let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{kind:?}, {tokens} tokens, {isa:?}");
            }
        }
    }
}

#[test]
fn several_matrices_share_a_call() {
    let mut random = Random(3);
    let (tokens, columns) = (5, 256);
    let cases: Vec<Case> = (0..11)
        .map(|i| Case::new(KINDS[i % KINDS.len()], 16 * i + 7, columns, [32, 64, 128][i % 3], &mut random))
        .collect();
    let x = random.floats(tokens * columns);
    let (pool, isa) = (Pool::new(2).unwrap(), InstructionSet::detect());
    for precision in [Precision::Exact, Precision::Fast] {
        let mut outs: Vec<Vec<f32>> = cases.iter().map(|case| vec![0.25; tokens * case.rows]).collect();
        let mut projections: Vec<Projection<'_>> = cases
            .iter()
            .zip(&mut outs)
            .map(|(case, out)| Projection { matrix: case.matrix(), out, store: Store::Add })
            .collect();
        let mut workspace = vec![0xff; workspace_bytes(tokens, columns, 32).0 as usize];
        forward(&pool, isa, precision, &x, tokens, &mut projections, &mut workspace).unwrap();
        for (case, out) in cases.iter().zip(&outs) {
            let alone = product(&pool, isa, precision, case, &x, tokens);
            assert!(out.iter().zip(&alone).all(|(sum, product)| *sum == 0.25 + product));
        }
    }
}

#[test]
fn a_row_that_is_looked_up_is_the_row_that_is_multiplied() {
    let mut random = Random(9);
    for kind in KINDS {
        let case = Case::new(kind, 35, 160, 32, &mut random);
        for row in 0..case.rows {
            let mut out = vec![f32::NAN; case.columns];
            case.matrix().dequantise_row(row, &mut out).unwrap();
            for (found, expected) in out.iter().zip(&case.weights[row * case.columns..]) {
                assert!((f64::from(*found) - expected).abs() <= expected.abs() * 1e-7, "{kind:?} row {row}");
            }
        }
        assert!(case.matrix().dequantise_row(case.rows, &mut vec![0.0; case.columns]).is_err());
        assert!(case.matrix().dequantise_row(0, &mut vec![0.0; case.columns - 1]).is_err());
    }
}

#[test]
fn broken_activations_show_in_the_outputs_of_their_token_only() {
    let mut random = Random(21);
    let case = Case::new(KINDS[2], 40, 128, 32, &mut random);
    let mut x = random.floats(3 * 128);
    x[128 + 5] = f32::NAN;
    for isa in InstructionSet::all_supported() {
        for precision in [Precision::Exact, Precision::Fast] {
            let y = product(&Pool::new(2).unwrap(), isa, precision, &case, &x, 3);
            assert!(y[..40].iter().chain(&y[80..]).all(|y| y.is_finite()));
            assert!(y[40..80].iter().all(|y| y.is_nan()));
        }
    }
}

#[test]
fn calls_that_do_not_fit_are_refused() {
    let mut random = Random(2);
    let case = Case::new(Kind::Int8, 20, 64, 32, &mut random);
    let (pool, isa) = (Pool::new(1).unwrap(), InstructionSet::detect());
    let mut workspace = vec![0; workspace_bytes(2, 64, 32).0 as usize];
    let call = |x: usize, tokens: usize, out: usize, workspace: &mut [u8]| {
        let mut out = vec![0.0; out];
        let mut projections = [Projection { matrix: case.matrix(), out: &mut out, store: Store::Overwrite }];
        forward(&pool, isa, Precision::Fast, &vec![0.0; x], tokens, &mut projections, workspace)
    };
    assert_eq!(call(128, 2, 40, &mut workspace), Ok(()));
    assert_eq!(call(0, 0, 0, &mut workspace), Ok(()));
    assert!(matches!(call(127, 2, 40, &mut workspace), Err(LinearError::Columns { projection: 0, .. })));
    assert!(matches!(call(128, 2, 39, &mut workspace), Err(LinearError::Output { projection: 0, .. })));
    assert!(matches!(call(128, usize::MAX, 40, &mut workspace), Err(LinearError::Columns { .. })));
    let quantise = call(128, 2, 40, &mut workspace[..50]);
    assert!(quantise.unwrap_err().to_string().contains("workspace"));
    assert!(matmul_dense::dense_bytes(usize::MAX, 2, DenseType::F16).is_err());
    assert!(matmul_int4::int4_bytes(usize::MAX - 3, 64, 32, true).is_err());
    assert!(matmul_int4::int4_bytes(16, 100, 100, true).is_err());
}
