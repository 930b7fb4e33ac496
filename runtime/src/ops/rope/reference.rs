//! The rotation of one head, angles in f32, products in f64.

/// Rotates `head[..rotary_dims]` for `position`.
pub fn rotate(head: &[f32], position: usize, rotary_dims: usize, theta: f32) -> Vec<f64> {
    let half = rotary_dims / 2;
    let mut out: Vec<f64> = head.iter().map(|&x| f64::from(x)).collect();
    for j in 0..half {
        let frequency = 1.0 / theta.powf((2 * j) as f32 / rotary_dims as f32);
        let angle = position as f32 * frequency;
        let (sin, cos) = f64::from(angle).sin_cos();
        let (a, b) = (f64::from(head[j]), f64::from(head[j + half]));
        out[j] = a * cos - b * sin;
        out[j + half] = b * cos + a * sin;
    }
    out
}
