//! One vector type per instruction set, behind one trait, so that an operator's kernel is written once and compiled for each.
//!
//! A kernel is a [`Kernel`]: a value whose `run` is generic over the [`Vector`]. [`InstructionSet::dispatch`] compiles it
//! inside a function with the features switched on, and everything `#[inline(always)]` below it inherits them. Slices are
//! viewed as whole vectors with [`Vector::chunks`], whose elements load and store without a bounds check, so that kernels
//! need no `unsafe`.
//!
//! Kernels must not pass vectors through closures or functions that are not `#[inline(always)]`.

use super::InstructionSet;
#[cfg(target_arch = "aarch64")]
use super::vector_neon;
#[cfg(target_arch = "x86_64")]
use super::vector_x86;

/// The two exponent bits of which one is set from 2^-63 on, infinity and NaN included.
pub(super) const EXPONENT_FROM_MINUS_63: u32 = 0x6000_0000;

/// A register of f32 values.
pub trait Vector: Copy {
    /// Values in a register.
    const LANES: usize;
    /// Registers that a kernel can count on.
    const REGISTERS: usize;
    /// `LANES` values in memory.
    type Lanes: Copy;
    /// `LANES` f16 bit patterns in memory.
    type Halves: Copy;
    /// `LANES` signed bytes in memory.
    type Bytes: Copy;

    /// The slice as whole registers, and the rest.
    fn chunks(values: &[f32]) -> (&[Self::Lanes], &[f32]);
    /// The slice as whole registers, and the rest.
    fn chunks_mut(values: &mut [f32]) -> (&mut [Self::Lanes], &mut [f32]);
    /// The slice of f16 bit patterns as whole registers, and the rest.
    fn halves(bits: &[u16]) -> (&[Self::Halves], &[u16]);
    /// The slice of f16 bit patterns as whole registers, and the rest.
    fn halves_mut(bits: &mut [u16]) -> (&mut [Self::Halves], &mut [u16]);
    /// The slice of signed bytes as whole registers, and the rest.
    fn bytes(values: &[i8]) -> (&[Self::Bytes], &[i8]);

    /// Asks for the cache line of `place`; nothing on sets without such an instruction.
    #[inline(always)]
    fn prefetch<T>(_place: &T) {}

    /// `value` in every lane.
    fn splat(value: f32) -> Self;
    /// Loads a register.
    fn load(lanes: &Self::Lanes) -> Self;
    /// Loads a register of f16 values, converted exactly.
    fn load_f16(halves: &Self::Halves) -> Self;
    /// Loads a register of signed bytes, converted exactly.
    fn load_i8(bytes: &Self::Bytes) -> Self;
    /// Stores a register.
    fn store(self, lanes: &mut Self::Lanes);
    /// Stores a register as f16 values, rounded to nearest even.
    fn store_f16(self, halves: &mut Self::Halves);

    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self - other`.
    fn sub(self, other: Self) -> Self;
    /// `self * other`.
    fn mul(self, other: Self) -> Self;
    /// `self / other`.
    fn div(self, other: Self) -> Self;
    /// `self * factor + addend`, fused where the instruction set has it.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The larger of each pair; `other` where either is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller of each pair; `other` where either is NaN.
    fn min(self, other: Self) -> Self;
    /// 0 where the magnitude is below 2^-63, else `self`. What is kept can be scaled by 2^-62 and stays a normal number.
    fn flush(self) -> Self;
    /// 0 where `x < bound`, else `self`.
    fn zero_where_less(self, x: Self, bound: Self) -> Self;
    /// `2^self` for integral values in -126..=127.
    fn exp2_integral(self) -> Self;
    /// Sum over the lanes, in an order fixed by the instruction set.
    fn sum(self) -> f32;
    /// Largest lane.
    fn maximum(self) -> f32;
}

/// A computation that is compiled once for each instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The computation. Implementations are `#[inline(always)]`.
    fn run<V: Vector>(self) -> Self::Output;
}

impl InstructionSet {
    /// Runs `kernel` with this instruction set, or the best supported one below it.
    pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self.supported() {
            // SAFETY: `supported` has asked the processor for AVX-512 F, BW, DQ and VL.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni => unsafe { vector_x86::run_avx512(kernel) },
            // SAFETY: `supported` has asked the processor for AVX2, FMA and F16C.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { vector_x86::run_avx2(kernel) },
            #[cfg(target_arch = "aarch64")]
            InstructionSet::NeonDotprod => kernel.run::<vector_neon::Neon>(),
            InstructionSet::Portable => kernel.run::<Portable>(),
        }
    }
}

/// Eight lanes for any machine: plain loops that the compiler turns into the baseline's vectors. Multiplies and adds round
/// separately.
#[derive(Clone, Copy)]
pub struct Portable([f32; 8]);

