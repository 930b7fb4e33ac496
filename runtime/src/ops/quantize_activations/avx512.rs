//! Sixteen activations at a time.

use std::arch::x86_64::*;

use super::{SMALLEST_MAXIMUM, split_sum};
use crate::backend::cpu::InstructionSet;

/// See [`super::portable::quantize`]. `group_size` must be a multiple of 16.
pub(super) fn quantize(
    x: &[f32],
    group_size: usize,
    values: &mut [i8],
    scales: &mut [f32],
    sums: &mut [i32],
) {
    assert!(
        InstructionSet::detect() >= InstructionSet::Avx512Vnni,
        "the caller asks for supported instructions only"
    );
    let groups = x.chunks_exact(group_size).zip(values.chunks_exact_mut(group_size));
    for ((x, values), (scale, sum)) in groups.zip(scales.iter_mut().zip(sums)) {
        // SAFETY: the instructions are supported, as checked above.
        (*scale, *sum) = unsafe { quantize_group(x, values) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn quantize_group(x: &[f32], values: &mut [i8]) -> (f32, i32) {
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let mut maxima = _mm512_setzero_si512();
    for x in x.chunks_exact(16) {
        // SAFETY: the chunk has 16 floats.
        let bits = _mm512_castps_si512(unsafe { _mm512_loadu_ps(x.as_ptr()) });
        maxima = _mm512_max_epi32(maxima, _mm512_and_si512(bits, magnitude));
    }
    let maximum = f32::from_bits(_mm512_reduce_max_epi32(maxima) as u32);
    if maximum < SMALLEST_MAXIMUM || !maximum.is_finite() {
        values.fill(0);
        return (if maximum.is_finite() { 0.0 } else { f32::NAN }, split_sum(0));
    }
    let inverse = _mm512_set1_ps(127.0 / maximum);
    let mut totals = _mm512_setzero_si512();
    for (x, values) in x.chunks_exact(16).zip(values.chunks_exact_mut(16)) {
        // SAFETY: the chunk has 16 floats. The conversion rounds ties to even, the default rounding mode.
        let rounded = _mm512_cvtps_epi32(_mm512_mul_ps(unsafe { _mm512_loadu_ps(x.as_ptr()) }, inverse));
        totals = _mm512_add_epi32(totals, rounded);
        // SAFETY: the chunk has 16 bytes.
        unsafe { _mm_storeu_si128(values.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(rounded)) };
    }
    (maximum / 127.0, split_sum(_mm512_reduce_add_epi32(totals)))
}
