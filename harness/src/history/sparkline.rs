//! A series as wide as a few words.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `most` of `values`, the lowest of them as the lowest block. Values that are all the same are all low.
pub fn sparkline(values: &[f64], most: usize) -> String {
    let shown = &values[values.len().saturating_sub(most)..];
    let low = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let high = shown.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let block = |value: &f64| {
        let part = if high > low { (value - low) / (high - low) } else { 0.0 };
        BLOCKS[((part * 8.0) as usize).min(7)]
    };
    shown.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_from_the_lowest_to_the_highest() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 4.0], 40), "▁▃▅█");
        assert_eq!(sparkline(&[9.0, 5.0, 5.0], 2), "▁▁");
        assert_eq!(sparkline(&[], 40), "");
    }
}
