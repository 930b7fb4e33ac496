//! [`Vector`] for AVX2 with FMA and F16C, and for AVX-512.
//!
//! The methods call intrinsics outside a function with the feature: each is `#[inline(always)]`, and [`super::InstructionSet::dispatch`]
//! alone makes kernels use these types, inside a function with the features switched on, after the processor was asked.

use std::arch::x86_64::*;

use super::vector::{EXPONENT_FROM_MINUS_63, Kernel, Vector};

/// Eight lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

/// Compiles and runs a kernel with AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// Compiles and runs a kernel with AVX-512 (F, BW, DQ, VL).
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// Calls an intrinsic that needs a feature of this file's instruction sets.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: these vector types are reached only through `run_avx2` and `run_avx512`, which have the features and are
        // called after the processor reported them. Pointers come from references to exactly as many values.
        unsafe { $call }
    };
}

impl Vector for Avx2 {
    const LANES: usize = 8;
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
    fn prefetch<T>(place: &T) {
        intrinsic!(_mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()));
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Avx2(intrinsic!(_mm256_set1_ps(value)))
    }
    #[inline(always)]
    fn load(lanes: &Self::Lanes) -> Self {
        Avx2(intrinsic!(_mm256_loadu_ps(lanes.as_ptr())))
    }
    #[inline(always)]
    fn load_f16(halves: &Self::Halves) -> Self {
        Avx2(intrinsic!(_mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast()))))
    }
    #[inline(always)]
    fn load_i8(bytes: &Self::Bytes) -> Self {
        Avx2(intrinsic!(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(bytes.as_ptr().cast())))))
    }
    #[inline(always)]
    fn store(self, lanes: &mut Self::Lanes) {
        intrinsic!(_mm256_storeu_ps(lanes.as_mut_ptr(), self.0));
    }
    #[inline(always)]
    fn store_f16(self, halves: &mut Self::Halves) {
        intrinsic!(_mm_storeu_si128(
            halves.as_mut_ptr().cast(),
            _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)
        ));
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Avx2(intrinsic!(_mm256_add_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Avx2(intrinsic!(_mm256_sub_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Avx2(intrinsic!(_mm256_mul_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Avx2(intrinsic!(_mm256_div_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Avx2(intrinsic!(_mm256_fmadd_ps(self.0, factor.0, addend.0)))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Avx2(intrinsic!(_mm256_max_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Avx2(intrinsic!(_mm256_min_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn flush(self) -> Self {
        Avx2(intrinsic!({
            let exponent = _mm256_set1_epi32(EXPONENT_FROM_MINUS_63 as i32);
            let bits = _mm256_and_si256(_mm256_castps_si256(self.0), exponent);
            let small = _mm256_cmpeq_epi32(bits, _mm256_setzero_si256());
            _mm256_andnot_ps(_mm256_castsi256_ps(small), self.0)
        }))
    }
    #[inline(always)]
    fn zero_where_less(self, x: Self, bound: Self) -> Self {
        Avx2(intrinsic!(_mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(x.0, bound.0), self.0)))
    }
    #[inline(always)]
    fn exp2_integral(self) -> Self {
        Avx2(intrinsic!(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(
            _mm256_cvtps_epi32(self.0),
            _mm256_set1_epi32(127)
        )))))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        intrinsic!({
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }
    #[inline(always)]
    fn maximum(self) -> f32 {
        intrinsic!({
            let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        })
    }
}

impl Vector for Avx512 {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    type Lanes = [f32; 16];
    type Halves = [u16; 16];
    type Bytes = [i8; 16];

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
    fn prefetch<T>(place: &T) {
        intrinsic!(_mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()));
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Avx512(intrinsic!(_mm512_set1_ps(value)))
    }
    #[inline(always)]
    fn load(lanes: &Self::Lanes) -> Self {
        Avx512(intrinsic!(_mm512_loadu_ps(lanes.as_ptr())))
    }
    #[inline(always)]
    fn load_f16(halves: &Self::Halves) -> Self {
        Avx512(intrinsic!(_mm512_cvtph_ps(_mm256_loadu_si256(halves.as_ptr().cast()))))
    }
    #[inline(always)]
    fn load_i8(bytes: &Self::Bytes) -> Self {
        Avx512(intrinsic!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())))))
    }
    #[inline(always)]
    fn store(self, lanes: &mut Self::Lanes) {
        intrinsic!(_mm512_storeu_ps(lanes.as_mut_ptr(), self.0));
    }
    #[inline(always)]
    fn store_f16(self, halves: &mut Self::Halves) {
        intrinsic!(_mm256_storeu_si256(
            halves.as_mut_ptr().cast(),
            _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)
        ));
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Avx512(intrinsic!(_mm512_add_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Avx512(intrinsic!(_mm512_sub_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Avx512(intrinsic!(_mm512_mul_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Avx512(intrinsic!(_mm512_div_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Avx512(intrinsic!(_mm512_fmadd_ps(self.0, factor.0, addend.0)))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Avx512(intrinsic!(_mm512_max_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Avx512(intrinsic!(_mm512_min_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn flush(self) -> Self {
        Avx512(intrinsic!({
            let exponent = _mm512_set1_epi32(EXPONENT_FROM_MINUS_63 as i32);
            _mm512_maskz_mov_ps(_mm512_test_epi32_mask(_mm512_castps_si512(self.0), exponent), self.0)
        }))
    }
    #[inline(always)]
    fn zero_where_less(self, x: Self, bound: Self) -> Self {
        Avx512(intrinsic!(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x.0, bound.0), self.0)))
    }
    #[inline(always)]
    fn exp2_integral(self) -> Self {
        Avx512(intrinsic!(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(
            _mm512_cvtps_epi32(self.0),
            _mm512_set1_epi32(127)
        )))))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        intrinsic!(_mm512_reduce_add_ps(self.0))
    }
    #[inline(always)]
    fn maximum(self) -> f32 {
        intrinsic!(_mm512_reduce_max_ps(self.0))
    }
}
