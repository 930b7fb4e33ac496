//! Cells side by side: memory at its peak, stacked by class, against each cell's budget. A cell that runs on a device has
//! two lanes, one for each memory, or one lane with two parts where both are the same chips.

use ledger::Bytes;

use super::draw::{Anchor, Drawing, shortened};
use super::palette::Kind;
use super::scale::Scale;
use crate::number::{mib, peak_mib};

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// The cell's model.
    pub model: String,
    /// The cell's axes.
    pub axes: String,
    /// The verdict's word.
    pub word: String,
    /// One for each memory that has its own chips.
    pub lanes: Vec<Lane>,
}

/// One memory of a cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lane {
    /// Parts, in the order of [`Kind::all`].
    pub parts: Vec<(Kind, Bytes)>,
    /// Parts on a device that shares these chips.
    pub device_parts: Vec<(Kind, Bytes)>,
    /// The peak, where it was measured.
    pub peak: Option<Bytes>,
    /// True where it is a lower bound.
    pub is_lower_bound: bool,
    /// Why nothing is stacked, where nothing is.
    pub silent: Option<String>,
    /// The limit on all of it.
    pub limit: Option<Bytes>,
}

impl Lane {
    fn stacked(&self) -> Bytes {
        self.parts.iter().chain(&self.device_parts).map(|(_, bytes)| *bytes).sum()
    }
}

const WIDTH: f64 = 1160.0;
const LEFT: f64 = 200.0;
const RIGHT: f64 = 164.0;
const TOP: f64 = 26.0;
const ROW: f64 = 44.0;
/// What a row needs more for a second lane.
const SECOND: f64 = 22.0;
/// What a row needs more for the names of the two parts of one lane.
const NAMES: f64 = 14.0;
/// Between the two parts of one lane.
const GAP: f64 = 4.0;

/// Names of the lanes of a cell that runs on a card.
const MEMORIES: [&str; 2] = ["host", "device"];

/// The chart, saying `finding`.
pub fn class_bars(bars: &[Bar], finding: &str) -> String {
    let height = TOP + bars.iter().map(row).sum::<f64>() + 8.0;
    let mut drawing = Drawing::new("chart", WIDTH, height, finding);
    let highest = bars
        .iter()
        .flat_map(|bar| &bar.lanes)
        .flat_map(|lane| [lane.peak, lane.limit, Some(lane.stacked())])
        .flatten()
        .max()
        .unwrap_or_default();
    let scale = Scale::new(highest.as_mib() * 1.02, WIDTH - LEFT - RIGHT, 8);
    for tick in &scale.ticks {
        let x = LEFT + scale.at(*tick);
        drawing.line((x, TOP - 4.0), (x, height - 8.0), "grid");
        drawing.text(x, TOP - 10.0, Anchor::Middle, "tick", &crate::number::grouped(*tick, 0));
    }
    drawing.text(WIDTH, TOP - 10.0, Anchor::End, "tick", "peak / budget, MiB");
    let mut top = TOP;
    for bar in bars {
        match bar.lanes.as_slice() {
            [lane] => alone(&mut drawing, bar, lane, &scale, top),
            lanes => together(&mut drawing, bar, lanes, &scale, top),
        }
        top += row(bar);
    }
    drawing.finish()
}

/// The height of a cell's row.
fn row(bar: &Bar) -> f64 {
    match bar.lanes.as_slice() {
        [lane] if lane.device_parts.is_empty() => ROW,
        [_] => ROW + NAMES,
        _ => ROW + SECOND,
    }
}

fn alone(drawing: &mut Drawing, bar: &Bar, lane: &Lane, scale: &Scale, top: f64) {
    drawing.text(0.0, top + 18.0, Anchor::Start, "name", &shortened(&bar.model, 24));
    drawing.text(0.0, top + 33.0, Anchor::Start, "note", &shortened(&bar.axes, 30));
    stack(drawing, lane, scale, Place { y: top + 8.0, height: 26.0 });
    drawing.text(WIDTH, top + 18.0, Anchor::End, "value", &against(lane));
    drawing.text(WIDTH, top + 33.0, Anchor::End, "note", &bar.word);
}

fn together(drawing: &mut Drawing, bar: &Bar, lanes: &[Lane], scale: &Scale, top: f64) {
    drawing.text(0.0, top + 19.0, Anchor::Start, "name", &shortened(&bar.model, 19));
    drawing.text(0.0, top + 34.0, Anchor::Start, "note", &shortened(&bar.axes, 22));
    drawing.text(0.0, top + 49.0, Anchor::Start, "note", &bar.word);
    for ((index, lane), name) in lanes.iter().enumerate().zip(MEMORIES) {
        let y = top + 6.0 + index as f64 * 25.0;
        drawing.text(LEFT - 8.0, y + 14.0, Anchor::End, "note", name);
        stack(drawing, lane, scale, Place { y, height: 20.0 });
        drawing.text(WIDTH, y + 15.0, Anchor::End, "value", &against(lane));
    }
}

fn against(lane: &Lane) -> String {
    let peak = lane.peak.map_or_else(|| "n/a".to_owned(), |bytes| peak_mib(bytes, lane.is_lower_bound));
    let limit = lane.limit.map_or_else(|| "no budget".to_owned(), mib);
    format!("{peak} / {limit}")
}

/// Where a lane lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    y: f64,
    height: f64,
}

fn stack(drawing: &mut Drawing, lane: &Lane, scale: &Scale, place: Place) {
    let Place { y, height } = place;
    let mut reached = Bytes::ZERO;
    let mut draw = |drawing: &mut Drawing, parts: &[(Kind, Bytes)], inset: f64| {
        let start = LEFT + scale.at(reached.as_mib());
        for (kind, bytes) in parts {
            let from = scale.at(reached.as_mib());
            reached += *bytes;
            // Only the first part gives way to the gap, so that every other one starts where it should.
            let cut = if LEFT + from <= start { inset } else { 0.0 };
            let width = scale.at(reached.as_mib()) - from;
            drawing.rect(LEFT + from + cut, y, (width - cut).max(0.0), height, &kind.fill());
        }
        (start + inset, LEFT + scale.at(reached.as_mib()))
    };
    let host = draw(drawing, &lane.parts, 0.0);
    if !lane.device_parts.is_empty() {
        let device = draw(drawing, &lane.device_parts, GAP);
        drawing.line((host.1 + GAP / 2.0, y - 4.0), (host.1 + GAP / 2.0, y + height + 4.0), "divide");
        for ((from, to), name) in [host, device].into_iter().zip(MEMORIES) {
            drawing.line((from, y + height + 4.0), (to, y + height + 4.0), "step");
            drawing.text(from, y + height + 16.0, Anchor::Start, "note", name);
        }
    }
    if let Some(why) = &lane.silent {
        drawing.text(LEFT + 8.0, y + 17.0, Anchor::Start, "note", &shortened(why, 110));
    }
    if let Some(limit) = lane.limit {
        let x = LEFT + scale.at(limit.as_mib());
        let is_over = lane.peak.is_some_and(|peak| peak > limit);
        let (above, below) = ((x, y - 5.0), (x, y + height + 5.0));
        if is_over {
            drawing.line(above, below, "halo");
        }
        drawing.line(above, below, if is_over { "limit over" } else { "limit" });
    }
}
