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

#[cfg(test)]
mod tests {
    use super::argmax;

    #[test]
    fn the_first_of_the_largest() {
        assert_eq!(argmax(&[1.0, 3.0, f32::NAN, 3.0, -7.0]), 1);
        assert_eq!(argmax(&[]), 0);
    }
}
