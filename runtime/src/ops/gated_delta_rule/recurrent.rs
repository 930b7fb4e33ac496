//! Token by token, each pass over the state used twice.
//!
//! Columns of the state are independent of each other, so a thread takes a head and walks it in slices of four registers.
//! A slice of a 128 x 128 state is 32 KiB with AVX-512 and stays in the first-level cache for a block of tokens. The pass
//! that adds token t's correction also forms `S^T k` and `S^T q` for token t + 1, and the output follows from the state
//! before the correction, `S^T q + (k . q) d`, so a token costs one read and one write of the state, `4 dk dv`
//! multiply-adds. The norms of `k` and `q` are factored out of the vectors into three scalars a token.
//!
//! One token alone reads its slice from memory in the first pass and updates it in cache in the second.

use super::shape::NORM_EPS;
use super::update_log::LogWriter;
use super::{Inputs, Shape};
use crate::backend::cpu::{Cpu, Kernel, SharedMut, Vector};

/// Tokens whose scalars are computed ahead of the passes.
const BLOCK: usize = 64;
/// From this many tokens on, a slice of the state is worth copying, and up to this many values: 32 KiB on the stack.
const DENSE_TOKENS: usize = 4;
const DENSE_VALUES: usize = 8192;
/// Values in a key of which one register of columns fits a copy, for the widest registers.
pub const MOST_VERIFIED_KEYS: usize = DENSE_VALUES / 16;

/// Runs the tokens of `inputs` with the form that is fastest on this processor, which is [`recurrent`] at every length:
/// the chunked form has as many multiply-adds and more memory traffic.
///
/// # Panics
/// If a slice does not have the shape of the contract.
pub fn forward(cpu: &Cpu, shape: &Shape, inputs: Inputs<'_>, state: &mut [f32], out: &mut [f32]) {
    recurrent(cpu, shape, inputs, state, out);
}

/// Runs the tokens of `inputs` in order.
///
/// # Panics
/// If a slice does not have the shape of the contract.
pub fn recurrent(cpu: &Cpu, shape: &Shape, inputs: Inputs<'_>, state: &mut [f32], out: &mut [f32]) {
    let tokens = shape.check(inputs, state, out);
    let out = SharedMut::new(out);
    cpu.split_rows(state, shape.head_state(), 1, &|first, states| {
        for (index, state) in states.chunks_exact_mut(shape.head_state()).enumerate() {
            let reader = Reader { shape, inputs, head: first + index, out: &out, log: None };
            cpu.isa.dispatch(Head { tokens, state, reader });
        }
    });
}

/// As [`recurrent`], to the bit, but `state` stays what it was: the update of each token goes to `log` `[T, `
/// [`Shape::log_row`]`]`, from which [`commit`](super::commit) makes the state behind any number of them.
///
/// # Panics
/// If a slice does not have the shape of the contract, or a head's keys are longer than 512.
pub fn verify(cpu: &Cpu, shape: &Shape, inputs: Inputs<'_>, state: &[f32], log: &mut [f32], out: &mut [f32]) {
    let tokens = shape.check(inputs, state, out);
    assert_eq!(log.len(), tokens * shape.log_row(), "log must be [{tokens}, {}]", shape.log_row());
    assert!(shape.key_dim <= MOST_VERIFIED_KEYS, "columns of the state must fit their copy: {shape:?}");
    let mut log = LogWriter::new(shape, log);
    log.put_keys(inputs, tokens);
    let out = SharedMut::new(out);
    cpu.pool.split(shape.value_heads, 1, &|heads| {
        for head in heads {
            let state = &state[head * shape.head_state()..][..shape.head_state()];
            let reader = Reader { shape, inputs, head, out: &out, log: Some(&log) };
            cpu.isa.dispatch(VerifiedHead { tokens, state, reader });
        }
    });
}

/// One value head, all tokens.
struct Head<'a> {
    tokens: usize,
    state: &'a mut [f32],
    reader: Reader<'a>,
}

/// As [`Head`], on copies of the state's columns.
struct VerifiedHead<'a> {
    tokens: usize,
    state: &'a [f32],
    reader: Reader<'a>,
}

/// What a head reads, and where its outputs go.
struct Reader<'a> {
    shape: &'a Shape,
    inputs: Inputs<'a>,
    head: usize,
    out: &'a SharedMut<'a, f32>,
    /// Where the updates go, too.
    log: Option<&'a LogWriter<'a>>,
}

/// Some columns of a state: rows `width` apart, the columns from `column` on.
struct Slice<'a> {
    values: &'a mut [f32],
    width: usize,
    column: usize,
}

