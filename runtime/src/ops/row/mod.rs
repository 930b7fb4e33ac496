//! What a row of scores is asked for.

/// Place of the largest value, the first of several; NaN is never it. 0 for an empty row.
pub fn argmax(row: &[f32]) -> u32 {
    let (mut best, mut largest) = (0, f32::NEG_INFINITY);
    for (place, value) in (0..).zip(row) {
        if *value > largest {
            (best, largest) = (place, *value);
        }
    }
    best
}

/// The largest value of a row of scores and its place, the first of several. `None` where a row is no choice: a value is NaN or +∞,
/// or none is above -∞.
pub fn largest(row: &[f32]) -> Option<(u32, f32)> {
    let (mut best, mut largest) = (0, f32::NEG_INFINITY);
    for (place, value) in (0..).zip(row) {
        if value.is_nan() || *value == f32::INFINITY {
            return None;
        }
        if *value > largest {
            (best, largest) = (place, *value);
        }
    }
    (largest > f32::NEG_INFINITY).then_some((best, largest))
}

#[cfg(test)]
mod tests {
    use super::{argmax, largest};

    #[test]
    fn the_first_of_the_largest() {
        assert_eq!(argmax(&[1.0, 3.0, f32::NAN, 3.0, -7.0]), 1);
        assert_eq!(argmax(&[]), 0);
        assert_eq!(largest(&[1.0, 3.0, f32::NEG_INFINITY, 3.0, -7.0]), Some((1, 3.0)));
    }

    #[test]
    fn a_row_that_is_no_choice() {
        let infinity = f32::INFINITY;
        for row in [&[][..], &[-infinity; 3], &[0.0, f32::NAN], &[f32::NAN, 0.0], &[infinity, 1.0]] {
            assert_eq!(largest(row), None, "{row:?}");
        }
    }
}
