//! Axes: values to places, with round ticks.

/// A linear axis from zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// The value at the far end.
    pub end: f64,
    /// Values at which a tick stands, zero included.
    pub ticks: Vec<f64>,
    length: f64,
}

impl Scale {
    /// An axis of `length` units for values up to `highest`, with about `wanted` ticks. The far end is `highest` itself;
    /// the ticks stop before it.
    pub fn new(highest: f64, length: f64, wanted: usize) -> Scale {
        let end = if highest.is_finite() && highest > 0.0 { highest } else { 1.0 };
        let step = round_step(end / wanted.max(1) as f64);
        let count = (end / step * (1.0 + 1e-9)).floor() as u32;
        Scale { end, ticks: (0..=count).map(|index| f64::from(index) * step).collect(), length }
    }

    /// Where `value` is, from 0 to the axis' length.
    pub fn at(&self, value: f64) -> f64 {
        (value / self.end).clamp(0.0, 1.0) * self.length
    }
}

/// Round values from `low` to `high`, about `wanted` of them, and none nearer to the next than `least`.
pub fn round_ticks(low: f64, high: f64, wanted: usize, least: f64) -> Vec<f64> {
    let step = round_step(((high - low) / wanted.max(1) as f64).max(least));
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    let count = if last >= first { (last - first) as u32 + 1 } else { 0 };
    (0..count).map(|index| (first + f64::from(index)) * step).collect()
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(Scale::new(3_100.0, 100.0, 6).ticks, [0.0, 1000.0, 2000.0, 3000.0]);
        assert_eq!(Scale::new(2_900.0, 100.0, 6).ticks, [0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0]);
        assert_eq!(Scale::new(0.0, 100.0, 4).ticks, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(Scale::new(f64::NAN, 100.0, 4).end, 1.0);
    }

    #[test]
    fn round_values_lie_between_two_that_are_not() {
        assert_eq!(round_ticks(2_697.4, 2_767.2, 3, 0.1), [2_700.0, 2_725.0, 2_750.0]);
        assert_eq!(round_ticks(0.0, 67.6, 3, 0.1), [0.0, 25.0, 50.0]);
        assert_eq!(round_ticks(8.57, 8.64, 3, 0.1).len(), 1, "two that read alike say nothing");
        assert_eq!(round_ticks(8.61, 8.64, 3, 0.1), [0.0; 0]);
    }

    #[test]
    fn places_stay_on_the_axis() {
        let scale = Scale::new(50.0, 200.0, 5);
        assert_eq!(
            [0.0, 25.0, 50.0, 75.0, -5.0].map(|value| scale.at(value)),
            [0.0, 100.0, 200.0, 200.0, 0.0]
        );
    }
}
