//! Float weights to 8 bits.

use super::super::half_type::{HalfType, nearest};
use super::super::matrix_error::{MatrixError, check_length};
use super::super::tiles::check_group_size;

/// Quantises `weights` [rows, columns] to the row-major form: `values` [rows, columns], `scales` [rows, groups] as f16.
///
/// Symmetric: `s = f16(max |w| / 127)`, `q = clamp(round(w / s), −127, 127)`, ties to even. A group of zeros gets `s = 0`.
///
/// # Errors
/// If a length is wrong, a weight is not finite, or a scale exceeds what an f16 can say.
pub fn quantise_rows(
    weights: &[f32],
    columns: usize,
    group_size: usize,
    values: &mut [i8],
    scales: &mut [u16],
) -> Result<(), MatrixError> {
    check_group_size(columns, group_size)?;
    let (rows, groups) = (weights.len() / columns, columns / group_size);
    check_length("weights", weights.len(), rows * columns)?;
    check_length("row-major values", values.len(), rows * columns)?;
    check_length("row-major scales", scales.len(), rows * groups)?;
    let parts = values.chunks_exact_mut(group_size).zip(scales);
    for (index, (weights, (values, scale))) in weights.chunks_exact(group_size).zip(parts).enumerate() {
        let (row, column) = (index / groups, index % groups * group_size);
        if let Some(offset) = weights.iter().position(|weight| !weight.is_finite()) {
            return Err(MatrixError::NotFinite { row, column: column + offset });
        }
        *scale = quantise_group(weights, values);
        if !HalfType::F16.to_f32(*scale).is_finite() {
            return Err(MatrixError::ScaleOverflow { row, column });
        }
    }
    Ok(())
}

fn quantise_group(weights: &[f32], values: &mut [i8]) -> u16 {
    let maximum = weights.iter().fold(0.0f32, |maximum, weight| maximum.max(weight.abs()));
    let scale_bits = HalfType::F16.from_f32(maximum / 127.0);
    let scale = HalfType::F16.to_f32(scale_bits);
    if scale == 0.0 {
        values.fill(0);
        return 0;
    }
    for (value, weight) in values.iter_mut().zip(weights) {
        *value = nearest((weight / scale).clamp(-127.0, 127.0)) as i8;
    }
    scale_bits
}
