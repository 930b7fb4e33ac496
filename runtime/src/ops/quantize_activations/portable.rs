//! The formula in plain Rust; also the reference for the other instruction sets, which give the same bits.

use super::{SMALLEST_MAXIMUM, split_sum};

/// Quantises consecutive groups: `x` and `values [groups, group_size]`, `scales` and `sums [groups]`.
pub(super) fn quantize(
    x: &[f32],
    group_size: usize,
    values: &mut [i8],
    scales: &mut [f32],
    sums: &mut [i32],
) {
    let groups = x.chunks_exact(group_size).zip(values.chunks_exact_mut(group_size));
    for ((x, values), (scale, sum)) in groups.zip(scales.iter_mut().zip(sums)) {
        (*scale, *sum) = quantize_group(x, values);
    }
}

fn quantize_group(x: &[f32], values: &mut [i8]) -> (f32, i32) {
    // Magnitudes compare like their bits, and every NaN compares above infinity, so none is lost as `f32::max` would.
    let maximum = f32::from_bits(x.iter().fold(0, |maximum, x| maximum.max(x.abs().to_bits())));
    if maximum < SMALLEST_MAXIMUM || !maximum.is_finite() {
        values.fill(0);
        return (if maximum.is_finite() { 0.0 } else { f32::NAN }, split_sum(0));
    }
    let inverse = 127.0 / maximum;
    let mut sum = 0;
    for (value, x) in values.iter_mut().zip(x) {
        *value = (x * inverse).round_ties_even() as i8;
        sum += i32::from(*value);
    }
    (maximum / 127.0, split_sum(sum))
}
