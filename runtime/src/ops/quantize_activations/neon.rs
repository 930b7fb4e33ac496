//! Sixteen activations at a time.

use std::arch::aarch64::*;

use super::{SMALLEST_MAXIMUM, split_sum};

/// See [`super::portable::quantize`]. `group_size` must be a multiple of 16.
pub(super) fn quantize(
    x: &[f32],
    group_size: usize,
    values: &mut [i8],
    scales: &mut [f32],
    sums: &mut [i32],
) {
    let groups = x.chunks_exact(group_size).zip(values.chunks_exact_mut(group_size));
    for ((x, values), (scale, sum)) in groups.zip(scales.iter_mut().zip(sums)) {
        // SAFETY: every aarch64 Linux has NEON.
        (*scale, *sum) = unsafe { quantize_group(x, values) };
    }
}

#[target_feature(enable = "neon")]
fn quantize_group(x: &[f32], values: &mut [i8]) -> (f32, i32) {
    let mut maxima = [vdupq_n_u32(0); 4];
    for x in x.as_chunks::<16>().0 {
        for (four, maxima) in load(x).into_iter().zip(&mut maxima) {
            *maxima = vmaxq_u32(*maxima, vreinterpretq_u32_f32(vabsq_f32(four)));
        }
    }
    let [a, b, c, d] = maxima;
    let maximum = f32::from_bits(vmaxvq_u32(vmaxq_u32(vmaxq_u32(a, b), vmaxq_u32(c, d))));
    if maximum < SMALLEST_MAXIMUM || !maximum.is_finite() {
        values.fill(0);
        return (if maximum.is_finite() { 0.0 } else { f32::NAN }, split_sum(0));
    }
    let inverse = vdupq_n_f32(127.0 / maximum);
    let mut totals = vdupq_n_s32(0);
    for (x, values) in x.as_chunks::<16>().0.iter().zip(values.as_chunks_mut::<16>().0) {
        let [a, b, c, d] = load(x);
        // The conversion rounds ties to even.
        let (a, b) = (vcvtnq_s32_f32(vmulq_f32(a, inverse)), vcvtnq_s32_f32(vmulq_f32(b, inverse)));
        let (c, d) = (vcvtnq_s32_f32(vmulq_f32(c, inverse)), vcvtnq_s32_f32(vmulq_f32(d, inverse)));
        totals = vaddq_s32(totals, vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)));
        let low = vmovn_high_s32(vmovn_s32(a), b);
        let high = vmovn_high_s32(vmovn_s32(c), d);
        // SAFETY: the chunk has 16 bytes.
        unsafe { vst1q_s8(values.as_mut_ptr(), vmovn_high_s16(vmovn_s16(low), high)) };
    }
    (maximum / 127.0, split_sum(vaddvq_s32(totals)))
}

#[inline]
#[target_feature(enable = "neon")]
fn load(x: &[f32; 16]) -> [float32x4_t; 4] {
    let x = x.as_ptr();
    // SAFETY: the array has four times four floats.
    unsafe { [vld1q_f32(x), vld1q_f32(x.add(4)), vld1q_f32(x.add(8)), vld1q_f32(x.add(12))] }
}
