//! Cells side by side: resident memory at its peak, stacked by class, against each cell's budget.

use ledger::Bytes;

use super::draw::{Anchor, Drawing, shortened};
use super::palette::Kind;
use super::scale::Scale;
use crate::number::mib;

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// The cell's model.
    pub model: String,
    /// The cell's axes.
    pub axes: String,
    /// The verdict's word.
    pub word: String,
    /// Parts, in the order of [`Kind::all`].
    pub parts: Vec<(Kind, Bytes)>,
    /// The exact peak, where it was measured.
    pub peak: Option<Bytes>,
    /// Why nothing is stacked, where nothing is.
    pub silent: Option<String>,
    /// The limit on the total.
    pub limit: Option<Bytes>,
}

const WIDTH: f64 = 1160.0;
const LEFT: f64 = 200.0;
const RIGHT: f64 = 164.0;
const TOP: f64 = 26.0;
const ROW: f64 = 44.0;

/// The chart, saying `finding`.
pub fn class_bars(bars: &[Bar], finding: &str) -> String {
    let height = TOP + bars.len() as f64 * ROW + 8.0;
    let mut drawing = Drawing::new("chart", WIDTH, height, finding);
    let highest = bars
        .iter()
        .flat_map(|bar| [bar.peak, bar.limit, Some(bar.parts.iter().map(|(_, bytes)| *bytes).sum())])
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
    for (index, bar) in bars.iter().enumerate() {
        one_bar(&mut drawing, bar, &scale, TOP + index as f64 * ROW);
    }
    drawing.finish()
}

fn one_bar(drawing: &mut Drawing, bar: &Bar, scale: &Scale, top: f64) {
    drawing.text(0.0, top + 18.0, Anchor::Start, "name", &shortened(&bar.model, 24));
    drawing.text(0.0, top + 33.0, Anchor::Start, "note", &shortened(&bar.axes, 30));
    let mut reached = Bytes::ZERO;
    for (kind, bytes) in &bar.parts {
        let from = scale.at(reached.as_mib());
        reached += *bytes;
        drawing.rect(LEFT + from, top + 8.0, scale.at(reached.as_mib()) - from, 26.0, &kind.fill());
    }
    if let Some(why) = &bar.silent {
        drawing.text(LEFT + 8.0, top + 25.0, Anchor::Start, "note", &shortened(why, 110));
    }
    if let Some(limit) = bar.limit {
        let x = LEFT + scale.at(limit.as_mib());
        let is_over = bar.peak.is_some_and(|peak| peak > limit);
        if is_over {
            drawing.line((x, top + 3.0), (x, top + 39.0), "halo");
        }
        let look = if is_over { "limit over" } else { "limit" };
        drawing.line((x, top + 3.0), (x, top + 39.0), look);
    }
    let peak = bar.peak.map_or_else(|| "n/a".to_owned(), mib);
    let limit = bar.limit.map_or_else(|| "no budget".to_owned(), mib);
    drawing.text(WIDTH, top + 18.0, Anchor::End, "value", &format!("{peak} / {limit}"));
    drawing.text(WIDTH, top + 33.0, Anchor::End, "note", &bar.word);
}
