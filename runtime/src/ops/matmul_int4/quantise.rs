//! Float weights to 4 bits, for modules that a checkpoint keeps in 16 bits.

use super::super::half_type::{HalfType, nearest};
use super::super::matrix_error::{MatrixError, check_length};
use super::super::tiles::check_group_size;

/// Quantises `weights` [rows, columns] to the row-major form: `values` [rows, columns / 2], `scales` [rows, groups] as f16,
/// `zero_points` [rows, groups].
///
/// Asymmetric, from minimum to maximum of the group, both taken to include 0 so that 0 stays exact:
/// `s = f16((max − min) / 15)`, `z = round(−min / s)`, `q = clamp(round(w / s) + z, 0, 15)`, ties to even. A group of zeros gets `s = 0`.
///
/// # Errors
/// If a length is wrong, a weight is not finite, or a scale exceeds what an f16 can say.
pub fn quantise_rows(
    weights: &[f32],
    columns: usize,
    group_size: usize,
    values: &mut [u8],
    scales: &mut [u16],
    zero_points: &mut [u8],
) -> Result<(), MatrixError> {
    check_group_size(columns, group_size)?;
    let (rows, groups) = (weights.len() / columns, columns / group_size);
    check_length("weights", weights.len(), rows * columns)?;
    check_length("row-major values", values.len(), rows * columns / 2)?;
    check_length("row-major scales", scales.len(), rows * groups)?;
    check_length("row-major zero points", zero_points.len(), rows * groups)?;
    let parts = values.chunks_exact_mut(group_size / 2).zip(scales.iter_mut().zip(zero_points));
    for (index, (weights, (values, (scale, zero_point)))) in
        weights.chunks_exact(group_size).zip(parts).enumerate()
    {
        let (row, column) = (index / groups, index % groups * group_size);
        if let Some(offset) = weights.iter().position(|weight| !weight.is_finite()) {
            return Err(MatrixError::NotFinite { row, column: column + offset });
        }
        (*scale, *zero_point) = quantise_group(weights, values);
        if !HalfType::F16.to_f32(*scale).is_finite() {
            return Err(MatrixError::ScaleOverflow { row, column });
        }
    }
    Ok(())
}

fn quantise_group(weights: &[f32], values: &mut [u8]) -> (u16, u8) {
    let (minimum, maximum) =
        weights.iter().fold((0.0f32, 0.0f32), |(low, high), &weight| (low.min(weight), high.max(weight)));
    // Divided before subtracting: the difference of two large weights may overflow.
    let scale_bits = HalfType::F16.from_f32(maximum / 15.0 - minimum / 15.0);
    let scale = HalfType::F16.to_f32(scale_bits);
    if scale == 0.0 {
        values.fill(0x88);
        return (0, 8);
    }
    let zero_point = nearest((-minimum / scale).clamp(0.0, 15.0));
    // Both roundings are of bounded numbers: a quotient beyond 15 is clamped in any case.
    let quantised =
        |weight: f32| (nearest((weight / scale).clamp(-15.0, 15.0)) + zero_point).clamp(0, 15) as u8;
    for (value, pair) in values.iter_mut().zip(weights.chunks_exact(2)) {
        *value = quantised(pair[0]) | quantised(pair[1]) << 4;
    }
    (scale_bits, zero_point as u8)
}
