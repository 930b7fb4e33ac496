//! A series drawn in fewer columns than it has samples, without losing a spike: each column keeps its lowest and its
//! highest value, in the order in which they came. [`kept`] says which samples to keep where a line is drawn through them:
//! the first, the lowest, the highest and the last of each column (M4, Jugel et al., VLDB 2014).

use ledger::Micros;

/// What one column of a chart has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Which column, from 0.
    pub column: usize,
    /// The extreme that came first.
    pub first: u64,
    /// The extreme that came last; the same where there is only one value.
    pub last: u64,
}

/// Puts `points` (time and value, in the order of time) from `start` to `end` into `columns` columns. Columns without
/// a point are left out.
pub fn columns(
    points: impl Iterator<Item = (Micros, u64)>,
    start: Micros,
    end: Micros,
    columns: usize,
) -> Vec<Column> {
    let span = u128::from(end.0.saturating_sub(start.0).max(1));
    let mut drawn: Vec<Column> = Vec::new();
    for (time, value) in points.filter(|(time, _)| (start..=end).contains(time)) {
        let place = u128::from(time.0 - start.0) * columns as u128 / span;
        let column = (place as usize).min(columns.saturating_sub(1));
        match drawn.last_mut().filter(|last| last.column == column) {
            Some(open) => open.take(value),
            None => drawn.push(Column { column, first: value, last: value }),
        }
    }
    drawn
}

/// Places in `points` of the first, the lowest, the highest and the last of each of `columns` columns of time, each once,
/// in the order of time.
pub fn kept(points: &[(Micros, u64)], columns: usize) -> Vec<usize> {
    let (Some((start, _)), Some((end, _))) = (points.first(), points.last()) else { return Vec::new() };
    let span = u128::from(end.0.saturating_sub(start.0).max(1));
    let column = |at: Micros| u128::from(at.0.saturating_sub(start.0)) * columns.max(1) as u128 / span;
    let mut places = Vec::new();
    let mut from = 0;
    while from < points.len() {
        let here = column(points[from].0);
        let to = from + points[from..].partition_point(|(at, _)| column(*at) == here);
        let of_column = from..to;
        let low = of_column.clone().min_by_key(|place| points[*place].1);
        let high = of_column.rev().max_by_key(|place| points[*place].1);
        places.extend([Some(from), low, high, Some(to - 1)].into_iter().flatten());
        from = to;
    }
    places.sort_unstable();
    places.dedup();
    places
}

impl Column {
    /// Widens the column to hold `value`, the latest one.
    fn take(&mut self, value: u64) {
        let (low, high) = (self.first.min(self.last), self.first.max(self.last));
        if value > high {
            (self.first, self.last) = (low, value);
        } else if value < low {
            (self.first, self.last) = (high, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(values: &[u64]) -> impl Iterator<Item = (Micros, u64)> {
        values.iter().enumerate().map(|(index, value)| (Micros(index as u64 * 10_000), *value))
    }

    #[test]
    fn a_single_sample_survives() {
        let mut values = vec![100; 12_000];
        values[7_777] = 900;
        let drawn = columns(series(&values), Micros(0), Micros(120_000_000), 500);
        let spike: Vec<&Column> =
            drawn.iter().filter(|column| column.first.max(column.last) == 900).collect();
        assert_eq!(spike, [&Column { column: 324, first: 100, last: 900 }]);
        assert_eq!(drawn.len(), 500);
    }

    #[test]
    fn a_single_sample_is_kept() {
        let mut values = vec![100; 12_000];
        values[7_777] = 900;
        let points: Vec<(Micros, u64)> = series(&values).collect();
        let kept = kept(&points, 500);
        assert!(kept.contains(&7_777) && kept.contains(&0) && kept.contains(&11_999));
        assert!(kept.len() <= 4 * 501, "{}", kept.len());
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(kept(&[], 10), [0; 0]);
        assert_eq!(kept(&[(Micros(3), 5)], 0), [0]);
        assert_eq!(columns(series(&[]), Micros(0), Micros(0), 10), []);
        assert_eq!(columns(series(&[5]), Micros(0), Micros(0), 0).len(), 1);
    }

    proptest! {
        #[test]
        fn highest_and_lowest_are_kept(values in prop::collection::vec(0_u64..1 << 48, 1..400), wide in 1_usize..200) {
            let end = Micros((values.len() as u64 - 1) * 10_000);
            let drawn = columns(series(&values), Micros(0), end, wide);
            let ends = || drawn.iter().flat_map(|column| [column.first, column.last]);
            prop_assert_eq!(ends().max(), values.iter().copied().max());
            prop_assert_eq!(ends().min(), values.iter().copied().min());
            prop_assert!(drawn.windows(2).all(|pair| pair[0].column < pair[1].column));
            prop_assert!(drawn.iter().all(|column| column.column < wide));
            let points: Vec<(Micros, u64)> = series(&values).collect();
            let kept = kept(&points, wide);
            prop_assert_eq!(kept.iter().map(|place| values[*place]).max(), values.iter().copied().max());
            prop_assert_eq!(kept.iter().map(|place| values[*place]).min(), values.iter().copied().min());
            prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
