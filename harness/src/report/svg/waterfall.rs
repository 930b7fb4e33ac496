//! How the classes of one cell add up to its peak, in each of its memories.

use ledger::Bytes;

use super::draw::{Anchor, Drawing, shortened};
use super::palette::Kind;
use super::scale::Scale;
use crate::number::{grouped, mib, peak_mib, signed_mib};

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 176.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 26.0;
const ROW: f64 = 22.0;
/// Above a heading.
const SPACE: f64 = 12.0;

/// One step. Only `unaccounted` can go down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// How it looks.
    pub kind: Kind,
    /// By how much the sum changes.
    pub bytes: i64,
}

/// One memory: steps that add up to a peak.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fall {
    /// Which memory, where there are several.
    pub heading: Option<String>,
    /// What was reached before: more than nothing where the chips are those of the fall before.
    pub from: Bytes,
    /// The steps.
    pub steps: Vec<Step>,
    /// What they add up to, `from` included.
    pub peak: Bytes,
    /// True where that is a lower bound.
    pub is_lower_bound: bool,
    /// What that is.
    pub peak_name: &'static str,
    /// The limit on it.
    pub limit: Option<Bytes>,
}

impl Fall {
    fn height(&self) -> f64 {
        let heading = if self.heading.is_some() { SPACE + ROW } else { 0.0 };
        heading + (self.steps.len() + 1) as f64 * ROW
    }

    fn highest(&self) -> Bytes {
        let mut reached = self.from.0 as i64;
        let mut highest = self.peak.max(self.limit.unwrap_or_default());
        for step in &self.steps {
            reached += step.bytes;
            highest = highest.max(Bytes(reached.max(0).unsigned_abs()));
        }
        highest
    }
}

/// The chart, saying `finding`: one fall under the other, on one scale.
pub fn waterfall(falls: &[Fall], finding: &str) -> String {
    let height = TOP + falls.iter().map(Fall::height).sum::<f64>() + 6.0;
    let mut drawing = Drawing::new("chart", WIDTH, height, finding);
    let highest = falls.iter().map(Fall::highest).max().unwrap_or_default();
    let scale = Scale::new(highest.as_mib() * 1.02, WIDTH - LEFT - RIGHT, 8);
    for tick in &scale.ticks {
        let x = LEFT + scale.at(*tick);
        drawing.line((x, TOP - 4.0), (x, height - 6.0), "grid");
        drawing.text(x, TOP - 10.0, Anchor::Middle, "tick", &grouped(*tick, 0));
    }
    drawing.text(WIDTH, TOP - 10.0, Anchor::End, "tick", "MiB");
    let mut top = TOP;
    for fall in falls {
        one_fall(&mut drawing, fall, &scale, top);
        top += fall.height();
    }
    drawing.finish()
}

fn one_fall(drawing: &mut Drawing, fall: &Fall, scale: &Scale, mut top: f64) {
    let place = |bytes: i64| LEFT + scale.at(Bytes(bytes.max(0).unsigned_abs()).as_mib());
    if let Some(heading) = &fall.heading {
        if top > TOP {
            drawing.line((0.0, top + SPACE / 2.0), (WIDTH, top + SPACE / 2.0), "divide");
        }
        drawing.text(0.0, top + SPACE + 15.0, Anchor::Start, "value strong", &shortened(heading, 120));
        top += SPACE + ROW;
    }
    let start = top;
    let mut reached = fall.from.0 as i64;
    for step in &fall.steps {
        let (from, to) = (place(reached), place(reached + step.bytes));
        reached += step.bytes;
        drawing.text(LEFT - 10.0, top + 15.0, Anchor::End, "name", &shortened(&step.name, 26));
        // Even a few bytes leave a mark.
        drawing.rect(from.min(to), top + 3.0, (to - from).abs().max(1.5), ROW - 6.0, &step.kind.fill());
        drawing.line((to, top + ROW - 3.0), (to, top + ROW + 3.0), "step");
        let value =
            if step.bytes < 0 { signed_mib(step.bytes) } else { mib(Bytes(step.bytes.unsigned_abs())) };
        drawing.text(WIDTH, top + 15.0, Anchor::End, "value", &value);
        top += ROW;
    }
    drawing.text(LEFT - 10.0, top + 15.0, Anchor::End, "name strong", fall.peak_name);
    let end = LEFT + scale.at(fall.peak.as_mib());
    drawing.rect(LEFT, top + 3.0, end - LEFT, ROW - 6.0, "class=\"total\"");
    drawing.text(WIDTH, top + 15.0, Anchor::End, "value strong", &peak_mib(fall.peak, fall.is_lower_bound));
    if let Some(limit) = fall.limit {
        let x = LEFT + scale.at(limit.as_mib());
        let look = if fall.peak > limit { "limit over" } else { "limit" };
        drawing.line((x, start - 4.0), (x, top + ROW + 2.0), look);
    }
}
