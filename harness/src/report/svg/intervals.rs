//! How evenly the sampler ticked.

use ledger::Micros;

use super::draw::{Anchor, Drawing};
use super::scale::Scale;
use crate::number::{count, grouped};

const WIDTH: f64 = 420.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 64.0;
const ROW: f64 = 18.0;

/// A bound from which on a bucket takes whatever is left.
const LONGEST_SHOWN_US: u64 = 100_000_000;

/// Achieved intervals: the upper bound of each bucket, and how many fell into it.
pub fn intervals(histogram: &[(Micros, u64)], finding: &str) -> String {
    let mut drawing = Drawing::new("chart small", WIDTH, histogram.len() as f64 * ROW + 4.0, finding);
    let most = histogram.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let scale = Scale::new(most as f64, WIDTH - LEFT - RIGHT, 4);
    for (index, (bound, ticks)) in histogram.iter().enumerate() {
        let top = index as f64 * ROW + 2.0;
        let bound = match bound_words(*bound) {
            words if bound.0 >= LONGEST_SHOWN_US => words,
            words => format!("≤ {words} ms"),
        };
        drawing.text(LEFT - 8.0, top + 13.0, Anchor::End, "tick", &bound);
        if *ticks > 0 {
            drawing.rect(LEFT, top + 3.0, scale.at(*ticks as f64).max(1.5), ROW - 6.0, "class=\"total\"");
        }
        drawing.text(WIDTH, top + 13.0, Anchor::End, "tick", &count(*ticks));
    }
    drawing.finish()
}

/// The upper bound of a bucket in milliseconds, without the unit.
pub fn bound_words(bound: Micros) -> String {
    match bound.0 >= LONGEST_SHOWN_US {
        true => "longer".to_owned(),
        false => grouped(bound.as_millis().0, usize::from(!bound.0.is_multiple_of(1000))),
    }
}
