//! Resident memory over time: the 10 ms series as an area, phases as bands, exact peaks and budgets as lines.

use std::fmt::Write;

use ledger::{Bytes, Micros};

use super::draw::{Anchor, Drawing, length, shortened};
use super::scale::Scale;
use crate::number::{grouped, mib, peak_mib};
use crate::record::{PhaseRecord, RecordedTrial, Sample, Series};
use crate::report::downsample;
use crate::verdict::evidence::{LONGEST_GAP_AT_AN_EDGE, lower_bound};

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 40.0;
const PLOT_WIDTH: f64 = WIDTH - LEFT - RIGHT;
const PLOT_HEIGHT: f64 = 210.0;
const HEIGHT: f64 = TOP + PLOT_HEIGHT + 28.0;
/// Units of the drawing that share one column of samples.
const COLUMN: f64 = 2.0;
/// About how wide a letter of a label is.
const LETTER: f64 = 6.4;

/// A budget to draw across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The budget's name.
    pub label: String,
    /// Its limit.
    pub limit: Bytes,
    /// True for a limit that fails, false for one that warns.
    pub fails: bool,
}

/// The most of a stretch of time, as a line over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peak {
    pub(super) from: Micros,
    pub(super) to: Micros,
    pub(super) bytes: Bytes,
    pub(super) is_lower_bound: bool,
}

