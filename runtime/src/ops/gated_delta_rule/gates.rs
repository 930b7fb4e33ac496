//! The two gates of a value head. A few hundred values a token, so scalar.

use crate::backend::cpu::{Cpu, SharedMut};
use crate::ops::activation::{reference, softplus};

/// Tokens that make a part of a parallel section worth its start.
const GRAIN: usize = 8;

/// Turns the projections into gates, in place: `a` into `g = -exp(A_log) softplus(a + dt_bias)`, `b` into
/// `beta = sigmoid(b)`.
///
/// | argument | shape |
/// |---|---|
/// | `a`, `b` | `[T, value_heads]` |
/// | `neg_exp_a_log` | `[value_heads]`, `-exp(A_log)`, computed in f32 or better when an engine is built |
/// | `dt_bias` | `[value_heads]` |
///
/// # Panics
/// If the lengths contradict each other.
pub fn gates(cpu: &Cpu, a: &mut [f32], b: &mut [f32], neg_exp_a_log: &[f32], dt_bias: &[f32]) {
    let heads = dt_bias.len().max(1);
    assert_eq!(neg_exp_a_log.len(), dt_bias.len(), "A_log and dt_bias must have one value a head");
    assert_eq!(a.len(), b.len(), "a and b must have the same shape");
    let b = SharedMut::new(b);
    cpu.split_rows(a, heads, GRAIN, &|first, a| {
        // SAFETY: the rows that go with this part of a, and parts are disjoint.
        let b = unsafe { b.slice(first * heads..first * heads + a.len()) };
        for (a, b) in a.chunks_exact_mut(heads).zip(b.chunks_exact_mut(heads)) {
            for head in 0..heads {
                a[head] = neg_exp_a_log[head] * softplus(a[head] + dt_bias[head]);
                b[head] = reference::sigmoid(f64::from(b[head])) as f32;
            }
        }
    });
}
