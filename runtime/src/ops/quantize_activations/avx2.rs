//! Eight activations at a time.

use std::arch::x86_64::*;

use super::{SMALLEST_MAXIMUM, split_sum};
use crate::backend::cpu::InstructionSet;

/// See [`super::portable::quantize`]. `group_size` must be a multiple of 32.
pub(super) fn quantize(
    x: &[f32],
    group_size: usize,
    values: &mut [i8],
    scales: &mut [f32],
    sums: &mut [i32],
) {
    assert!(
        InstructionSet::detect() >= InstructionSet::Avx2,
        "the caller asks for supported instructions only"
    );
    let groups = x.chunks_exact(group_size).zip(values.chunks_exact_mut(group_size));
    for ((x, values), (scale, sum)) in groups.zip(scales.iter_mut().zip(sums)) {
        // SAFETY: the instructions are supported, as checked above.
        (*scale, *sum) = unsafe { quantize_group(x, values) };
    }
}

#[target_feature(enable = "avx2,fma")]
fn quantize_group(x: &[f32], values: &mut [i8]) -> (f32, i32) {
    let magnitude = _mm256_set1_epi32(0x7fff_ffff);
    let mut maxima = _mm256_setzero_si256();
    for x in x.chunks_exact(8) {
        // SAFETY: the chunk has 8 floats.
        let bits = _mm256_castps_si256(unsafe { _mm256_loadu_ps(x.as_ptr()) });
        maxima = _mm256_max_epi32(maxima, _mm256_and_si256(bits, magnitude));
    }
    let mut lanes = [0i32; 8];
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), maxima) };
    let maximum = f32::from_bits(lanes.iter().fold(0, |maximum, &lane| maximum.max(lane)) as u32);
    if maximum < SMALLEST_MAXIMUM || !maximum.is_finite() {
        values.fill(0);
        return (if maximum.is_finite() { 0.0 } else { f32::NAN }, split_sum(0));
    }
    let inverse = _mm256_set1_ps(127.0 / maximum);
    let mut totals = _mm256_setzero_si256();
    // Packing twice interleaves the 128-bit halves; this puts the 32 bytes back in order.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (x, values) in x.chunks_exact(32).zip(values.chunks_exact_mut(32)) {
        let mut parts = [_mm256_setzero_si256(); 4];
        for (part, x) in parts.iter_mut().zip(x.chunks_exact(8)) {
            // SAFETY: the chunk has 8 floats. The conversion rounds ties to even, the default rounding mode.
            *part = _mm256_cvtps_epi32(_mm256_mul_ps(unsafe { _mm256_loadu_ps(x.as_ptr()) }, inverse));
            totals = _mm256_add_epi32(totals, *part);
        }
        let low = _mm256_packs_epi32(parts[0], parts[1]);
        let high = _mm256_packs_epi32(parts[2], parts[3]);
        let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
        // SAFETY: the chunk has 32 bytes.
        unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), bytes) };
    }
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), totals) };
    (maximum / 127.0, split_sum(lanes.iter().sum()))
}
