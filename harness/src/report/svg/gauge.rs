//! A peak within its budget, small enough for a table.

use ledger::Bytes;

use super::draw::Drawing;

const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 12.0;

/// A bar for `peak`, and a mark at `limit`. Both share a scale on which the limit is at four fifths, so that marks line
/// up from row to row.
pub fn gauge(peak: Bytes, limit: Bytes) -> String {
    let mut drawing = Drawing::ornament("gauge", WIDTH, HEIGHT);
    let mark = WIDTH * 0.8;
    let wanted = if limit > Bytes::ZERO { peak.0 as f64 / limit.0 as f64 * mark } else { WIDTH };
    let reach = wanted.min(WIDTH);
    drawing.rect(0.0, 3.0, WIDTH, 6.0, "rx=\"3\" class=\"g-track\"");
    let look = if peak > limit { "rx=\"3\" class=\"g-over\"" } else { "rx=\"3\" class=\"g-bar\"" };
    drawing.rect(0.0, 3.0, reach, 6.0, look);
    drawing.line((mark, 0.0), (mark, HEIGHT), "g-mark");
    drawing.finish()
}
