//! Both forms in f64, one value head at a time, as the contract writes them.

use super::shape::NORM_EPS;
use super::{Inputs, Shape};

/// `x / sqrt(sum(x^2) + eps)`.
fn normalised(x: &[f32]) -> Vec<f64> {
    let sum: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
    x.iter().map(|&x| f64::from(x) / (sum + f64::from(NORM_EPS)).sqrt()).collect()
}

/// Query, key, value of one token and head, normalised and scaled.
fn vectors(shape: &Shape, qkv: &[f32], token: usize, head: usize) -> [Vec<f64>; 3] {
    let scale = 1.0 / (shape.key_dim as f64).sqrt();
    let q = normalised(shape.query(qkv, token, head)).iter().map(|q| q * scale).collect();
    let k = normalised(shape.key(qkv, token, head));
    let v = shape.value(qkv, token, head).iter().map(|&v| f64::from(v)).collect();
    [q, k, v]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `S^T x` for `S` of `[dk, dv]`.
fn transposed_product(state: &[f64], x: &[f64], dv: usize) -> Vec<f64> {
    (0..dv).map(|j| x.iter().enumerate().map(|(i, x)| x * state[i * dv + j]).sum()).collect()
}

/// `S += k d^T`.
fn add_outer_product(state: &mut [f64], k: &[f64], d: &[f64]) {
    for (row, k) in state.chunks_exact_mut(d.len()).zip(k) {
        for (s, d) in row.iter_mut().zip(d) {
            *s += k * d;
        }
    }
}

/// Token by token. Returns the outputs `[T, value_heads, dv]`; `state` is `[value_heads, dk, dv]`.
pub fn recurrent(shape: &Shape, inputs: Inputs<'_>, state: &mut [f64]) -> Vec<f64> {
    let (heads, dv) = (shape.value_heads, shape.value_dim);
    let mut out = Vec::new();
    for token in 0..inputs.g.len() / heads {
        for (head, state) in state.chunks_exact_mut(shape.head_state()).enumerate() {
            let [q, k, v] = vectors(shape, inputs.qkv, token, head);
            let decay = f64::from(inputs.g[token * heads + head]).exp();
            let beta = f64::from(inputs.beta[token * heads + head]);
            state.iter_mut().for_each(|s| *s *= decay);
            let known = transposed_product(state, &k, dv);
            let d: Vec<f64> = v.iter().zip(known).map(|(v, known)| beta * (v - known)).collect();
            add_outer_product(state, &k, &d);
            out.extend(transposed_product(state, &q, dv));
        }
    }
    out
}

/// `chunk` tokens at a time, the last chunk as long as it happens to be. Arguments and result as in [`recurrent`].
pub fn chunked(shape: &Shape, chunk: usize, inputs: Inputs<'_>, state: &mut [f64]) -> Vec<f64> {
    let (heads, dv) = (shape.value_heads, shape.value_dim);
    let tokens = inputs.g.len() / heads;
    let mut out = vec![0.0; tokens * heads * dv];
    for start in (0..tokens).step_by(chunk) {
        let length = chunk.min(tokens - start);
        for (head, state) in state.chunks_exact_mut(shape.head_state()).enumerate() {
            let of = |i: usize| (start + i) * heads + head;
            let rows: Vec<_> = (0..length).map(|i| vectors(shape, inputs.qkv, start + i, head)).collect();
            let mut total = 0.0;
            let decay: Vec<f64> = (0..length)
                .map(|i| {
                    total += f64::from(inputs.g[of(i)]);
                    total
                })
                .collect();
            let mut deltas: Vec<Vec<f64>> = Vec::new();
            for (i, [q, k, v]) in rows.iter().enumerate() {
                let beta = f64::from(inputs.beta[of(i)]);
                let known = transposed_product(state, k, dv);
                let mut d: Vec<f64> = (0..dv).map(|j| beta * (v[j] - decay[i].exp() * known[j])).collect();
                for (earlier, delta) in deltas.iter().enumerate() {
                    let a = beta * dot(k, &rows[earlier][1]) * (decay[i] - decay[earlier]).exp();
                    d.iter_mut().zip(delta).for_each(|(d, delta)| *d -= a * delta);
                }
                deltas.push(d);
                let mut o: Vec<f64> =
                    transposed_product(state, q, dv).iter().map(|o| decay[i].exp() * o).collect();
                for (earlier, delta) in deltas.iter().enumerate() {
                    let m = dot(q, &rows[earlier][1]) * (decay[i] - decay[earlier]).exp();
                    o.iter_mut().zip(delta).for_each(|(o, delta)| *o += m * delta);
                }
                out[of(i) * dv..][..dv].copy_from_slice(&o);
            }
            state.iter_mut().for_each(|s| *s *= total.exp());
            for (i, delta) in deltas.iter().enumerate() {
                let k: Vec<f64> = rows[i][1].iter().map(|k| k * (total - decay[i]).exp()).collect();
                add_outer_product(state, &k, delta);
            }
        }
    }
    out
}
