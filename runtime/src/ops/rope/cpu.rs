//! The table and the rotation on vectors.

use crate::backend::cpu::{Cpu, Kernel, Vector};
use crate::ops::Heads;
use crate::ops::activation::rows_per_part;

/// Fills the table for positions `first_position..`, one row of `rotary_dims / 2` values each.
///
/// # Panics
/// If `cos` and `sin` differ in length or are not whole rows.
pub fn fill(first_position: usize, rotary_dims: usize, theta: f32, cos: &mut [f32], sin: &mut [f32]) {
    let half = (rotary_dims / 2).max(1);
    assert_eq!(cos.len(), sin.len(), "cos and sin must have the same shape");
    assert!(cos.len().is_multiple_of(half), "a table row has {half} values, not part of {}", cos.len());
    for j in 0..half {
        let frequency = 1.0 / theta.powf((2 * j) as f32 / rotary_dims as f32);
        for (row, (cos, sin)) in cos.chunks_exact_mut(half).zip(sin.chunks_exact_mut(half)).enumerate() {
            let angle = (first_position + row) as f32 * frequency;
            (sin[j], cos[j]) = angle.sin_cos();
        }
    }
}

/// Rotates every head in place; token `t` uses row `t` of the table.
///
/// # Panics
/// If the heads do not fit into `x`, are narrower than `rotary_dims`, or the table has fewer rows than tokens.
pub fn forward(cpu: &Cpu, x: &mut [f32], layout: Heads, rotary_dims: usize, cos: &[f32], sin: &[f32]) {
    layout.check(x.len());
    let half = rotary_dims / 2;
    assert!(rotary_dims.is_multiple_of(2) && rotary_dims <= layout.width, "{rotary_dims} of {layout:?}");
    assert!(cos.len() >= layout.tokens * half && sin.len() >= layout.tokens * half, "table too short");
    if layout.tokens == 0 || layout.heads == 0 || half == 0 {
        return;
    }
    let token = |index: usize, row: &mut [f32]| {
        let (cos, sin) = (&cos[index * half..][..half], &sin[index * half..][..half]);
        for head in 0..layout.heads {
            let (first, rest) = row[layout.range(0, head)].split_at_mut(half);
            cpu.isa.dispatch(Rotation { first, second: &mut rest[..half], cos, sin });
        }
    };
    if layout.tokens == 1 {
        return token(0, &mut x[..layout.extent()]);
    }
    // The last token's row may end with its last head, so it is not part of the even split.
    let width = layout.token_stride;
    let (even, last) = x[..layout.extent()].split_at_mut(width * (layout.tokens - 1));
    cpu.split_rows(even, width, rows_per_part(width), &|first, rows| {
        for (index, row) in rows.chunks_exact_mut(width).enumerate() {
            token(first + index, row);
        }
    });
    token(layout.tokens - 1, last);
}

struct Rotation<'a> {
    first: &'a mut [f32],
    second: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Rotation<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        #[inline(always)]
        fn body<V: Vector>(a: &mut [V::Lanes], b: &mut [V::Lanes], cos: &[V::Lanes], sin: &[V::Lanes]) {
            for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                let (x, y, cos, sin) = (V::load(a), V::load(b), V::load(cos), V::load(sin));
                x.mul(cos).sub(y.mul(sin)).store(a);
                y.mul(cos).add(x.mul(sin)).store(b);
            }
        }
        let (a, a_rest) = V::chunks_mut(self.first);
        let (b, b_rest) = V::chunks_mut(self.second);
        let (cos, cos_rest) = V::chunks(self.cos);
        let (sin, sin_rest) = V::chunks(self.sin);
        body::<V>(a, b, cos, sin);
        let (a, b) = (f32::chunks_mut(a_rest).0, f32::chunks_mut(b_rest).0);
        body::<f32>(a, b, f32::chunks(cos_rest).0, f32::chunks(sin_rest).0);
    }
}
