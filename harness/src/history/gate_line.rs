//! How large a step from one run to the next has to be to be more than this series' usual ones: the rule of rustc-perf.

use serde::Serialize;

use super::Noise;
use crate::verdict::statistics::quantile;

/// Points from which on a series speaks for itself.
const POINTS: usize = 20;

/// The latest steps that count.
const STEPS: usize = 30;

/// A step that is larger is more than usual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GateLine {
    /// As a part of the value before: 0.01 is 1 %.
    pub relative_step: f64,
    /// True where it follows from the series, false where it is the metric's default, for want of points.
    pub from_history: bool,
}

/// The line for `values`: the third quartile and three interquartile ranges of the relative steps.
pub fn gate_line(values: &[f64], noise: Noise) -> GateLine {
    let default = GateLine { relative_step: noise.least_step(), from_history: false };
    if values.len() < POINTS {
        return default;
    }
    // From nothing to something is no part of anything.
    let steps =
        values.windows(2).filter(|pair| pair[0] != 0.0).map(|pair| ((pair[1] - pair[0]) / pair[0]).abs());
    let mut steps: Vec<f64> = steps.collect();
    let mut latest = steps.split_off(steps.len().saturating_sub(STEPS));
    latest.sort_unstable_by(f64::total_cmp);
    match (quantile(&latest, 0.25), quantile(&latest, 0.75)) {
        (Some(first), Some(third)) => {
            GateLine { relative_step: third + 3.0 * (third - first), from_history: true }
        }
        _ => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_follows_from_the_usual_steps() {
        let few: Vec<f64> = (0..19).map(f64::from).collect();
        assert_eq!(gate_line(&few, Noise::Memory), GateLine { relative_step: 0.01, from_history: false });
        assert_eq!(gate_line(&few, Noise::Time).relative_step, 0.03);
        // Every step up is 2 %, every step down 2/102.
        let waves: Vec<f64> = (0..31).map(|at| if at % 2 == 0 { 100.0 } else { 102.0 }).collect();
        let line = gate_line(&waves, Noise::Time);
        let (up, down) = (0.02, 2.0 / 102.0);
        assert!(line.from_history);
        assert!((line.relative_step - (up + 3.0 * (up - down))).abs() < 1e-12, "{line:?}");
    }

    #[test]
    fn constants_have_a_line_at_nothing() {
        assert_eq!(gate_line(&[5.0; 40], Noise::Memory), GateLine { relative_step: 0.0, from_history: true });
        let zeros = gate_line(&[0.0; 40], Noise::Memory);
        assert_eq!(zeros, GateLine { relative_step: 0.01, from_history: false }, "no part of nothing");
    }
}
