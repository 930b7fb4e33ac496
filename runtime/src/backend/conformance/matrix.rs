//! Weights in every format, with their values.

use half::{bf16, f16};
use ledger::ElementType;

use crate::engine_dir::{PartKind, TensorFormat};
use crate::ops::HalfType;
use crate::ops::matmul_int4::{self, PackedInt4Mut, RowMajorInt4};
use crate::ops::matmul_int8::{self, PackedInt8Mut, RowMajorInt8};
use crate::ops::testing::Numbers;

/// A weight as an engine holds it.
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) format: TensorFormat,
    pub(super) parts: Vec<(PartKind, Vec<u8>)>,
    /// Exactly what the parts stand for, [rows, columns].
    pub(super) values: Vec<f32>,
}

/// Nibbles in groups of `group_size`, with zero points or without.
pub(super) fn int4(group_size: usize, zero_points: bool, scale_type: HalfType) -> TensorFormat {
    TensorFormat::Int4 { group_size, scale_type, zero_points }
}

/// Plain numbers.
pub(super) fn dense(element: ElementType) -> TensorFormat {
    TensorFormat::Dense { element }
}

fn bytes_of(halves: &[u16]) -> Vec<u8> {
    halves.iter().flat_map(|half| half.to_le_bytes()).collect()
}

impl Matrix {
    /// Random weights. Every fourth group of a quantised matrix has only the extreme values and zero points.
    pub(super) fn random(format: TensorFormat, rows: usize, columns: usize, numbers: &mut Numbers) -> Matrix {
        let (parts, values) = match format {
            TensorFormat::Int4 { group_size, scale_type, zero_points } => {
                int4_parts(rows, columns, group_size, scale_type, zero_points, numbers)
            }
            TensorFormat::Int8 { group_size } => int8_parts(rows, columns, group_size, numbers),
            TensorFormat::Dense { element } => dense_parts(element, &numbers.take(rows * columns, 1.0)),
        };
        Matrix { rows, columns, format, parts, values }
    }

    /// A vector, or the taps of a convolution.
    pub(super) fn numbers(values: &[f32]) -> Matrix {
        let (parts, values) = dense_parts(ElementType::F32, values);
        Matrix { rows: 1, columns: values.len(), format: dense(ElementType::F32), parts, values }
    }

    /// Words for reports: `int4 zeros bf16 g128 512x2560`.
    pub(super) fn words(&self) -> String {
        let format = match self.format {
            TensorFormat::Int4 { group_size, scale_type, zero_points } => {
                let zeros = if zero_points { " zeros" } else { "" };
                let scales = if scale_type == HalfType::Bf16 { " bf16" } else { "" };
                format!("int4{zeros}{scales} g{group_size}")
            }
            TensorFormat::Int8 { group_size } => format!("int8 g{group_size}"),
            TensorFormat::Dense { element: ElementType::F16 } => "f16".to_owned(),
            TensorFormat::Dense { element: ElementType::Bf16 } => "bf16".to_owned(),
            TensorFormat::Dense { .. } => "f32".to_owned(),
        };
        format!("{format} {}x{}", self.rows, self.columns)
    }

    /// One row.
    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// `x Wᵀ` in f64.
    pub(super) fn multiply(&self, x: &[f64]) -> Vec<f64> {
        let mut y = Vec::with_capacity(x.len() / self.columns * self.rows);
        for x in x.chunks_exact(self.columns) {
            y.extend((0..self.rows).map(|row| dot(self.row(row), x)));
        }
        y
    }
}

/// A sum in eight parts, so that it takes eight times less long.
fn dot(weights: &[f32], x: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (weights, rest) = weights.as_chunks::<8>();
    let (x, rest_of_x) = x.as_chunks::<8>();
    for (weights, x) in weights.iter().zip(x) {
        for i in 0..8 {
            sums[i] += f64::from(weights[i]) * x[i];
        }
    }
    let rest: f64 = rest.iter().zip(rest_of_x).map(|(w, x)| f64::from(*w) * x).sum();
    sums.iter().sum::<f64>() + rest
}

type Parts = (Vec<(PartKind, Vec<u8>)>, Vec<f32>);

fn all(rows: usize, columns: usize, weight: impl Fn(usize, usize) -> f64) -> Vec<f32> {
    (0..rows * columns).map(|index| weight(index / columns, index % columns) as f32).collect()
}