/// What a token contributes besides its vectors.
#[derive(Clone, Copy, Default)]
struct Scalars {
    /// `exp(g)`.
    decay: f32,
    beta: f32,
    /// `1 / |k|`.
    key: f32,
    /// `1 / |q| / sqrt(dk)`.
    query: f32,
    /// The product of the normalised key and query.
    key_query: f32,
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Head { tokens, state, reader } = self;
        let width = reader.shape.value_dim;
        let mut scalars = [Scalars::default(); BLOCK];
        for start in (0..tokens).step_by(BLOCK) {
            let scalars = &mut scalars[..BLOCK.min(tokens - start)];
            for (index, scalars) in scalars.iter_mut().enumerate() {
                *scalars = reader.scalars::<V>(start + index);
            }
            let mut column = 0;
            while V::REGISTERS >= 32 && column + 4 * V::LANES <= width {
                reader.wide_columns::<V, 4>(start, scalars, Slice { values: state, width, column });
                column += 4 * V::LANES;
            }
            while column + 2 * V::LANES <= width {
                reader.wide_columns::<V, 2>(start, scalars, Slice { values: state, width, column });
                column += 2 * V::LANES;
            }
            while column + V::LANES <= width {
                reader.columns::<V, 1>(start, scalars, column, Slice { values: state, width, column });
                column += V::LANES;
            }
            while column < width {
                reader.columns::<f32, 1>(start, scalars, column, Slice { values: state, width, column });
                column += 1;
            }
        }
    }
}

impl Kernel for VerifiedHead<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { tokens, state, reader } = self;
        assert!(tokens <= BLOCK, "a verification is shorter than a block of {BLOCK} tokens");
        let (width, keys) = (reader.shape.value_dim, reader.shape.key_dim);
        let mut scalars = [Scalars::default(); BLOCK];
        let scalars = &mut scalars[..tokens];
        for (token, scalars) in scalars.iter_mut().enumerate() {
            *scalars = reader.scalars::<V>(token);
            if let Some(log) = reader.log {
                log.put_decay(token, reader.head, scalars.decay);
            }
        }
        let mut column = 0;
        while V::REGISTERS >= 32 && column + 4 * V::LANES <= width && keys * 4 * V::LANES <= DENSE_VALUES {
            reader.copied_columns::<V, 4>(scalars, state, column);
            column += 4 * V::LANES;
        }
        while column + V::LANES <= width {
            reader.copied_columns::<V, 1>(scalars, state, column);
            column += V::LANES;
        }
        while column < width {
            reader.copied_columns::<f32, 1>(scalars, state, column);
            column += 1;
        }
    }
}

