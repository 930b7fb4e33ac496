//! The norms on vectors: one pass for the sum of squares, one for the product. Memory-bound.

use crate::backend::cpu::{Cpu, Kernel, Vector};
use crate::ops::Heads;
use crate::ops::activation::{rows_per_part, silu};

/// `out = w * x / rms(x)` for rows of `weight.len()` values.
///
/// # Panics
/// If `x` and `out` differ in length or are not whole rows.
pub fn forward(cpu: &Cpu, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "x and out must have the same shape");
    let width = weight.len().max(1);
    cpu.split_rows(out, width, rows_per_part(width), &|first, rows| {
        rows.copy_from_slice(&x[first * width..][..rows.len()]);
        cpu.isa.dispatch(Norm { rows, weight, eps });
    });
}

/// `x = w * x / rms(x)` in place for every head: the query and key norms of an attention layer.
///
/// # Panics
/// If the heads are not as wide as `weight` or do not fit into `x`.
pub fn heads(cpu: &Cpu, x: &mut [f32], layout: Heads, weight: &[f32], eps: f32) {
    assert_eq!(layout.width, weight.len(), "a head must be as wide as the weight");
    layout.check(x.len());
    if layout.tokens == 0 || layout.heads == 0 {
        return;
    }
    let token = |row: &mut [f32]| {
        for head in 0..layout.heads {
            cpu.isa.dispatch(Norm { rows: &mut row[layout.range(0, head)], weight, eps });
        }
    };
    if layout.tokens == 1 {
        return token(&mut x[..layout.extent()]);
    }
    // The last token's row may end with its last head, so it is not part of the even split.
    let width = layout.token_stride;
    let (even, last) = x[..layout.extent()].split_at_mut(width * (layout.tokens - 1));
    cpu.split_rows(even, width, rows_per_part(width), &|_, rows| {
        rows.chunks_exact_mut(width).for_each(token)
    });
    token(last);
}

/// `x = w * x / rms(x) * silu(gate)` in place for rows of `weight.len()` values.
///
/// # Panics
/// If `x` and `gate` differ in length or are not whole rows.
pub fn gated(cpu: &Cpu, x: &mut [f32], gate: &[f32], weight: &[f32], eps: f32) {
    assert_eq!(x.len(), gate.len(), "x and gate must have the same shape");
    let width = weight.len().max(1);
    cpu.split_rows(x, width, rows_per_part(width), &|first, rows| {
        let gate = &gate[first * width..][..rows.len()];
        cpu.isa.dispatch(GatedNorm { rows, gate, weight, eps });
    });
}

struct Norm<'a> {
    rows: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for row in self.rows.chunks_exact_mut(self.weight.len().max(1)) {
            let factor = inverse_rms::<V>(row, self.eps);
            scale::<V>(row, self.weight, factor);
        }
    }
}

struct GatedNorm<'a> {
    rows: &'a mut [f32],
    gate: &'a [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for GatedNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        #[inline(always)]
        fn multiply<V: Vector>(x: &mut [V::Lanes], gate: &[V::Lanes]) {
            for (x, gate) in x.iter_mut().zip(gate) {
                V::load(x).mul(silu(V::load(gate))).store(x);
            }
        }
        let width = self.weight.len().max(1);
        for (row, gate) in self.rows.chunks_exact_mut(width).zip(self.gate.chunks_exact(width)) {
            let factor = inverse_rms::<V>(row, self.eps);
            scale::<V>(row, self.weight, factor);
            let (x, x_rest) = V::chunks_mut(row);
            let (gate, gate_rest) = V::chunks(gate);
            multiply::<V>(x, gate);
            multiply::<f32>(f32::chunks_mut(x_rest).0, f32::chunks(gate_rest).0);
        }
    }
}

/// `1 / sqrt(mean(x^2) + eps)`, with four sums in flight.
#[inline(always)]
fn inverse_rms<V: Vector>(row: &[f32], eps: f32) -> f32 {
    let (lanes, rest) = V::chunks(row);
    let (fours, odd) = lanes.as_chunks::<4>();
    let mut sums = [V::splat(0.0); 4];
    for four in fours {
        for (sum, x) in sums.iter_mut().zip(four) {
            let x = V::load(x);
            *sum = x.mul_add(x, *sum);
        }
    }
    for x in odd {
        let x = V::load(x);
        sums[0] = x.mul_add(x, sums[0]);
    }
    let [a, b, c, d] = sums;
    let mut sum = a.add(b).add(c.add(d)).sum();
    for x in rest {
        sum += x * x;
    }
    1.0 / (sum / row.len() as f32 + eps).sqrt()
}

/// `x = x * factor * w`.
#[inline(always)]
fn scale<V: Vector>(row: &mut [f32], weight: &[f32], factor: f32) {
    #[inline(always)]
    fn body<V: Vector>(x: &mut [V::Lanes], weight: &[V::Lanes], factor: f32) {
        let factor = V::splat(factor);
        for (x, w) in x.iter_mut().zip(weight) {
            V::load(x).mul(factor).mul(V::load(w)).store(x);
        }
    }
    let (x, x_rest) = V::chunks_mut(row);
    let (weight, weight_rest) = V::chunks(weight);
    body::<V>(x, weight, factor);
    body::<f32>(f32::chunks_mut(x_rest).0, f32::chunks(weight_rest).0, factor);
}
