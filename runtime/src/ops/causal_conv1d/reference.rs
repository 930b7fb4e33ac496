//! The convolution of a whole sequence in f64.

use crate::ops::activation::reference::silu;

/// `silu(c)` for `inputs`, `[T, channels]`, with `history`, `[K - 1, channels]`, before them.
pub fn forward(channels: usize, taps: &[f32], inputs: &[f32], history: &[f32]) -> Vec<f64> {
    let kernel = taps.len() / channels;
    let all = [history, inputs].concat();
    let mut out = Vec::new();
    for t in 0..inputs.len() / channels {
        for channel in 0..channels {
            let mut sum = 0.0;
            for j in 0..kernel {
                sum += f64::from(taps[j * channels + channel]) * f64::from(all[(t + j) * channels + channel]);
            }
            out.push(silu(sum));
        }
    }
    out
}
