//! The gate on vectors, split by elements. Memory-bound in prefill.

use crate::backend::cpu::{Cpu, Kernel, Vector};
use crate::ops::activation::{rows_per_part, silu};

/// `gate = silu(gate) * up`.
///
/// # Panics
/// If the lengths differ.
pub fn forward(cpu: &Cpu, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up must have the same shape");
    cpu.split_rows(gate, 1, rows_per_part(1), &|first, gate| {
        let up = &up[first..][..gate.len()];
        cpu.isa.dispatch(SwiGlu { gate, up });
    });
}

struct SwiGlu<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for SwiGlu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        #[inline(always)]
        fn body<V: Vector>(gate: &mut [V::Lanes], up: &[V::Lanes]) {
            for (gate, up) in gate.iter_mut().zip(up) {
                silu(V::load(gate)).mul(V::load(up)).store(gate);
            }
        }
        let (gate, gate_rest) = V::chunks_mut(self.gate);
        let (up, up_rest) = V::chunks(self.up);
        body::<V>(gate, up);
        body::<f32>(f32::chunks_mut(gate_rest).0, f32::chunks(up_rest).0);
    }
}
