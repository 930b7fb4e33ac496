//! The chunked form as small matrix products, one value head a thread at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::recurrent::dot;
use super::shape::NORM_EPS;
use super::{Inputs, Shape};
use crate::backend::cpu::{Cpu, Kernel, SharedMut, Vector};

/// Runs the tokens of `inputs` `chunk` at a time, the last chunk as long as it happens to be.
///
/// # Panics
/// If a slice does not have the shape of the contract, `chunk` is 0, or `workspace` holds fewer bytes than
/// [`Shape::chunked_workspace`] for `chunk` and the pool's threads.
pub fn chunked(
    cpu: &Cpu,
    shape: &Shape,
    chunk: usize,
    inputs: Inputs<'_>,
    state: &mut [f32],
    out: &mut [f32],
    workspace: &mut [f32],
) {
    let tokens = shape.check(inputs, state, out);
    assert!(chunk > 0, "a chunk has at least one token");
    let own = shape.chunk_values(chunk);
    assert!(workspace.len() >= cpu.pool.threads() * own, "workspace needs {own} values a thread");
    let (out, state, workspace) = (SharedMut::new(out), SharedMut::new(state), SharedMut::new(workspace));
    let next = AtomicUsize::new(0);
    cpu.pool.drain(&|worker| {
        loop {
            let head = next.fetch_add(1, Ordering::Relaxed);
            if head >= shape.value_heads {
                break;
            }
            // SAFETY: each head is taken once.
            let state = unsafe { state.slice(head * shape.head_state()..(head + 1) * shape.head_state()) };
            // SAFETY: no two workers have one number, and the view ends with the iteration.
            let workspace = unsafe { workspace.slice(worker * own..(worker + 1) * own) };
            cpu.isa.dispatch(Head { shape, inputs, tokens, chunk, head, state, out: &out, workspace });
        }
    });
}

struct Head<'a> {
    shape: &'a Shape,
    inputs: Inputs<'a>,
    tokens: usize,
    chunk: usize,
    head: usize,
    state: &'a mut [f32],
    out: &'a SharedMut<'a, f32>,
    workspace: &'a mut [f32],
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        for start in (0..self.tokens).step_by(self.chunk) {
            self.chunk::<V>(start, self.chunk.min(self.tokens - start));
        }
    }
}

impl Head<'_> {
    #[inline(always)]
    fn chunk<V: Vector>(&mut self, start: usize, length: usize) {
        let Shape { value_heads, key_dim: dk, value_dim: dv, .. } = *self.shape;
        let (k, rest) = self.workspace.split_at_mut(length * dk);
        let (q, rest) = rest.split_at_mut(length * dk);
        let (d, rest) = rest.split_at_mut(length * dv);
        let (a, rest) = rest.split_at_mut(length * length);
        let (m, rest) = rest.split_at_mut(length * length);
        let decay = &mut rest[..length];
        let gate = |i: usize| (start + i) * value_heads + self.head;

        let mut total = 0.0;
        for i in 0..length {
            total += self.inputs.g[gate(i)];
            decay[i] = total;
            let key = self.shape.key(self.inputs.qkv, start + i, self.head);
            let query = self.shape.query(self.inputs.qkv, start + i, self.head);
            scaled(key, 1.0 / (dot::<V>(key, key) + NORM_EPS).sqrt(), &mut k[i * dk..][..dk]);
            let norm = (dot::<V>(query, query) + NORM_EPS).sqrt() * (dk as f32).sqrt();
            scaled(query, 1.0 / norm, &mut q[i * dk..][..dk]);
        }
        for i in 0..length {
            let (key, query) = (&k[i * dk..][..dk], &q[i * dk..][..dk]);
            let beta = self.inputs.beta[gate(i)];
            // Summed anew for each row: the difference of two long sums would have lost the digits of a short one.
            let mut between = 0.0;
            for j in (0..=i).rev() {
                let other = &k[j * dk..][..dk];
                let factor = f32::exp(between);
                a[i * length + j] = -beta * dot::<V>(key, other) * factor;
                m[i * length + j] = dot::<V>(query, other) * factor;
                between += self.inputs.g[gate(j)];
            }
        }

        // D = diag(beta) (V - diag(exp(G)) K S), and then the rows before each row.
        d.fill(0.0);
        product::<V>(d, dv, length, dk, |i, p| k[i * dk + p], self.state);
        for i in 0..length {
            let (beta, decay) = (self.inputs.beta[gate(i)], decay[i].exp());
            let v = self.shape.value(self.inputs.qkv, start + i, self.head);
            let (before, row) = d.split_at_mut(i * dv);
            for (d, v) in row[..dv].iter_mut().zip(v) {
                *d = beta * (v - decay * *d);
            }
            product::<V>(&mut row[..dv], dv, 1, i, |_, p| a[i * length + p], before);
        }

        // O = diag(exp(G)) Q S + M D, a few rows at a time because the rows of a head are not contiguous in `out`.
        for i in 0..length {
            let first = gate(i) * dv;
            // SAFETY: only this head's worker writes this head's outputs, and the view ends with the iteration.
            let out = unsafe { self.out.slice(first..first + dv) };
            let decay = decay[i].exp();
            out.fill(0.0);
            product::<V>(out, dv, 1, dk, |_, p| decay * q[i * dk + p], self.state);
            product::<V>(out, dv, 1, i + 1, |_, p| m[i * length + p], d);
        }

        let mut left = 0.0;
        for i in (0..length).rev() {
            let factor = f32::exp(left);
            k[i * dk..][..dk].iter_mut().for_each(|k| *k *= factor);
            left += self.inputs.g[gate(i)];
        }
        let left = total.exp();
        self.state.iter_mut().for_each(|s| *s *= left);
        product::<V>(self.state, dv, dk, length, |i, p| k[p * dk + i], d);
    }
}

