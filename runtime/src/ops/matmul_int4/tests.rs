use super::*;
use crate::ops::half_type::HalfType;

/// Row-major parts of a matrix with every value, scale and zero point different from its neighbours'.
fn row_major(rows: usize, columns: usize, group_size: usize) -> (Vec<u8>, Vec<u16>, Vec<u8>) {
    let values = (0..rows * columns / 2).map(|i| (i * 37 + i / 11) as u8).collect();
    let groups = rows * columns / group_size;
    let scales = (0..groups).map(|i| HalfType::F16.from_f32(0.01 + i as f32 * 1e-3)).collect();
    let zero_points = (0..groups).map(|i| (i * 7 % 16) as u8).collect();
    (values, scales, zero_points)
}

/// Packed parts, from buffers filled with rubbish.
fn packed(source: &RowMajorInt4<'_>, zero_points: bool) -> (Vec<u8>, Vec<u16>, Vec<u8>) {
    let sizes = source.shape.packed_bytes(zero_points);
    let mut values = vec![0x5a; sizes.values.0 as usize];
    let mut scales = vec![0x5a5a; sizes.scales.0 as usize / 2];
    let mut zeros = vec![0x5a; sizes.zero_points.0 as usize];
    let out = PackedInt4Mut {
        values: &mut values,
        scales: &mut scales,
        zero_points: zero_points.then_some(&mut zeros[..]),
    };
    pack(source, out).unwrap();
    (values, scales, zeros)
}

#[test]
fn packing_follows_the_layout_byte_by_byte() {
    let (rows, columns, group_size) = (18, 64, 32);
    let (values, scales, zeros) = row_major(rows, columns, group_size);
    let source =
        RowMajorInt4::new(rows, columns, group_size, HalfType::F16, &values, &scales, Some(&zeros)).unwrap();
    let (packed_values, packed_scales, packed_zeros) = packed(&source, true);
    let q = |row: usize, column: usize| {
        if row >= rows { 0 } else { values[(row * columns + column) / 2] >> (column % 2 * 4) & 15 }
    };
    for tile in 0..2 {
        for block in 0..columns / 8 {
            for r in 0..16 {
                for i in 0..4 {
                    let byte = packed_values[(tile * columns / 8 + block) * 64 + r * 4 + i];
                    let (row, column) = (tile * 16 + r, block * 8 + i);
                    assert_eq!(byte, q(row, column) | q(row, column + 4) << 4);
                }
            }
        }
        for group in 0..columns / group_size {
            for r in 0..16 {
                let row = tile * 16 + r;
                let index = row * columns / group_size + group;
                let (scale, zero) = if row < rows { (scales[index], zeros[index]) } else { (0, 8) };
                assert_eq!(packed_scales[(tile * 2 + group) * 16 + r], scale);
                assert_eq!(packed_zeros[(tile * 2 + group) * 8 + r / 2] >> (r % 2 * 4) & 15, zero);
            }
        }
    }
}

#[test]
fn tiles_can_be_packed_piece_by_piece() {
    let (rows, columns, group_size) = (50, 128, 64);
    let (values, scales, zeros) = row_major(rows, columns, group_size);
    let part = |first: usize, end: usize| {
        let groups = columns / group_size;
        let source = RowMajorInt4::new(
            end - first,
            columns,
            group_size,
            HalfType::Bf16,
            &values[first * columns / 2..end * columns / 2],
            &scales[first * groups..end * groups],
            Some(&zeros[first * groups..end * groups]),
        )
        .unwrap();
        packed(&source, true)
    };
    let (whole, first, last) = (part(0, 50), part(0, 32), part(32, 50));
    assert_eq!(whole.0, [first.0, last.0].concat());
    assert_eq!(whole.1, [first.1, last.1].concat());
    assert_eq!(whole.2, [first.2, last.2].concat());
}

