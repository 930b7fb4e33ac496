//! Ranks of values, where equal ones share theirs.

/// Ranks from 1 of `values`, in their order, and Σ(t³ − t) over groups of t equal ones: 0.0 where none are equal.
pub(super) fn ranks(values: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut ties = 0.0;
    let mut start = 0;
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let size = group.len() as f64;
        for at in group {
            ranks[*at] = start as f64 + (size + 1.0) / 2.0;
        }
        ties += size * (size * size - 1.0);
        start += group.len();
    }
    (ranks, ties)
}
