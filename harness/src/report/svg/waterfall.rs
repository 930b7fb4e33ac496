//! How the classes of one cell add up to its peak.

use ledger::Bytes;

use super::draw::{Anchor, Drawing};
use super::palette::Kind;
use super::scale::Scale;
use crate::number::{grouped, mib, signed_mib};

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 176.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 26.0;
const ROW: f64 = 22.0;

/// One step. Only `unaccounted` can go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What it stands for.
    pub kind: Kind,
    /// By how much the sum changes.
    pub bytes: i64,
}

/// The chart, saying `finding`: `steps` add up to `peak`; `limit` is drawn across.
pub fn waterfall(steps: &[Step], peak: Bytes, limit: Option<Bytes>, finding: &str) -> String {
    let height = TOP + (steps.len() + 1) as f64 * ROW + 6.0;
    let mut drawing = Drawing::new("chart", WIDTH, height, finding);
    let mut reached = 0_i64;
    let mut highest = peak.max(limit.unwrap_or_default());
    for step in steps {
        reached += step.bytes;
        highest = highest.max(Bytes(reached.max(0).unsigned_abs()));
    }
    let scale = Scale::new(highest.as_mib() * 1.02, WIDTH - LEFT - RIGHT, 8);
    let place = |bytes: i64| LEFT + scale.at(Bytes(bytes.max(0).unsigned_abs()).as_mib());
    for tick in &scale.ticks {
        let x = LEFT + scale.at(*tick);
        drawing.line((x, TOP - 4.0), (x, height - 6.0), "grid");
        drawing.text(x, TOP - 10.0, Anchor::Middle, "tick", &grouped(*tick, 0));
    }
    drawing.text(WIDTH, TOP - 10.0, Anchor::End, "tick", "MiB");
    let mut reached = 0_i64;
    for (index, step) in steps.iter().enumerate() {
        let top = TOP + index as f64 * ROW;
        let (from, to) = (place(reached), place(reached + step.bytes));
        reached += step.bytes;
        drawing.text(LEFT - 10.0, top + 15.0, Anchor::End, "name", step.kind.name());
        // Even a few bytes leave a mark.
        drawing.rect(from.min(to), top + 3.0, (to - from).abs().max(1.5), ROW - 6.0, &step.kind.fill());
        drawing.line((to, top + ROW - 3.0), (to, top + ROW + 3.0), "step");
        let value =
            if step.bytes < 0 { signed_mib(step.bytes) } else { mib(Bytes(step.bytes.unsigned_abs())) };
        drawing.text(WIDTH, top + 15.0, Anchor::End, "value", &value);
    }
    let top = TOP + steps.len() as f64 * ROW;
    drawing.text(LEFT - 10.0, top + 15.0, Anchor::End, "name strong", "peak resident");
    let end = LEFT + scale.at(peak.as_mib());
    drawing.rect(LEFT, top + 3.0, end - LEFT, ROW - 6.0, "class=\"total\"");
    drawing.text(WIDTH, top + 15.0, Anchor::End, "value strong", &mib(peak));
    if let Some(limit) = limit {
        let x = LEFT + scale.at(limit.as_mib());
        drawing.line((x, TOP - 4.0), (x, height - 4.0), if peak > limit { "limit over" } else { "limit" });
    }
    drawing.finish()
}