#[test]
fn symmetric_rows_fit_an_asymmetric_layout_but_not_the_reverse() {
    let (values, scales, zeros) = row_major(16, 32, 32);
    let symmetric = RowMajorInt4::new(16, 32, 32, HalfType::F16, &values, &scales, None).unwrap();
    assert!(packed(&symmetric, true).2.iter().all(|&byte| byte == 0x88));
    let asymmetric = RowMajorInt4::new(16, 32, 32, HalfType::F16, &values, &scales, Some(&zeros)).unwrap();
    let out = PackedInt4Mut { values: &mut [0; 256], scales: &mut [0; 16], zero_points: None };
    assert_eq!(pack(&asymmetric, out), Err(MatrixError::ZeroPointsLost));
    let out = PackedInt4Mut { values: &mut [0; 255], scales: &mut [0; 16], zero_points: None };
    assert!(matches!(pack(&symmetric, out), Err(MatrixError::Length { part: "packed values", .. })));
}

#[test]
fn sizes_are_the_documented_formula() {
    let sizes = int4_bytes(2560, 9728, 128, true).unwrap();
    let weights = 2560 * 9728;
    assert_eq!(sizes.values.0, weights / 2);
    assert_eq!(sizes.scales.0, weights * 2 / 128);
    assert_eq!(sizes.zero_points.0, weights / 2 / 128);
    assert_eq!(sizes.total().0, weights / 2 + weights * 2 / 128 + weights / 256);
    assert_eq!(int4_bytes(2560, 9728, 128, false).unwrap().zero_points.0, 0);
    assert_eq!(int4_bytes(17, 64, 32, false).unwrap().values.0, 32 * 64 / 2);
    for group_size in [0, 16, 48, 100, 64 * 1024] {
        assert!(int4_bytes(16, 2560, group_size, true).is_err(), "{group_size}");
    }
}

#[test]
fn quantised_rows_are_within_half_a_step() {
    let (rows, columns, group_size) = (3, 256, 64);
    let weights: Vec<f32> = (0..rows * columns)
        .map(|i| ((i * 7919 % 613) as f32 / 306.0 - 0.7) * [1.0, 0.01, 30.0, 1.0][i / group_size % 4])
        .collect();
    let (mut values, mut scales, mut zeros) =
        (vec![0xaa; rows * columns / 2], vec![0xaaaa; rows * 4], vec![0xaa; rows * 4]);
    quantise_rows(&weights, columns, group_size, &mut values, &mut scales, &mut zeros).unwrap();
    let source =
        RowMajorInt4::new(rows, columns, group_size, HalfType::F16, &values, &scales, Some(&zeros)).unwrap();
    for (index, &weight) in weights.iter().enumerate() {
        let found = reference::weight(&source, index / columns, index % columns);
        let step = f64::from(HalfType::F16.to_f32(scales[index / group_size]));
        // Half a step for the value, and half a step for the zero point where the range's end is clamped.
        assert!((found - f64::from(weight)).abs() <= step * 1.01, "weight {index}: {weight} became {found}");
    }
    assert!(zeros.iter().all(|&zero| zero <= 15));
}

#[test]
fn zeros_stay_zero_and_bad_weights_are_named() {
    let mut weights = vec![0.0f32; 128];
    weights[32..64].fill(3.0);
    weights[64..96].fill(-3.0);
    weights[96] = 1e-12;
    let (mut values, mut scales, mut zeros) = ([0u8; 64], [0u16; 4], [0u8; 4]);
    quantise_rows(&weights, 128, 32, &mut values, &mut scales, &mut zeros).unwrap();
    let source = RowMajorInt4::new(1, 128, 32, HalfType::F16, &values, &scales, Some(&zeros)).unwrap();
    assert_eq!(reference::weight(&source, 0, 5), 0.0);
    assert!((reference::weight(&source, 0, 40) - 3.0).abs() < 2e-3);
    assert!((reference::weight(&source, 0, 70) + 3.0).abs() < 2e-3);
    assert_eq!(reference::weight(&source, 0, 96), 0.0);

    weights[100] = f32::NAN;
    let result = quantise_rows(&weights, 64, 32, &mut values, &mut scales, &mut zeros);
    assert_eq!(result, Err(MatrixError::NotFinite { row: 1, column: 36 }));
    weights[100] = 1e6;
    weights[101] = -f32::MAX;
    let result = quantise_rows(&weights, 64, 32, &mut values, &mut scales, &mut zeros);
    assert_eq!(result, Err(MatrixError::ScaleOverflow { row: 1, column: 32 }));
}