fn scales(count: usize, scale_type: HalfType, numbers: &mut Numbers) -> Vec<u16> {
    numbers.between(count, 0.002, 0.02).into_iter().map(|scale| scale_type.from_f32(scale)).collect()
}

fn int4_parts(
    rows: usize,
    columns: usize,
    group_size: usize,
    scale_type: HalfType,
    asymmetric: bool,
    numbers: &mut Numbers,
) -> Parts {
    let groups = rows * columns / group_size;
    let mut row_major = vec![0u8; rows * columns / 2];
    for (group, values) in row_major.chunks_exact_mut(group_size / 2).enumerate() {
        let random = numbers.between(values.len(), 0.0, 256.0);
        for (value, random) in values.iter_mut().zip(random) {
            *value = if group % 4 == 3 { [0x00, 0xff][group / 4 % 2] } else { random as u8 };
        }
    }
    let scales = scales(groups, scale_type, numbers);
    let random = numbers.between(groups, 0.0, 16.0).into_iter().enumerate();
    let zeros: Vec<u8> = random
        .map(|(group, random)| if group % 4 == 3 { [15, 0][group / 4 % 2] } else { (random as u8).min(15) })
        .collect();
    let zeros = asymmetric.then_some(&zeros[..]);
    let source =
        RowMajorInt4::new(rows, columns, group_size, scale_type, &row_major, &scales, zeros).unwrap();
    let sizes = matmul_int4::int4_bytes(rows, columns, group_size, asymmetric).unwrap();
    let mut values = vec![0x5a; sizes.values.0 as usize];
    let mut packed_scales = vec![0x5a5a; sizes.scales.0 as usize / 2];
    let mut packed_zeros = vec![0x5a; sizes.zero_points.0 as usize];
    let zero_points = asymmetric.then_some(&mut packed_zeros[..]);
    let out = PackedInt4Mut { values: &mut values, scales: &mut packed_scales, zero_points };
    matmul_int4::pack(&source, out).unwrap();
    let mut parts = vec![(PartKind::Values, values), (PartKind::Scales, bytes_of(&packed_scales))];
    if asymmetric {
        parts.push((PartKind::ZeroPoints, packed_zeros));
    }
    (parts, all(rows, columns, |row, column| matmul_int4::reference::weight(&source, row, column)))
}

fn int8_parts(rows: usize, columns: usize, group_size: usize, numbers: &mut Numbers) -> Parts {
    let random = numbers.between(rows * columns, -128.0, 128.0).into_iter().enumerate();
    let row_major: Vec<i8> = random
        .map(|(index, random)| match index / group_size {
            group if group % 4 == 3 => [-128, 127][group / 4 % 2],
            _ => random.floor() as i8,
        })
        .collect();
    let scales = scales(rows * columns / group_size, HalfType::F16, numbers);
    let source = RowMajorInt8::new(rows, columns, group_size, &row_major, &scales).unwrap();
    let sizes = matmul_int8::int8_bytes(rows, columns, group_size).unwrap();
    let mut values = vec![0x5a; sizes.values.0 as usize];
    let mut packed_scales = vec![0x5a5a; sizes.scales.0 as usize / 2];
    let out = PackedInt8Mut { values: &mut values, scales: &mut packed_scales };
    matmul_int8::pack(&source, out).unwrap();
    let parts = vec![(PartKind::Values, values), (PartKind::Scales, bytes_of(&packed_scales))];
    (parts, all(rows, columns, |row, column| matmul_int8::reference::weight(&source, row, column)))
}

fn dense_parts(element: ElementType, numbers: &[f32]) -> Parts {
    let (bytes, values): (Vec<u8>, Vec<f32>) = match element {
        ElementType::F16 => {
            let halves: Vec<f16> = numbers.iter().map(|number| f16::from_f32(*number)).collect();
            let values = halves.iter().map(|half| half.to_f32()).collect();
            (halves.iter().flat_map(|half| half.to_le_bytes()).collect(), values)
        }
        ElementType::Bf16 => {
            let halves: Vec<bf16> = numbers.iter().map(|number| bf16::from_f32(*number)).collect();
            let values = halves.iter().map(|half| half.to_f32()).collect();
            (halves.iter().flat_map(|half| half.to_le_bytes()).collect(), values)
        }
        _ => (numbers.iter().flat_map(|number| number.to_le_bytes()).collect(), numbers.to_vec()),
    };
    (vec![(PartKind::Values, bytes)], values)
}