macro_rules! lanewise {
    ($a:expr, $b:expr, $f:expr) => {{
        let mut out = $a.0;
        for (x, y) in out.iter_mut().zip($b.0) {
            *x = $f(*x, y);
        }
        Portable(out)
    }};
}

impl Vector for Portable {
    const LANES: usize = 8;
    // Each takes two of the baseline's sixteen.
    const REGISTERS: usize = 8;
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
        Portable([value; 8])
    }
    #[inline(always)]
    fn load(lanes: &Self::Lanes) -> Self {
        Portable(*lanes)
    }
    #[inline(always)]
    fn load_f16(halves: &Self::Halves) -> Self {
        let mut out = [0.0; 8];
        for (value, &bits) in out.iter_mut().zip(halves) {
            *value = half::f16::from_bits(bits).to_f32_const();
        }
        Portable(out)
    }
    #[inline(always)]
    fn load_i8(bytes: &Self::Bytes) -> Self {
        Portable(bytes.map(f32::from))
    }
    #[inline(always)]
    fn store(self, lanes: &mut Self::Lanes) {
        *lanes = self.0;
    }
    #[inline(always)]
    fn store_f16(self, halves: &mut Self::Halves) {
        for (bits, value) in halves.iter_mut().zip(self.0) {
            *bits = half::f16::from_f32_const(value).to_bits();
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        lanewise!(self, other, |x: f32, y: f32| x + y)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        lanewise!(self, other, |x: f32, y: f32| x - y)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        lanewise!(self, other, |x: f32, y: f32| x * y)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        lanewise!(self, other, |x: f32, y: f32| x / y)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self.mul(factor).add(addend)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        lanewise!(self, other, |x: f32, y: f32| if x > y { x } else { y })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        lanewise!(self, other, |x: f32, y: f32| if x < y { x } else { y })
    }
    #[inline(always)]
    fn flush(self) -> Self {
        let mut out = self.0;
        for x in &mut out {
            *x = x.flush();
        }
        Portable(out)
    }
    #[inline(always)]
    fn zero_where_less(self, x: Self, bound: Self) -> Self {
        let mut out = self.0;
        for ((out, x), bound) in out.iter_mut().zip(x.0).zip(bound.0) {
            *out = if x < bound { 0.0 } else { *out };
        }
        Portable(out)
    }
    #[inline(always)]
    fn exp2_integral(self) -> Self {
        let mut out = self.0;
        for x in &mut out {
            // Adding 2^23 * 1.5 leaves the integer in the low bits of the mantissa.
            *x = f32::from_bits((*x + 12_582_912.0 + 127.0).to_bits() << 23);
        }
        Portable(out)
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn maximum(self) -> f32 {
        let mut largest = self.0[0];
        for &x in &self.0[1..] {
            largest = if x > largest { x } else { largest };
        }
        largest
    }
}

/// One lane: what is left of a slice after its whole registers.
impl Vector for f32 {
    const LANES: usize = 1;
    const REGISTERS: usize = 16;
    type Lanes = [f32; 1];
    type Halves = [u16; 1];
    type Bytes = [i8; 1];

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
        value
    }
    #[inline(always)]
    fn load(lanes: &Self::Lanes) -> Self {
        lanes[0]
    }
    #[inline(always)]
    fn load_f16(halves: &Self::Halves) -> Self {
        half::f16::from_bits(halves[0]).to_f32_const()
    }
    #[inline(always)]
    fn load_i8(bytes: &Self::Bytes) -> Self {
        f32::from(bytes[0])
    }
    #[inline(always)]
    fn store(self, lanes: &mut Self::Lanes) {
        lanes[0] = self;
    }
    #[inline(always)]
    fn store_f16(self, halves: &mut Self::Halves) {
        halves[0] = half::f16::from_f32_const(self).to_bits();
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self * other
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self / other
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self * factor + addend
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other { self } else { other }
    }
    #[inline(always)]
    fn flush(self) -> Self {
        // A mask instead of a choice, which compilers turn into branches.
        let keep = u32::from(self.to_bits() & EXPONENT_FROM_MINUS_63 != 0).wrapping_neg();
        f32::from_bits(self.to_bits() & keep)
    }
    #[inline(always)]
    fn zero_where_less(self, x: Self, bound: Self) -> Self {
        if x < bound { 0.0 } else { self }
    }
    #[inline(always)]
    fn exp2_integral(self) -> Self {
        f32::from_bits((self + 12_582_912.0 + 127.0).to_bits() << 23)
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        self
    }
    #[inline(always)]
    fn maximum(self) -> f32 {
        self
    }
}
