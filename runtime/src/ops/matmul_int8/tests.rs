use super::*;
use crate::ops::half_type::HalfType;

#[test]
fn packing_follows_the_layout_byte_by_byte() {
    let (rows, columns, group_size) = (21, 64, 32);
    let values: Vec<i8> = (0..rows * columns).map(|i| (i * 37 + i / 13) as i8).collect();
    let scales: Vec<u16> = (0..rows * 2).map(|i| HalfType::F16.from_f32(0.01 + i as f32 * 1e-3)).collect();
    let source = RowMajorInt8::new(rows, columns, group_size, &values, &scales).unwrap();
    let sizes = int8_bytes(rows, columns, group_size).unwrap();
    assert_eq!((sizes.values.0, sizes.scales.0, sizes.zero_points.0), (32 * 64, 32 * 2 * 2, 0));
    let mut packed = vec![0x5a; sizes.values.0 as usize];
    let mut packed_scales = vec![0x5a5a; sizes.scales.0 as usize / 2];
    pack(&source, PackedInt8Mut { values: &mut packed, scales: &mut packed_scales }).unwrap();
    for row in 0..32 {
        for column in 0..columns {
            let byte = packed[(row / 16 * columns / 4 + column / 4) * 64 + row % 16 * 4 + column % 4];
            let q = if row < rows { i16::from(values[row * columns + column]) } else { 0 };
            assert_eq!(i16::from(byte), q + 128);
        }
        for group in 0..2 {
            let scale = if row < rows { scales[row * 2 + group] } else { 0 };
            assert_eq!(packed_scales[(row / 16 * 2 + group) * 16 + row % 16], scale);
        }
    }
    let short = PackedInt8Mut { values: &mut packed, scales: &mut packed_scales[1..] };
    assert!(matches!(pack(&source, short), Err(MatrixError::Length { part: "packed scales", .. })));
}

#[test]
fn quantised_rows_are_within_half_a_step() {
    let (rows, columns, group_size) = (3, 256, 128);
    let weights: Vec<f32> = (0..rows * columns)
        .map(|i| ((i * 7919 % 613) as f32 / 306.0 - 0.7) * [1.0, 300.0][i / 128 % 2])
        .collect();
    let (mut values, mut scales) = (vec![0; rows * columns], vec![0; rows * 2]);
    quantise_rows(&weights, columns, group_size, &mut values, &mut scales).unwrap();
    let source = RowMajorInt8::new(rows, columns, group_size, &values, &scales).unwrap();
    for (index, &weight) in weights.iter().enumerate() {
        let found = reference::weight(&source, index / columns, index % columns);
        let step = f64::from(HalfType::F16.to_f32(scales[index / group_size]));
        // The scale's own rounding, 2^-11 of up to 127 steps, may push the largest weights off by some more.
        assert!((found - f64::from(weight)).abs() <= step * 0.57, "weight {index}: {weight} became {found}");
    }
}

#[test]
fn zeros_stay_zero_and_bad_weights_are_named() {
    let mut weights = vec![0.0f32; 64];
    let (mut values, mut scales) = ([1i8; 64], [1u16; 2]);
    quantise_rows(&weights, 64, 32, &mut values, &mut scales).unwrap();
    assert!(values.iter().all(|&value| value == 0) && scales == [0, 0]);
    weights[33] = f32::NEG_INFINITY;
    let result = quantise_rows(&weights, 32, 32, &mut values, &mut scales);
    assert_eq!(result, Err(MatrixError::NotFinite { row: 1, column: 1 }));
    weights[33] = 1e9;
    let result = quantise_rows(&weights, 32, 32, &mut values, &mut scales);
    assert_eq!(result, Err(MatrixError::ScaleOverflow { row: 1, column: 0 }));
}
