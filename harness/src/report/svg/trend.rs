//! One metric over runs: medians as a line for each set of conditions, the worst trials as marks, and where it went to another
//! level.

use std::fmt::Write;

use super::draw::{Anchor, Drawing, length, shortened};
use super::scale::round_ticks;
use crate::history::Trend;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 26.0;

/// About so many values stand beside the chart, and none nearer to the next than words tell apart.
const TICKS: usize = 3;
const LEAST: f64 = 0.1;

/// So many dates fit below the chart.
const DATES: usize = 6;

/// The chart of `trends`, which are of one metric of one cell, the earliest conditions first; it says `finding`. Runs stand at even
/// distances, for what is between them was not measured.
pub fn trend(trends: &[Trend], finding: &str) -> String {
    let mut drawing = Drawing::new("chart", WIDTH, HEIGHT, finding);
    let Some(metric) = trends.first().map(|trend| trend.metric) else { return drawing.finish() };
    let points = || trends.iter().flat_map(|trend| &trend.points);
    let values = || points().flat_map(|point| [point.median, point.worst]);
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    // A flat line stands in the middle, a step of a byte does not fill the chart, and nothing is less than nothing.
    let one = metric.one();
    let middle = (low + high) / 2.0;
    let reach = ((high - low) / 2.0).max(middle.abs() * 0.01).max(LEAST * one) * 1.08;
    let top = middle + reach;
    let bottom = if low >= 0.0 { (middle - reach).max(0.0) } else { middle - reach };
    let count = points().count();
    let x = |place: usize| {
        let part = if count > 1 { place as f64 / (count - 1) as f64 } else { 0.5 };
        LEFT + 10.0 + part * (WIDTH - LEFT - RIGHT - 20.0)
    };
    let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / (top - bottom);

    for value in round_ticks(bottom / one, top / one, TICKS, LEAST).into_iter().map(|tick| tick * one) {
        drawing.line((LEFT, y(value)), (WIDTH - RIGHT, y(value)), "grid");
        drawing.text(LEFT - 8.0, y(value) + 4.0, Anchor::End, "tick", &metric.in_words(value));
    }
    for (place, point) in points().enumerate() {
        if place % count.div_ceil(DATES).max(1) == 0 {
            let day = point.started_at.get(..10).unwrap_or_default();
            drawing.text(x(place), HEIGHT - 8.0, Anchor::Middle, "tick", day);
        }
    }
    let mut begins = 0;
    for (number, trend) in trends.iter().enumerate() {
        if number > 0 {
            let between = (x(begins) + x(begins.saturating_sub(1))) / 2.0;
            drawing.line((between, TOP), (between, HEIGHT - BOTTOM), "step");
            drawing.text(between + 4.0, TOP + 10.0, Anchor::Start, "tick", "other conditions");
        }
        let mut line = String::new();
        for (place, point) in trend.points.iter().enumerate() {
            let at = x(begins + place);
            let command = if place == 0 { 'M' } else { 'L' };
            let _ = write!(line, "{command}{} {}", length(at), length(y(point.median)));
            drawing.rect(at - 2.0, y(point.worst) - 2.0, 4.0, 4.0, "class=\"worst-trial\"");
            drawing.rect(at - 2.5, y(point.median) - 2.5, 5.0, 5.0, "rx=\"2.5\" class=\"median\"");
        }
        drawing.path(&line, "medians");
        for change in &trend.change_points {
            let at = (x(begins + change.at) + x((begins + change.at).saturating_sub(1))) / 2.0;
            drawing.line((at, TOP), (at, HEIGHT - BOTTOM), "change");
            let words = format!("{} → {}", metric.in_words(change.before), metric.in_words(change.after));
            let anchor = if at > WIDTH / 2.0 { Anchor::End } else { Anchor::Start };
            drawing.text(at, TOP - 8.0, anchor, "change-name", &shortened(&words, 60));
        }
        begins += trend.points.len();
    }
    drawing.finish()
}
