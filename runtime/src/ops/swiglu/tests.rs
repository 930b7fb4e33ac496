use super::{forward, reference};
use crate::ops::testing::{Guarded, Numbers, every_cpu};

#[test]
fn agrees_with_the_reference_at_every_length() {
    let mut numbers = Numbers::new(1);
    for length in [0, 1, 15, 16, 63, 100, 9216, 3 * 9728 + 5] {
        let gate = numbers.take(length, 20.0);
        let up = numbers.take(length, 3.0);
        let expected = reference::forward(&gate, &up);
        for cpu in every_cpu() {
            let mut actual = Guarded::of(&gate);
            forward(&cpu, actual.slice(), &up);
            for (a, e) in actual.take().into_iter().zip(&expected) {
                // 4 ulp of silu and one rounding, relative to each value.
                assert!(
                    (f64::from(a) - e).abs() <= 5.0 * e.abs() * f64::from(f32::EPSILON),
                    "{a}, expected {e}"
                );
            }
        }
    }
}
