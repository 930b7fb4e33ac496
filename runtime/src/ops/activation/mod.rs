//! Exponentials and what is made of them, on vectors.
//!
//! | function | formula | largest error |
//! |---|---|---|
//! | [`exp`] | `e^x` | 1.5 ulp; 0 where the result is no normal number |
//! | [`sigmoid`] | `1 / (1 + e^-x)` | 2.5 ulp where the result is a normal number |
//! | [`silu`] | `x * sigmoid(x)` | 2.5 ulp for `x > -88`; below, at most 1e-36 |
//! | [`softplus`] | `ln(1 + e^x)`, as `max(x, 0) + ln_1p(e^-abs(x))` | scalar, from the standard library |
//!
//! `exp(0)` is exactly 1 and `exp(-inf)` exactly 0, on which the softmax of the attention relies. NaN stays NaN.
//!
//! Method of `exp`: `x = n ln 2 + r` with integral `n` and `|r| <= ln(2) / 2` (`ln 2` in two parts, Cody and Waite 1980),
//! the Taylor polynomial of degree 7 for `e^r` (truncation 5e-9), then two exact multiplications by powers of two, so that
//! overflow gives infinity. Results below the smallest normal number are 0: subnormal operands slow multiplications down
//! tenfold on many processors.

pub mod reference;
#[cfg(test)]
mod tests;

use crate::backend::cpu::{Cpu, Kernel, Vector};
use crate::ops::Heads;

/// `ln(2^-126)` rounded up: where the result stops being a normal number.
const SMALLEST: f32 = -87.336_54;
/// Beyond this bound the result is infinity anyway.
const LARGEST: f32 = 89.0;
/// `ln 2` rounded to 15 bits, so that `n * LN2_HIGH` is exact for every `n` that occurs, and what is left.
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;
/// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
const ROUND: f32 = 12_582_912.0;

/// `e^x` in every lane.
#[inline(always)]
pub fn exp<V: Vector>(x: V) -> V {
    let round = V::splat(ROUND);
    // NaN survives both: the second operand is returned for it.
    let smallest = V::splat(SMALLEST);
    let original = x;
    let x = V::splat(LARGEST).min(smallest.max(x));
    let n = x.mul_add(V::splat(std::f32::consts::LOG2_E), round).sub(round);
    let r = n.mul_add(V::splat(-LN2_HIGH), x);
    let r = n.mul_add(V::splat(-LN2_LOW), r);
    let mut p = V::splat(1.0 / 5040.0);
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p.mul_add(r, V::splat(coefficient));
    }
    let half = n.mul_add(V::splat(0.5), round).sub(round);
    p.mul(half.exp2_integral()).mul(n.sub(half).exp2_integral()).zero_where_less(original, smallest)
}

/// `1 / (1 + e^-x)` in every lane.
#[inline(always)]
pub fn sigmoid<V: Vector>(x: V) -> V {
    let one = V::splat(1.0);
    one.div(one.add(exp(V::splat(0.0).sub(x))))
}

/// `x / (1 + e^-x)` in every lane.
#[inline(always)]
pub fn silu<V: Vector>(x: V) -> V {
    x.div(V::splat(1.0).add(exp(V::splat(0.0).sub(x))))
}

/// `ln(1 + e^x)`, without overflow and without cancellation.
pub fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `x *= sigmoid(gate)`, element by element: the output gate of Qwen3.5's attention.
///
/// | argument | shape |
/// |---|---|
/// | `x` | `[tokens, heads, width]`, packed, in place |
/// | `gate` | strided as `layout` says |
///
/// # Panics
/// If `x` or `gate` does not have the shape.
pub fn multiply_by_sigmoid(cpu: &Cpu, x: &mut [f32], gate: &[f32], layout: Heads) {
    layout.check(gate.len());
    let row = layout.heads * layout.width;
    assert_eq!(x.len(), layout.tokens * row, "x must be [tokens, heads, width] of {layout:?}");
    cpu.split_rows(x, row, rows_per_part(row), &|first, rows| {
        for (token, row) in rows.chunks_exact_mut(row.max(1)).enumerate() {
            for (head, x) in row.chunks_exact_mut(layout.width).enumerate() {
                cpu.isa.dispatch(SigmoidProduct { x, gate: &gate[layout.range(first + token, head)] });
            }
        }
    });
}

/// Rows that make a part of a parallel section worth its start, for element-wise operators.
pub(super) fn rows_per_part(width: usize) -> usize {
    const ELEMENTS: usize = 4096;
    ELEMENTS.div_ceil(width.max(1))
}

struct SigmoidProduct<'a> {
    x: &'a mut [f32],
    gate: &'a [f32],
}

impl Kernel for SigmoidProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        #[inline(always)]
        fn body<V: Vector>(x: &mut [V::Lanes], gate: &[V::Lanes]) {
            for (x, gate) in x.iter_mut().zip(gate) {
                V::load(x).mul(sigmoid(V::load(gate))).store(x);
            }
        }
        let (x, x_rest) = V::chunks_mut(self.x);
        let (gate, gate_rest) = V::chunks(self.gate);
        body::<V>(x, gate);
        body::<f32>(f32::chunks_mut(x_rest).0, f32::chunks(gate_rest).0);
    }
}
