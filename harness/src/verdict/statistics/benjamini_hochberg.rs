//! Many tests at once: p-values adjusted so that, of what is called a finding at 5 %, at most 5 % are none (Benjamini and
//! Hochberg 1995).

/// Each of `p_values`, adjusted, in their order.
pub fn adjusted(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_unstable_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let count = p_values.len() as f64;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0_f64;
    for (at, index) in order.iter().enumerate().rev() {
        least = least.min(p_values[*index] * count / (at + 1) as f64);
        adjusted[*index] = least;
    }
    adjusted
}
