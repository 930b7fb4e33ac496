use half::{bf16, f16};
use proptest::prelude::*;

use super::*;
use crate::backend::cpu::guarded::Guarded;
use crate::backend::cpu::{InstructionSet, Pool};
use crate::ops::HalfType;
use crate::ops::matmul_dense::{self, DenseType};
use crate::ops::matmul_int4::{self, PackedInt4Mut, RowMajorInt4};
use crate::ops::matmul_int8::{self, PackedInt8Mut, RowMajorInt8};
use crate::ops::quantize_activations::quantize_activations;

/// A small generator (Marsaglia's xorshift64), so that a failing case is its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }
}

/// A matrix in guarded buffers, with its weights in f64.
struct Case {
    rows: usize,
    columns: usize,
    group_size: usize,
    scale_type: HalfType,
    form: Form,
    weights: Vec<f64>,
}

enum Form {
    Int4 { values: Guarded<u8>, scales: Guarded<u16>, zero_points: Option<Guarded<u8>> },
    Int8 { values: Guarded<u8>, scales: Guarded<u16> },
    Dense { element: DenseType, data: Guarded<u8> },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Int4 { zero_points: bool, bf16: bool },
    Int8,
    Dense(DenseType),
}

const KINDS: [Kind; 8] = [
    Kind::Int4 { zero_points: false, bf16: false },
    Kind::Int4 { zero_points: false, bf16: true },
    Kind::Int4 { zero_points: true, bf16: false },
    Kind::Int4 { zero_points: true, bf16: true },
    Kind::Int8,
    Kind::Dense(DenseType::F16),
    Kind::Dense(DenseType::Bf16),
    Kind::Dense(DenseType::F32),
];

impl Case {
    /// Random weights; every fourth group has only the extreme values and zero points.
    fn new(kind: Kind, rows: usize, columns: usize, group_size: usize, random: &mut Random) -> Self {
        match kind {
            Kind::Int4 { zero_points, bf16 } => {
                let scale_type = if bf16 { HalfType::Bf16 } else { HalfType::F16 };
                Self::int4(rows, columns, group_size, scale_type, zero_points, random)
            }
            Kind::Int8 => Self::int8(rows, columns, group_size, random),
            Kind::Dense(element) => Self::dense(rows, columns, element, random),
        }
    }

    fn int4(
        rows: usize,
        columns: usize,
        group_size: usize,
        scale_type: HalfType,
        asymmetric: bool,
        random: &mut Random,
    ) -> Self {
        let groups = columns / group_size;
        let mut row_major = vec![0u8; rows * columns / 2];
        for (group, values) in row_major.chunks_exact_mut(group_size / 2).enumerate() {
            values.iter_mut().for_each(|byte| {
                *byte = if group % 4 == 3 { [0x00, 0xff][group / 4 % 2] } else { random.next() as u8 };
            });
        }
        let scales: Vec<u16> =
            (0..rows * groups).map(|_| scale_type.from_f32(0.01 + 0.01 * random.float())).collect();
        let zeros: Vec<u8> = (0..rows * groups)
            .map(|group| if group % 4 == 3 { [15, 0][group / 4 % 2] } else { random.next() as u8 & 15 })
            .collect();
        let zeros = asymmetric.then_some(&zeros[..]);
        let source =
            RowMajorInt4::new(rows, columns, group_size, scale_type, &row_major, &scales, zeros).unwrap();
        let sizes = matmul_int4::int4_bytes(rows, columns, group_size, asymmetric).unwrap();
        let mut values = vec![0x5a; sizes.values.0 as usize];
        let mut packed_scales = vec![0x5a5a; sizes.scales.0 as usize / 2];
        let mut packed_zeros = vec![0x5a; sizes.zero_points.0 as usize];
        let out = PackedInt4Mut {
            values: &mut values,
            scales: &mut packed_scales,
            zero_points: asymmetric.then_some(&mut packed_zeros[..]),
        };
        matmul_int4::pack(&source, out).unwrap();
        let weights = all_weights(rows, columns, |r, c| matmul_int4::reference::weight(&source, r, c));
        let form = Form::Int4 {
            values: Guarded::new(&values),
            scales: Guarded::new(&packed_scales),
            zero_points: asymmetric.then(|| Guarded::new(&packed_zeros)),
        };
        Self { rows, columns, group_size, scale_type, form, weights }
    }