/// A curve: what it is at each moment at which it was seen, and how it looks.
pub(super) type Curve = (&'static str, Vec<(Micros, Bytes)>);

/// A curve of the stack: what it adds to the one below, and how it looks.
type Layer = (fn(&Sample) -> Option<Bytes>, &'static str);

/// Painted from the highest to the lowest, each down to the ground, so that what stays visible is the stack.
const LAYERS: [Layer; 3] = [
    (|sample| sample.resident(), "a-shmem"),
    (|sample| Some(sample.anonymous? + sample.file?), "a-file"),
    (|sample| sample.anonymous, "a-anon"),
];

/// The chart, saying `finding`.
pub fn series(series: &Series, trial: &RecordedTrial, lines: &[Line], finding: &str) -> String {
    let phases = &trial.record.phases;
    let has_shared = series.samples.iter().any(|sample| sample.shared.is_some_and(|bytes| bytes.0 > 0));
    let curve = |(value, look): &Layer| {
        let points = series.samples.iter().filter_map(|sample| Some((sample.at, value(sample)?)));
        (*look, points.collect())
    };
    let layers = LAYERS.iter().filter(|(_, look)| has_shared || *look != "a-shmem");
    let peaks = phases.iter().filter_map(|phase| {
        let bytes = *phase.peak_resident_bytes.measured()?;
        let is_lower_bound = lower_bound(trial, phase).is_some();
        Some(Peak { from: phase.started_us, to: phase.ended_us, bytes, is_lower_bound })
    });
    let drawn = Drawn {
        curves: layers.map(curve).collect(),
        gaps: series.gaps(LONGEST_GAP_AT_AN_EDGE).collect(),
        peaks: peaks.collect(),
        last: series.samples.last().map(|sample| sample.at),
    };
    over_time(&drawn, phases, lines, finding)
}

/// What a chart over time shows.
pub(super) struct Drawn {
    /// From the highest to the lowest.
    pub(super) curves: Vec<Curve>,
    /// Stretches in which nothing was seen.
    pub(super) gaps: Vec<(Micros, Micros)>,
    pub(super) peaks: Vec<Peak>,
    /// The last moment that was seen.
    pub(super) last: Option<Micros>,
}

/// The chart of `drawn`, saying `finding`.
pub(super) fn over_time(drawn: &Drawn, phases: &[PhaseRecord], lines: &[Line], finding: &str) -> String {
    let mut drawing = Drawing::new("chart", WIDTH, HEIGHT, finding);
    let first = phases.first().map_or(Micros(0), |phase| phase.started_us);
    let end = phases.last().map(|phase| phase.ended_us).max(drawn.last);
    let end = end.unwrap_or(first).max(Micros(first.0 + 1));
    let within = |(at, _): &&(Micros, Bytes)| (first..=end).contains(at);
    let seen = drawn.curves.iter().flat_map(|(_, points)| points.iter().filter(within));
    let sampled = seen.map(|(_, bytes)| *bytes).max().unwrap_or_default();
    let exact = drawn.peaks.iter().map(|peak| peak.bytes).max();
    let peak = sampled.max(exact.unwrap_or_default());
    // A limit far above the curve would flatten it; it is then named in the text only.
    let near = |line: &&Line| line.limit.0 <= peak.0.saturating_mul(5) / 2;
    let highest = lines.iter().filter(near).map(|line| line.limit).max().unwrap_or_default().max(peak);
    let memory = Scale::new(highest.as_mib() * 1.1, PLOT_HEIGHT, 5);
    let chart = Chart { first, end, memory };

    chart.bands(&mut drawing, phases);
    chart.axes(&mut drawing);
    chart.areas(&mut drawing, drawn);
    for line in lines.iter().filter(near) {
        chart.budget(&mut drawing, line);
    }
    let crossing: Vec<f64> = lines.iter().filter(near).map(|line| chart.y(line.limit)).collect();
    chart.peaks(&mut drawing, &drawn.peaks, exact, &crossing);
    drawing.finish()
}

struct Chart {
    first: Micros,
    end: Micros,
    memory: Scale,
}

impl Chart {
    fn x(&self, time: Micros) -> f64 {
        let part = time.0.saturating_sub(self.first.0) as f64 / (self.end.0 - self.first.0) as f64;
        LEFT + part.clamp(0.0, 1.0) * PLOT_WIDTH
    }

    fn y(&self, bytes: Bytes) -> f64 {
        TOP + PLOT_HEIGHT - self.memory.at(bytes.as_mib())
    }

    /// Bands, with their names above them: a name goes up a row where it would run into the one before it.
    fn bands(&self, drawing: &mut Drawing, phases: &[PhaseRecord]) {
        let mut taken = [f64::MIN; 2];
        let mut names: Vec<(f64, f64, &str)> = Vec::new();
        for (index, phase) in phases.iter().enumerate() {
            let (from, to) = (self.x(phase.started_us), self.x(phase.ended_us));
            let look = if index % 2 == 0 { "class=\"band\"" } else { "class=\"band odd\"" };
            drawing.rect(from, TOP, to - from, PLOT_HEIGHT, look);
            let name = phase.phase.name();
            let wide = name.len() as f64 * LETTER + 8.0;
            let start = (from + 4.0).min(WIDTH - wide);
            let Some(row) = (0..taken.len()).find(|row| taken[*row] <= start) else { continue };
            taken[row] = start + wide;
            let y = TOP - 6.0 - row as f64 * 15.0;
            drawing.line((from, y - 9.0), (from, TOP + PLOT_HEIGHT), "edge");
            names.push((start, y, name));
        }
        // After all lines, so that none runs through a name.
        for (x, y, name) in names {
            drawing.text(x, y, Anchor::Start, "phase", name);
        }
    }

    fn axes(&self, drawing: &mut Drawing) {
        for tick in &self.memory.ticks {
            let y = TOP + PLOT_HEIGHT - self.memory.at(*tick);
            drawing.line((LEFT, y), (LEFT + PLOT_WIDTH, y), "grid");
            drawing.text(LEFT - 8.0, y + 4.0, Anchor::End, "tick", &grouped(*tick, 0));
        }
        drawing.text(0.0, 12.0, Anchor::Start, "tick", "MiB");
        let seconds = Scale::new((self.end.0 - self.first.0) as f64 / 1e6, PLOT_WIDTH, 10);
        let decimals = if seconds.ticks.get(1).is_some_and(|step| *step < 1.0) { 1 } else { 0 };
        for tick in &seconds.ticks {
            let x = LEFT + seconds.at(*tick);
            let anchor = if x > WIDTH - 24.0 { Anchor::End } else { Anchor::Middle };
            drawing.text(x, HEIGHT - 10.0, anchor, "tick", &format!("{} s", grouped(*tick, decimals)));
        }
    }

    /// One area for each stretch of samples without a gap, so that what was not seen is not drawn.
    fn areas(&self, drawing: &mut Drawing, drawn: &Drawn) {
        for (look, points) in &drawn.curves {
            let mut path = String::new();
            let mut rest = points.as_slice();
            for (from, _) in &drawn.gaps {
                let (stretch, later) = rest.split_at(rest.partition_point(|(at, _)| at <= from));
                self.area(&mut path, stretch);
                rest = later;
            }
            self.area(&mut path, rest);
            drawing.path(&path, look);
        }
        for (from, to) in &drawn.gaps {
            let (from, to) = (self.x(*from), self.x(*to));
            drawing.rect(from, TOP, (to - from).max(1.5), PLOT_HEIGHT, "class=\"unseen\"");
        }
    }

    fn area(&self, path: &mut String, points: &[(Micros, Bytes)]) {
        let points = points.iter().map(|(at, bytes)| (*at, bytes.0));
        let columns = (PLOT_WIDTH / COLUMN) as usize;
        let drawn = downsample::columns(points, self.first, self.end, columns);
        let (Some(start), Some(end)) = (drawn.first(), drawn.last()) else { return };
        let x = |column: usize| LEFT + column as f64 * COLUMN;
        let ground = length(TOP + PLOT_HEIGHT);
        let _ = write!(path, "M{} {ground}", length(x(start.column)));
        let mut level = String::new();
        let mut held_to = None;
        for column in &drawn {
            // Half a unit is what the eye sees; finer steps would only draw the noise of the counters.
            let ends =
                [column.first, column.last].map(|bytes| length((self.y(Bytes(bytes)) * 2.0).round() / 2.0));
            let here = length(x(column.column));
            if ends[0] == level && ends[1] == level {
                held_to = Some(here);
                continue;
            }
            if let Some(held) = held_to.take() {
                let _ = write!(path, "H{held}");
            }
            let _ = write!(path, "L{here} {}", ends[0]);
            if ends[1] != ends[0] {
                let _ = write!(path, "V{}", ends[1]);
            }
            level.clone_from(&ends[1]);
        }
        let _ = write!(path, "H{}V{ground}Z", length(x(end.column) + COLUMN));
    }

    fn budget(&self, drawing: &mut Drawing, line: &Line) {
        let y = self.y(line.limit);
        drawing.line((LEFT, y), (LEFT + PLOT_WIDTH, y), if line.fails { "budget" } else { "budget warns" });
        if line.fails {
            let label = format!("{} {} MiB", shortened(&line.label, 40), mib(line.limit));
            drawing.text(LEFT + PLOT_WIDTH - 4.0, y - 5.0, Anchor::End, "budget-name", &label);
        }
    }

    /// The peak of each phase, as a line over its band; the highest one with its value.
    /// Its text stands above the line, or below where one of the lines at `crossing` would run through it.
    fn peaks(&self, drawing: &mut Drawing, peaks: &[Peak], highest: Option<Bytes>, crossing: &[f64]) {
        let mut named = false;
        for Peak { from, to, bytes: peak, is_lower_bound } in peaks {
            let (from, to, y) = (self.x(*from), self.x(*to), self.y(*peak));
            drawing.line((from, y), (to.max(from + 3.0), y), "peak");
            let text = peak_mib(*peak, *is_lower_bound);
            let is_crossed = crossing.iter().any(|line| (y - 20.0..y).contains(line));
            let baseline = if is_crossed { y + 14.0 } else { y - 5.0 };
            let is_highest = Some(*peak) == highest && !named;
            let wide = text.chars().count() as f64 * LETTER + 6.0;
            if is_highest {
                named = true;
                let x = from.min(WIDTH - wide - 40.0) + 4.0;
                drawing.text(x, baseline, Anchor::Start, "peak-value strong", &format!("peak {text}"));
            } else if to - from > wide {
                drawing.text(from + 4.0, baseline, Anchor::Start, "peak-value", &text);
            }
        }
    }
}
