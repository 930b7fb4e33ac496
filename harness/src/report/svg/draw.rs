//! Elements of a drawing. Names in it go the way of every text of a page: what must not be shown is cut.

use std::fmt::Write;

use crate::report::text::tame;

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// It starts there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// A drawing under construction. Lengths are in units of its view box.
#[derive(Debug, Clone)]
pub struct Drawing {
    out: String,
}

impl Drawing {
    /// A drawing of `width` by `height` that says `finding` to those who cannot see it.
    pub fn new(class: &str, width: f64, height: f64, finding: &str) -> Drawing {
        let mut drawing = Drawing { out: String::new() };
        let _ = write!(
            drawing.out,
            "<svg class=\"{}\" viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\" role=\"img\" aria-label=\"{}\">",
            escape(class),
            length(width),
            length(height),
            length(width),
            length(height),
            escape(&tame(&shortened(finding, 400)))
        );
        drawing
    }

    /// A small drawing beside a text that says the same.
    pub fn ornament(class: &str, width: f64, height: f64) -> Drawing {
        let mut drawing = Drawing { out: String::new() };
        let _ = write!(
            drawing.out,
            "<svg class=\"{}\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" aria-hidden=\"true\">",
            escape(class),
            w = length(width),
            h = length(height)
        );
        drawing
    }

    /// A rectangle. Nothing is drawn where it has no extent.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, look: &str) {
        if length(width) != "0" && length(height) != "0" && width > 0.0 && height > 0.0 {
            let _ = write!(
                self.out,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {look}/>",
                length(x),
                length(y),
                length(width),
                length(height)
            );
        }
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = write!(
            self.out,
            "<path d=\"M{} {}L{} {}\" class=\"{}\"/>",
            length(from.0),
            length(from.1),
            length(to.0),
            length(to.1),
            escape(class)
        );
    }

    /// A path by its commands.
    pub fn path(&mut self, commands: &str, class: &str) {
        let _ = write!(self.out, "<path d=\"{}\" class=\"{}\"/>", escape(commands), escape(class));
    }

    /// A line of text.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let _ = write!(
            self.out,
            "<text x=\"{}\" y=\"{}\"{anchor} class=\"{}\">{}</text>",
            length(x),
            length(y),
            escape(class),
            escape(&tame(text))
        );
    }

    /// The finished drawing.
    pub fn finish(mut self) -> String {
        self.out.push_str("</svg>");
        self.out
    }
}

/// A length with at most one decimal: a tenth of a unit is less than the eye sees.
pub fn length(value: f64) -> String {
    let tenths = if value.is_finite() { (value * 10.0).round() / 10.0 } else { 0.0 };
    // Adding zero turns a negative zero into a plain one.
    format!("{}", tenths + 0.0)
}

/// `text` with everything replaced that HTML, attributes included, reads as markup.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The first `most` characters of `text`, with a mark where it was longer.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut drawing = Drawing::new("a", 10.0, 10.0, "\"><script>");
        drawing.text(0.0, 0.0, Anchor::Start, "b", "</text><script>&'");
        let svg = drawing.finish();
        assert!(!svg.contains("<script>"));
        assert!(svg.contains("&quot;&gt;&lt;script&gt;") && svg.contains("&amp;&#39;"));
    }

    #[test]
    fn lengths_are_short() {
        assert_eq!([0.04, -0.04, 1.25, 100.0, f64::NAN].map(length), ["0", "0", "1.3", "100", "0"]);
    }
}
