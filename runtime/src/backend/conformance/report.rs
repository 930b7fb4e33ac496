//! Errors of a case, measured and judged. A case goes on behind a failure, so that one run tells all.

use super::Limits;

/// What a case found.
pub(super) struct Report {
    device: &'static str,
    pub(super) limits: Limits,
    label: String,
    failures: Vec<String>,
}

/// How far a result is off.
#[derive(Debug, Clone, Copy)]
struct Error {
    /// Root of the mean square, relative to that of what is expected.
    relative: f64,
    /// The largest single one, relative to the same.
    worst: f64,
    place: usize,
}

/// How often the relative error a single value may be off. Errors are about normal, and there are up to a million of them.
const WORST: f64 = 16.0;

impl Report {
    pub(super) fn new(device: &'static str, limits: Limits) -> Report {
        Report { device, limits, label: String::new(), failures: Vec::new() }
    }

    /// Names what comes next.
    pub(super) fn at(&mut self, label: String) {
        self.label = label;
    }

    /// Prints what was found.
    pub(super) fn note(&self, what: impl std::fmt::Display) {
        if self.device != "cpu" {
            println!("{}: {}: {what}", self.device, self.label);
        }
    }

    /// Notes a failure.
    pub(super) fn fail(&mut self, what: impl std::fmt::Display) {
        println!("{}: {}: FAILED, {what}", self.device, self.label);
        self.failures.push(format!("{}: {what}", self.label));
    }

    /// Notes a failure unless `actual` is `expected` up to `limit`. `part` says which result it is; empty where there is one.
    pub(super) fn within(&mut self, part: &str, limit: f64, actual: &[f32], expected: &[f64]) {
        let label = self.named(part);
        let Error { relative, worst, place } = measured(actual, expected);
        let fits = relative <= limit && worst <= WORST * limit;
        if self.device != "cpu" {
            let verdict = if fits { "" } else { " FAILED" };
            println!("{}: {label}: {relative:.1e} (worst {worst:.1e}){verdict}", self.device);
        }
        if !fits {
            let found = actual.get(place).copied().unwrap_or(f32::NAN);
            let wanted = expected.get(place).copied().unwrap_or(f64::NAN);
            self.failures.push(format!(
                "{label}: off by {relative:.2e}, worst {worst:.2e} at {place} of {} ({found} instead of {wanted}); limit {limit:.0e}",
                expected.len(),
            ));
        }
    }

    /// Notes a failure unless every value is exactly the expected one. NaN is NaN.
    pub(super) fn same(&mut self, part: &str, actual: &[f32], expected: &[f32]) {
        let differs = |(a, b): (&f32, &f32)| a != b && !(a.is_nan() && b.is_nan());
        let label = self.named(part);
        if actual.len() != expected.len() {
            self.failures.push(format!("{label}: {} values instead of {}", actual.len(), expected.len()));
        } else if let Some(place) = actual.iter().zip(expected).position(differs) {
            let (found, wanted) = (actual[place], expected[place]);
            let message = format!("{label}: value {place} is {found} instead of {wanted}");
            println!("{}: {message}", self.device);
            self.failures.push(message);
        }
    }

    fn named(&self, part: &str) -> String {
        match part {
            "" => self.label.clone(),
            part => format!("{}, {part}", self.label),
        }
    }

    /// Fails the test if anything failed.
    pub(super) fn finish(self) {
        /// Failures that are printed.
        const SHOWN: usize = 40;
        let Report { device, failures, .. } = self;
        let shown = failures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  ");
        assert!(failures.is_empty(), "{} failures on {device}:\n  {shown}", failures.len());
    }
}

fn measured(actual: &[f32], expected: &[f64]) -> Error {
    let infinite = |place| Error { relative: f64::INFINITY, worst: f64::INFINITY, place };
    if actual.len() != expected.len() {
        return infinite(actual.len().min(expected.len()));
    }
    if let Some(place) = actual.iter().zip(expected).position(|(a, e)| !a.is_finite() && e.is_finite()) {
        return infinite(place);
    }
    let count = expected.len().max(1) as f64;
    let size = (expected.iter().map(|e| e * e).sum::<f64>() / count).sqrt().max(1e-30);
    let (mut squares, mut worst, mut place) = (0.0, 0.0, 0);
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*a) - e).abs();
        squares += error * error;
        if error > worst {
            (worst, place) = (error, index);
        }
    }
    Error { relative: (squares / count).sqrt() / size, worst: worst / size, place }
}