impl Reader<'_> {
    /// `N` registers of columns, on a copy that is dropped.
    #[inline(always)]
    fn copied_columns<V: Vector, const N: usize>(&self, scalars: &[Scalars], state: &[f32], column: usize) {
        let columns = N * V::LANES;
        let mut dense = [0.0; DENSE_VALUES];
        let dense = &mut dense[..self.shape.key_dim * columns];
        for (dense, row) in dense.chunks_exact_mut(columns).zip(state.chunks_exact(self.shape.value_dim)) {
            dense.copy_from_slice(&row[column..column + columns]);
        }
        self.columns::<V, N>(0, scalars, column, Slice { values: dense, width: columns, column: 0 });
    }

    #[inline(always)]
    fn scalars<V: Vector>(&self, token: usize) -> Scalars {
        let k = self.shape.key(self.inputs.qkv, token, self.head);
        let q = self.shape.query(self.inputs.qkv, token, self.head);
        let key = 1.0 / (dot::<V>(k, k) + NORM_EPS).sqrt();
        let query = 1.0 / ((dot::<V>(q, q) + NORM_EPS).sqrt() * (self.shape.key_dim as f32).sqrt());
        let gate = token * self.shape.value_heads + self.head;
        Scalars {
            decay: decay(self.inputs.g[gate]),
            beta: self.inputs.beta[gate],
            key,
            query,
            key_query: dot::<V>(k, q) * key * query,
        }
    }

    /// `N` registers of columns, moved to a dense copy where enough tokens use it: the rows of a slice are a power of two
    /// apart in the state and would share half of the cache's sets or less.
    #[inline(always)]
    fn wide_columns<V: Vector, const N: usize>(&self, start: usize, scalars: &[Scalars], slice: Slice<'_>) {
        let (columns, column) = (N * V::LANES, slice.column);
        if scalars.len() < DENSE_TOKENS || self.shape.key_dim * columns > DENSE_VALUES {
            return self.columns::<V, N>(start, scalars, column, slice);
        }
        let mut dense = [0.0; DENSE_VALUES];
        let dense = &mut dense[..self.shape.key_dim * columns];
        for (dense, row) in dense.chunks_exact_mut(columns).zip(slice.values.chunks_exact(slice.width)) {
            dense.copy_from_slice(&row[column..column + columns]);
        }
        self.columns::<V, N>(start, scalars, column, Slice { values: dense, width: columns, column: 0 });
        for (dense, row) in dense.chunks_exact(columns).zip(slice.values.chunks_exact_mut(slice.width)) {
            row[column..column + columns].copy_from_slice(dense);
        }
    }

    /// `N` registers of columns, the first of which is `column` of the values and outputs, for the tokens of `scalars`.
    #[inline(always)]
    fn columns<V: Vector, const N: usize>(
        &self,
        start: usize,
        scalars: &[Scalars],
        column: usize,
        slice: Slice<'_>,
    ) {
        let own = slice.column..slice.column + N * V::LANES;
        let (shape, qkv) = (self.shape, self.inputs.qkv);
        let columns = column..column + N * V::LANES;
        let last = scalars.len() - 1;
        let mut known = [V::splat(0.0); N];
        let mut read = [V::splat(0.0); N];
        let mut k = shape.key(qkv, start, self.head);
        let first_q = shape.query(qkv, start, self.head);
        for ((row, &k), &q) in slice.values.chunks_exact(slice.width).zip(k).zip(first_q) {
            let row = V::chunks(&row[own.clone()]).0;
            for n in 0..N {
                let s = V::load(&row[n]);
                known[n] = s.mul_add(V::splat(k), known[n]);
                read[n] = s.mul_add(V::splat(q), read[n]);
            }
        }
        for (index, scalars) in scalars.iter().enumerate() {
            let token = start + index;
            let v = V::chunks(&shape.value(qkv, token, self.head)[columns.clone()]).0;
            let first = (token * shape.value_heads + self.head) * shape.value_dim;
            // SAFETY: only this head's thread writes this head's outputs, and the view ends with the iteration.
            let out = unsafe { self.out.slice(first + columns.start..first + columns.end) };
            let out = V::chunks_mut(out).0;
            let mut delta = [V::splat(0.0); N];
            for n in 0..N {
                let surprise = known[n].mul_add(V::splat(-scalars.decay * scalars.key), V::load(&v[n]));
                let d = surprise.mul(V::splat(scalars.beta));
                read[n]
                    .mul(V::splat(scalars.decay * scalars.query))
                    .add(d.mul(V::splat(scalars.key_query)))
                    .store(&mut out[n]);
                delta[n] = d.mul(V::splat(scalars.key));
            }
            if let Some(log) = self.log {
                // SAFETY: only this head's thread writes this head's columns, and the view ends with the statement.
                let logged = unsafe { log.deltas(token, self.head, columns.clone()) };
                for (delta, logged) in delta.iter().zip(V::chunks_mut(logged).0) {
                    delta.store(logged);
                }
            }
            let decay = V::splat(scalars.decay);
            let rows = slice.values.chunks_exact_mut(slice.width);
            if index == last {
                for (row, &k) in rows.zip(k) {
                    let row = V::chunks_mut(&mut row[own.clone()]).0;
                    for n in 0..N {
                        V::splat(k).mul_add(delta[n], V::load(&row[n]).mul(decay)).flush().store(&mut row[n]);
                    }
                }
                return;
            }
            let next_k = shape.key(qkv, token + 1, self.head);
            let next_q = shape.query(qkv, token + 1, self.head);
            known = [V::splat(0.0); N];
            read = [V::splat(0.0); N];
            for (((row, &k), &next_k), &next_q) in rows.zip(k).zip(next_k).zip(next_q) {
                let row = V::chunks_mut(&mut row[own.clone()]).0;
                for n in 0..N {
                    let s = V::splat(k).mul_add(delta[n], V::load(&row[n]).mul(decay)).flush();
                    s.store(&mut row[n]);
                    known[n] = s.mul_add(V::splat(next_k), known[n]);
                    read[n] = s.mul_add(V::splat(next_q), read[n]);
                }
            }
            k = next_k;
        }
    }
}

/// `exp(g)`, 0 below 2^-62, so that it makes no subnormal number of a state that was flushed.
#[inline(always)]
pub(super) fn decay(g: f32) -> f32 {
    const SMALLEST: f32 = 1.0 / (1u64 << 62) as f32;
    let decay = g.exp();
    if decay < SMALLEST { 0.0 } else { decay }
}

/// `a . b`, in one order for a given instruction set.
#[inline(always)]
pub(super) fn dot<V: Vector>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (V::chunks(a), V::chunks(b));
    let mut sum = V::splat(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = V::load(a).mul_add(V::load(b), sum);
    }
    let mut sum = sum.sum();
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum += a * b;
    }
    sum
}
