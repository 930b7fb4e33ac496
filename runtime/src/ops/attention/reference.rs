//! Attention over contiguous keys and values in f64, one query at a time.

/// The output of one query head: `q` of `[head_dim]`, `keys` and `values` of `[context, head_dim]`.
pub fn attend(q: &[f32], keys: &[f32], values: &[f32]) -> Vec<f64> {
    let width = q.len();
    let scale = 1.0 / (width as f64).sqrt();
    let scores: Vec<f64> = keys
        .chunks_exact(width)
        .map(|k| scale * q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>())
        .collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; width];
    for (weight, v) in weights.iter().zip(values.chunks_exact(width)) {
        for (out, &v) in out.iter_mut().zip(v) {
            *out += weight / total * f64::from(v);
        }
    }
    out
}
