//! [`Vector`] for NEON: eight lanes in two registers, as many lanes as AVX2 has, summed in its order.
//!
//! Two registers to a vector because eight f16 or eight bytes are one load, and because panels that were cut for sixteen
//! registers of eight lanes fill thirty-two of four.

use std::arch::aarch64::*;

use super::vector::{EXPONENT_FROM_MINUS_63, Vector};

/// Eight lanes, the first four in the first register.
#[derive(Clone, Copy)]
pub(super) struct Neon(float32x4_t, float32x4_t);

/// Calls intrinsics of NEON.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: every aarch64 Linux has NEON, and the compiler's target says so. Pointers come from references to exactly as
        // many values.
        unsafe { $call }
    };
}

/// The same on both registers: an intrinsic, or an expression of each register's parts of the named vectors.
macro_rules! both {
    ($intrinsic:ident, $($operand:expr),+) => {
        intrinsic!(Neon($intrinsic($($operand.0),+), $intrinsic($($operand.1),+)))
    };
    (|$($four:ident = $operand:ident),+| $body:expr) => {
        intrinsic!(Neon({ $(let $four = $operand.0;)+ $body }, { $(let $four = $operand.1;)+ $body }))
    };
}

impl Vector for Neon {
    const LANES: usize = 8;
    // Each takes two of thirty-two.
    const REGISTERS: usize = 16;
    type Lanes = [f32; 8];
    type Halves = [u16; 8];
    type Bytes = [i8; 8];

    #[inline(always)]
    fn chunks(values: &[f32]) -> (&[Self::Lanes], &[f32]) {
        values.as_chunks()
    }
    #[inline(always)]
    fn chunks_mut(values: &mut [f32]) -> (&mut [Self::Lanes], &mut [f32]) {
        values.as_chunks_mut()
    }
    #[inline(always)]
    fn halves(bits: &[u16]) -> (&[Self::Halves], &[u16]) {
        bits.as_chunks()
    }
    #[inline(always)]
    fn halves_mut(bits: &mut [u16]) -> (&mut [Self::Halves], &mut [u16]) {
        bits.as_chunks_mut()
    }
    #[inline(always)]
    fn bytes(values: &[i8]) -> (&[Self::Bytes], &[i8]) {
        values.as_chunks()
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        let four = intrinsic!(vdupq_n_f32(value));
        Neon(four, four)
    }
    #[inline(always)]
    fn load(lanes: &Self::Lanes) -> Self {
        intrinsic!(Neon(vld1q_f32(lanes.as_ptr()), vld1q_f32(lanes.as_ptr().add(4))))
    }
    #[inline(always)]
    fn load_f16(halves: &Self::Halves) -> Self {
        intrinsic!({
            let eight = vreinterpretq_f16_u16(vld1q_u16(halves.as_ptr()));
            Neon(vcvt_f32_f16(vget_low_f16(eight)), vcvt_high_f32_f16(eight))
        })
    }
    #[inline(always)]
    fn load_i8(bytes: &Self::Bytes) -> Self {
        intrinsic!({
            let eight = vmovl_s8(vld1_s8(bytes.as_ptr()));
            Neon(vcvtq_f32_s32(vmovl_s16(vget_low_s16(eight))), vcvtq_f32_s32(vmovl_high_s16(eight)))
        })
    }
    #[inline(always)]
    fn store(self, lanes: &mut Self::Lanes) {
        intrinsic!({
            vst1q_f32(lanes.as_mut_ptr(), self.0);
            vst1q_f32(lanes.as_mut_ptr().add(4), self.1);
        });
    }
    #[inline(always)]
    fn store_f16(self, halves: &mut Self::Halves) {
        intrinsic!({
            let eight = vcvt_high_f16_f32(vcvt_f16_f32(self.0), self.1);
            vst1q_u16(halves.as_mut_ptr(), vreinterpretq_u16_f16(eight));
        });
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        both!(vaddq_f32, self, other)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        both!(vsubq_f32, self, other)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        both!(vmulq_f32, self, other)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        both!(vdivq_f32, self, other)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        both!(vfmaq_f32, addend, self, factor)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // Not `vmaxq_f32`, which gives NaN where either is NaN.
        both!(|a = self, b = other| vbslq_f32(vcgtq_f32(a, b), a, b))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        both!(|a = self, b = other| vbslq_f32(vcltq_f32(a, b), a, b))
    }
    #[inline(always)]
    fn flush(self) -> Self {
        both!(|four = self| {
            let bits = vreinterpretq_u32_f32(four);
            let keep = vtstq_u32(bits, vdupq_n_u32(EXPONENT_FROM_MINUS_63));
            vreinterpretq_f32_u32(vandq_u32(bits, keep))
        })
    }
    #[inline(always)]
    fn zero_where_less(self, x: Self, bound: Self) -> Self {
        both!(|four = self, x = x, bound = bound| {
            vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(four), vcltq_f32(x, bound)))
        })
    }
    #[inline(always)]
    fn exp2_integral(self) -> Self {
        both!(|four = self| {
            let biased = vaddq_s32(vcvtq_s32_f32(four), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        })
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        intrinsic!({
            let four = vaddq_f32(self.0, self.1);
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        })
    }
    #[inline(always)]
    fn maximum(self) -> f32 {
        intrinsic!(vmaxvq_f32(vmaxq_f32(self.0, self.1)))
    }
}
