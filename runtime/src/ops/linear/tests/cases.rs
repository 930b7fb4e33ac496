//! Random matrices in guarded buffers, with their weights in f64.

use half::{bf16, f16};

use super::super::*;
use crate::backend::cpu::guarded::Guarded;
use crate::ops::HalfType;
use crate::ops::matmul_dense::DenseType;
use crate::ops::matmul_int4::{self, PackedInt4Mut, RowMajorInt4};
use crate::ops::matmul_int8::{self, PackedInt8Mut, RowMajorInt8};

/// A small generator (Marsaglia's xorshift64), so that a failing case is its seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(super) fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }
}

/// A matrix in guarded buffers, with its weights in f64.
pub(super) struct Case {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) group_size: usize,
    scale_type: HalfType,
    form: Form,
    pub(super) weights: Vec<f64>,
}

enum Form {
    Int4 { values: Guarded<u8>, scales: Guarded<u16>, zero_points: Option<Guarded<u8>> },
    Int8 { values: Guarded<u8>, scales: Guarded<u16> },
    Dense { element: DenseType, data: Guarded<u8> },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Int4 { zero_points: bool, bf16: bool },
    Int8,
    Dense(DenseType),
}

pub(super) const KINDS: [Kind; 8] = [
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
    pub(super) fn new(
        kind: Kind,
        rows: usize,
        columns: usize,
        group_size: usize,
        random: &mut Random,
    ) -> Self {
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

    pub(super) fn matrix(&self) -> Matrix<'_> {
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
    pub(super) fn expected(&self, x: &[f64]) -> Vec<(f64, f64)> {
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
