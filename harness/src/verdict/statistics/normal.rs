//! The normal distribution.

/// How many standard deviations 97.5 % of a normal distribution lie below.
pub(super) const QUANTILE_975: f64 = 1.959_963_984_540_054;

/// The part of a standard normal distribution above `z`.
pub(super) fn upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}
