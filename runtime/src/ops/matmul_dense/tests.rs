use super::*;

#[test]
fn rows_are_read_at_any_address() {
    let weights = [1.5f32, -2.0, 0.25, 3.0, 0.0, -1.0];
    let mut f16_bytes = vec![0xffu8];
    weights.iter().for_each(|&weight| f16_bytes.extend(f16::from_f32(weight).to_le_bytes()));
    let matrix = DenseMatrix::new(2, 3, DenseType::F16, &f16_bytes[1..]).unwrap();
    let mut row = [f32::NAN; 3];
    matrix.dequantise_row(1, &mut row).unwrap();
    assert_eq!(row, [3.0, 0.0, -1.0]);
    assert_eq!(matrix.dequantise_row(2, &mut row), Err(MatrixError::RowOutside { row: 2, rows: 2 }));
    assert_eq!(reference::multiply(&matrix, &[1.0, 2.0, 4.0]), [-1.5, -1.0]);
}

#[test]
fn data_must_have_the_length_of_its_shape() {
    assert_eq!(dense_bytes(64, 2560, DenseType::Bf16), Ok(Bytes(327_680)));
    assert_eq!(dense_bytes(64, 2560, DenseType::F32), Ok(Bytes(655_360)));
    assert!(DenseMatrix::new(2, 3, DenseType::Bf16, &[0; 11]).is_err());
    assert!(DenseMatrix::new(usize::MAX, usize::MAX, DenseType::Bf16, &[]).is_err());
}