#[inline(always)]
fn scaled(x: &[f32], factor: f32, out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = x * factor;
    }
}

/// `C += A B` with `C` of `[rows, width]`, `A` of `[rows, inner]` given by its elements, `B` of `[inner, width]`.
#[inline(always)]
fn product<V: Vector>(
    c: &mut [f32],
    width: usize,
    rows: usize,
    inner: usize,
    a: impl Fn(usize, usize) -> f32,
    b: &[f32],
) {
    let mut row = 0;
    while row + 4 <= rows {
        columns::<V, 4>(&mut c[row * width..], width, inner, |i, p| a(row + i, p), b);
        row += 4;
    }
    while row < rows {
        columns::<V, 1>(&mut c[row * width..], width, inner, |i, p| a(row + i, p), b);
        row += 1;
    }
}

#[inline(always)]
fn columns<V: Vector, const ROWS: usize>(
    c: &mut [f32],
    width: usize,
    inner: usize,
    a: impl Fn(usize, usize) -> f32,
    b: &[f32],
) {
    let mut column = 0;
    while column + 4 * V::LANES <= width {
        tile::<V, ROWS, 4>(c, width, column, inner, &a, b);
        column += 4 * V::LANES;
    }
    while column + V::LANES <= width {
        tile::<V, ROWS, 1>(c, width, column, inner, &a, b);
        column += V::LANES;
    }
    while column < width {
        tile::<f32, ROWS, 1>(c, width, column, inner, &a, b);
        column += 1;
    }
}

/// `ROWS` rows by `N` registers of the product.
#[inline(always)]
fn tile<V: Vector, const ROWS: usize, const N: usize>(
    c: &mut [f32],
    width: usize,
    column: usize,
    inner: usize,
    a: &impl Fn(usize, usize) -> f32,
    b: &[f32],
) {
    let columns = column..column + N * V::LANES;
    let mut sums = [[V::splat(0.0); N]; ROWS];
    for (row, sums) in c.chunks_exact(width).zip(&mut sums) {
        for (sum, c) in sums.iter_mut().zip(V::chunks(&row[columns.clone()]).0) {
            *sum = V::load(c);
        }
    }
    for (p, row) in b.chunks_exact(width).take(inner).enumerate() {
        let row = V::chunks(&row[columns.clone()]).0;
        for (i, sums) in sums.iter_mut().enumerate() {
            let a = V::splat(a(i, p));
            for (sum, b) in sums.iter_mut().zip(row) {
                *sum = a.mul_add(V::load(b), *sum);
            }
        }
    }
    for (row, sums) in c.chunks_exact_mut(width).zip(&sums) {
        for (sum, c) in sums.iter().zip(V::chunks_mut(&mut row[columns.clone()]).0) {
            sum.store(c);
        }
    }
}
