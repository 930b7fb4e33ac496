//! A change that was promised, and what came of it, small enough for a table.

use super::draw::Drawing;

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 14.0;

/// What all drawings of a table share, in bytes: the largest saving and the largest cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    least: i64,
    most: i64,
}

impl Reach {
    /// The same, with room for `bytes`.
    pub fn with(self, bytes: i64) -> Reach {
        Reach { least: self.least.min(bytes), most: self.most.max(bytes) }
    }

    fn at(self, bytes: i64) -> f64 {
        let span = (self.most as f64 - self.least as f64).max(1.0);
        (bytes as f64 - self.least as f64) / span * (WIDTH - 2.0) + 1.0
    }
}

/// A frame for what was `expected`, a bar for what was `measured`: to the left of the line it is saved, to the right taken.
pub fn lever(expected: Option<i64>, measured: Option<i64>, holds: Holds, reach: Reach) -> String {
    let mut drawing = Drawing::ornament("lever", WIDTH, HEIGHT);
    let zero = reach.at(0);
    let extent = |bytes: i64| {
        let end = reach.at(bytes);
        (zero.min(end), (end - zero).abs())
    };
    if let Some(bytes) = measured {
        let look = match holds {
            Holds::Yes => "class=\"g-bar\"",
            Holds::No => "class=\"g-over\"",
        };
        let (from, width) = extent(bytes);
        drawing.rect(from, 4.0, width, 6.0, look);
    }
    if let Some(bytes) = expected {
        let (from, width) = extent(bytes);
        drawing.rect(from, 1.0, width, 12.0, "class=\"promise\"");
    }
    drawing.line((zero, 0.0), (zero, HEIGHT), "g-mark");
    drawing.finish()
}

/// Whether a lever did what was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It did, or it is not known.
    Yes,
    /// It did not.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn savings_lie_left_of_the_line_and_costs_right_of_it() {
        let reach = [-300, 100].into_iter().fold(Reach::default(), Reach::with);
        let saved = lever(Some(-300), Some(-150), Holds::Yes, reach);
        assert!(saved.contains("<rect x=\"1\" y=\"1\" width=\"88.5\""), "{saved}");
        assert!(saved.contains("<rect x=\"45.3\" y=\"4\" width=\"44.3\""), "{saved}");
        assert!(saved.contains("M89.5 0L89.5 14"), "{saved}");
        let taken = lever(Some(100), None, Holds::No, reach);
        assert!(taken.contains("<rect x=\"89.5\" y=\"1\" width=\"29.5\""), "{taken}");
        assert_eq!(lever(None, None, Holds::Yes, Reach::default()).matches("<rect").count(), 0);
    }
}