    fn int8(rows: usize, columns: usize, group_size: usize, random: &mut Random) -> Self {
        let groups = columns / group_size;
        let row_major: Vec<i8> = (0..rows * columns)
            .map(|i| {
                let group = i / group_size;
                if group % 4 == 3 { [-128, 127][group / 4 % 2] } else { random.next() as i8 }
            })
            .collect();
        let scales: Vec<u16> =
            (0..rows * groups).map(|_| HalfType::F16.from_f32(0.01 + 0.01 * random.float())).collect();
        let source = RowMajorInt8::new(rows, columns, group_size, &row_major, &scales).unwrap();
        let sizes = matmul_int8::int8_bytes(rows, columns, group_size).unwrap();
        let mut values = vec![0x5a; sizes.values.0 as usize];
        let mut packed_scales = vec![0x5a5a; sizes.scales.0 as usize / 2];
        matmul_int8::pack(&source, PackedInt8Mut { values: &mut values, scales: &mut packed_scales })
            .unwrap();
        let weights = all_weights(rows, columns, |r, c| matmul_int8::reference::weight(&source, r, c));
        let form = Form::Int8 { values: Guarded::new(&values), scales: Guarded::new(&packed_scales) };
        Self { rows, columns, group_size, scale_type: HalfType::F16, form, weights }
    }

    fn dense(rows: usize, columns: usize, element: DenseType, random: &mut Random) -> Self {
        let mut data = Vec::new();
        let mut weights = Vec::new();
        for weight in random.floats(rows * columns) {
            match element {
                DenseType::F16 => {
                    let weight = f16::from_f32(weight);
                    data.extend(weight.to_le_bytes());
                    weights.push(weight.to_f64());
                }
                DenseType::Bf16 => {
                    let weight = bf16::from_f32(weight);
                    data.extend(weight.to_le_bytes());
                    weights.push(weight.to_f64());
                }
                DenseType::F32 => {
                    data.extend(weight.to_le_bytes());
                    weights.push(f64::from(weight));
                }
            }
        }
        let form = Form::Dense { element, data: Guarded::new(&data) };
        Self { rows, columns, group_size: 32, scale_type: HalfType::F16, form, weights }
    }

    fn matrix(&self) -> Matrix<'_> {
        let (rows, columns, group_size) = (self.rows, self.columns, self.group_size);
        match &self.form {
            Form::Int4 { values, scales, zero_points } => Matrix::Int4(
                Int4Matrix::new(
                    rows,
                    columns,
                    group_size,
                    self.scale_type,
                    values,
                    scales,
                    zero_points.as_deref(),
                )
                .unwrap(),
            ),
            Form::Int8 { values, scales } => {
                Matrix::Int8(Int8Matrix::new(rows, columns, group_size, values, scales).unwrap())
            }
            Form::Dense { element, data } => {
                Matrix::Dense(DenseMatrix::new(rows, columns, *element, data).unwrap())
            }
        }
    }

    /// `x Wᵀ` in f64, and for each product the sum of its terms' magnitudes, which bounds the rounding errors.
    fn expected(&self, x: &[f64]) -> Vec<(f64, f64)> {
        let mut expected = Vec::new();
        for x in x.chunks_exact(self.columns) {
            for weights in self.weights.chunks_exact(self.columns) {
                let terms = || weights.iter().zip(x).map(|(w, x)| w * x);
                expected.push((terms().sum(), terms().map(f64::abs).sum()));
            }
        }
        expected
    }
}

fn all_weights(rows: usize, columns: usize, weight: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    (0..rows * columns).map(|index| weight(index / columns, index % columns)).collect()
}

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
