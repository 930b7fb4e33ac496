//! The updates of tokens that may yet be rejected: what each adds to the state, instead of a copy of the state.
//!
//! A row of the log is one token: its keys `k` as they come from the convolution `[key_heads, dk]`, its corrections
//! `d / |k|` `[value_heads, dv]`, its decays `exp(g)` `[value_heads]`. A token's correction depends on earlier tokens only, so any
//! prefix of the log is exact, and the state behind `n` tokens is
//!
//! ```text
//! S_t = exp(g_t) S_{t-1} + k_t (d_t / |k_t|)^T      t = 1 .. n
//! ```
//!
//! in the same operations and the same order as [`recurrent`](super::recurrent), so it has the same bits.

use std::ops::Range;

use super::{Inputs, Shape};
use crate::backend::cpu::{Cpu, Kernel, SharedMut, Vector};

/// The most tokens that one commit takes.
const MOST_TOKENS: usize = 8;

impl Shape {
    /// Values that one token takes in a log: `key_heads * dk + value_heads * dv + value_heads`.
    pub const fn log_row(&self) -> usize {
        self.key_heads * self.key_dim + self.value_heads * self.value_dim + self.value_heads
    }

    /// Where the corrections of a head stand in a row.
    const fn deltas(&self, head: usize) -> Range<usize> {
        let start = self.key_heads * self.key_dim + head * self.value_dim;
        start..start + self.value_dim
    }

    /// Where the decay of a head stands in a row.
    const fn decay(&self, head: usize) -> usize {
        self.key_heads * self.key_dim + self.value_heads * self.value_dim + head
    }

    /// Where the keys of a value head stand in a row.
    const fn keys(&self, head: usize) -> Range<usize> {
        let start = head / (self.value_heads / self.key_heads) * self.key_dim;
        start..start + self.key_dim
    }
}

/// A log while a verification fills it, each thread the columns of its own heads.
pub(super) struct LogWriter<'a> {
    shape: &'a Shape,
    values: SharedMut<'a, f32>,
}

impl<'a> LogWriter<'a> {
    /// A log of `[T, log_row]`.
    pub(super) fn new(shape: &'a Shape, values: &'a mut [f32]) -> Self {
        Self { shape, values: SharedMut::new(values) }
    }

    /// Writes the keys of every token.
    pub(super) fn put_keys(&mut self, inputs: Inputs<'_>, tokens: usize) {
        let Shape { key_heads, key_dim, .. } = *self.shape;
        let keys = key_heads * key_dim;
        for token in 0..tokens {
            let row = token * self.shape.log_row();
            // SAFETY: `&mut self` excludes every other part.
            let logged = unsafe { self.values.slice(row..row + keys) };
            logged.copy_from_slice(&inputs.qkv[token * self.shape.row() + keys..][..keys]);
        }
    }

    /// Writes the decay of a head; called by that head's thread alone.
    pub(super) fn put_decay(&self, token: usize, head: usize, decay: f32) {
        let place = token * self.shape.log_row() + self.shape.decay(head);
        // SAFETY: each head belongs to one thread, and the view ends with the statement after it.
        let logged = unsafe { self.values.slice(place..place + 1) };
        logged[0] = decay;
    }

    /// The corrections of a head's `columns`.
    ///
    /// # Safety
    /// No other part with these columns of this head may live.
    #[expect(clippy::mut_from_ref, reason = "as `SharedMut::slice`, from which it comes")]
    pub(super) unsafe fn deltas(&self, token: usize, head: usize, columns: Range<usize>) -> &mut [f32] {
        let start = token * self.shape.log_row() + self.shape.deltas(head).start;
        // SAFETY: the caller's promise.
        unsafe { self.values.slice(start + columns.start..start + columns.end) }
    }
}

/// Moves `state` `[value_heads, dk, dv]` on by the first `tokens` rows of `log`.
///
/// # Panics
/// If a slice does not have the shape of the contract, or there are more than 8 tokens.
pub fn commit(cpu: &Cpu, shape: &Shape, log: &[f32], tokens: usize, state: &mut [f32]) {
    assert!(tokens <= MOST_TOKENS, "{tokens} tokens are more than {MOST_TOKENS}");
    assert!(log.len() >= tokens * shape.log_row(), "log must be [{tokens}, {}]", shape.log_row());
    assert_eq!(state.len(), shape.value_heads * shape.head_state(), "state must be [value_heads, dk, dv]");
    if tokens == 0 {
        return;
    }
    let log = &log[..tokens * shape.log_row()];
    cpu.split_rows(state, shape.head_state(), 1, &|first, states| {
        for (index, state) in states.chunks_exact_mut(shape.head_state()).enumerate() {
            cpu.isa.dispatch(Replay { shape, log, head: first + index, state });
        }
    });
}

/// One head's updates.
struct Replay<'a> {
    shape: &'a Shape,
    log: &'a [f32],
    head: usize,
    state: &'a mut [f32],
}

impl Kernel for Replay<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let width = self.shape.value_dim;
        let mut column = 0;
        while column + 2 * V::LANES <= width {
            self.columns::<V, 2>(column);
            column += 2 * V::LANES;
        }
        // As in the recurrence: whole registers first, since a single value may round its products on the way.
        while column + V::LANES <= width {
            self.columns::<V, 1>(column);
            column += V::LANES;
        }
        while column < width {
            self.columns::<f32, 1>(column);
            column += 1;
        }
    }
}

impl Replay<'_> {
    /// `N` registers of columns: each row of the state is read once, moved on token by token, and written once.
    #[inline(always)]
    fn columns<V: Vector, const N: usize>(&mut self, column: usize) {
        let columns = column..column + N * V::LANES;
        let mut decays = [0.0; MOST_TOKENS];
        let mut deltas = [[V::splat(0.0); N]; MOST_TOKENS];
        let rows = self.log.chunks_exact(self.shape.log_row());
        for ((row, decay), delta) in rows.clone().zip(&mut decays).zip(&mut deltas) {
            *decay = row[self.shape.decay(self.head)];
            let logged = V::chunks(&row[self.shape.deltas(self.head)][columns.clone()]).0;
            for n in 0..N {
                delta[n] = V::load(&logged[n]);
            }
        }
        let keys = self.shape.keys(self.head);
        for (key, state) in self.state.chunks_exact_mut(self.shape.value_dim).enumerate() {
            let state = V::chunks_mut(&mut state[columns.clone()]).0;
            let mut values = [V::splat(0.0); N];
            for n in 0..N {
                values[n] = V::load(&state[n]);
            }
            for ((row, decay), delta) in rows.clone().zip(decays).zip(&deltas) {
                let k = V::splat(row[keys.start + key]);
                for n in 0..N {
                    values[n] = k.mul_add(delta[n], values[n].mul(V::splat(decay))).flush();
                }
            }
            for n in 0..N {
                values[n].store(&mut state[n]);
            }
        }
    }
}
