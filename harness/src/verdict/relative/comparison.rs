//! What holding a cell against a baseline came to, as plain data for every output.

use std::fmt;

use ledger::{BufferClass, Bytes, Phase};
use schemars::JsonSchema;
use serde::Serialize;

use crate::number::mib;
use crate::record::schema;
use crate::verdict::Word;

/// A cell, held against the baseline's cell of the same axis values.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    /// PASS, IMPROVED, WARN, INCOMPARABLE or FAIL (regression). `None` where nothing was compared, which decides nothing.
    pub word: Option<Word>,
    /// Why it is not a plain pass, in words.
    pub reason: Option<String>,
    /// Fields of the fingerprint that differ, each with both values.
    pub differences: Vec<String>,
    /// Buffers whose declared bytes changed, the largest growth first.
    pub buffers: Vec<BufferChange>,
    /// What all buffers together declare. `None` where one side declares none.
    pub declared: Option<DeclaredChange>,
    /// What was measured, before and after, with what each rule says of it.
    pub shifts: Vec<Shift>,
    /// What could not be decided, in words.
    pub notes: Vec<String>,
}

impl Comparison {
    /// What to look at first: the buffer that grew most, else the class that grew most where a peak rose.
    pub fn grown_most(&self) -> Option<GrownMost<'_>> {
        let grown = self.buffers.iter().find(|change| change.growth_bytes() > 0);
        if let Some(change) = grown {
            return Some(GrownMost::Buffer(change));
        }
        let risen = |shift: &&Shift| matches!(shift.word, Some(Word::Regression | Word::Warn));
        let (class, growth) = self.shifts.iter().filter(risen).find_map(|shift| shift.responsible)?;
        Some(GrownMost::Class(class, growth))
    }

    /// The same in words.
    pub fn responsible(&self) -> Option<String> {
        Some(match self.grown_most()? {
            GrownMost::Buffer(change) => change.sentence(),
            GrownMost::Class(class, growth) => {
                format!("{class} grew by {}", size(Bytes(growth.unsigned_abs())))
            }
        })
    }
}

/// What grew most against the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrownMost<'a> {
    /// A buffer.
    Buffer(&'a BufferChange),
    /// A class and its growth in bytes, where no buffer is known.
    Class(BufferClass, i64),
}

impl GrownMost<'_> {
    /// Its class.
    pub fn class(self) -> BufferClass {
        match self {
            GrownMost::Buffer(change) => change.class,
            GrownMost::Class(class, _) => class,
        }
    }

    /// By how many bytes it grew.
    pub fn growth_bytes(self) -> i64 {
        match self {
            GrownMost::Buffer(change) => change.growth_bytes(),
            GrownMost::Class(_, growth) => growth,
        }
    }
}

/// One buffer whose declared bytes are not those of the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BufferChange {
    /// The ledger's key: `target/rollback/3/updates`.
    pub buffer: String,
    /// Its class.
    #[schemars(with = "schema::ClassName")]
    pub class: BufferClass,
    /// What it declared. `None` for a new buffer.
    #[schemars(with = "Option<schema::Bytes>")]
    pub before_bytes: Option<Bytes>,
    /// What it declares. `None` for one that is gone.
    #[schemars(with = "Option<schema::Bytes>")]
    pub after_bytes: Option<Bytes>,
    /// The gate that allows its growth.
    pub allowed_by: Option<String>,
}

impl BufferChange {
    /// After less before, in bytes.
    pub fn growth_bytes(&self) -> i64 {
        self.after_bytes.unwrap_or_default().signed_difference(self.before_bytes.unwrap_or_default())
    }

    /// `target/rollback/updates grew by 64.0 MiB, to 80.0 MiB`.
    pub fn sentence(&self) -> String {
        match (self.before_bytes, self.after_bytes) {
            (None, Some(after)) => format!("{} is new and takes {}", self.buffer, size(after)),
            (Some(before), None) => format!("{} is gone and took {}", self.buffer, size(before)),
            _ => {
                let growth = self.growth_bytes();
                let verb = if growth < 0 { "shrank" } else { "grew" };
                let by = size(Bytes(growth.unsigned_abs()));
                format!("{} {verb} by {by}, to {}", self.buffer, size(self.after_bytes.unwrap_or_default()))
            }
        }
    }
}

/// A size with its unit. What one decimal of a MiB would round away is shown in bytes.
pub fn size(bytes: Bytes) -> String {
    if bytes < Bytes::kib(103) { format!("{} B", bytes.0) } else { format!("{} MiB", mib(bytes)) }
}

/// A difference with its unit and its sign.
pub fn signed_size(bytes: i64) -> String {
    format!("{}{}", if bytes < 0 { "−" } else { "+" }, size(Bytes(bytes.unsigned_abs())))
}

/// The sum over all buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeclaredChange {
    /// In the baseline.
    #[schemars(with = "schema::Bytes")]
    pub before_bytes: Bytes,
    /// Now.
    #[schemars(with = "schema::Bytes")]
    pub after_bytes: Bytes,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The highest resident memory of a phase.
    PeakResident(Phase),
    /// The most device memory of a phase.
    PeakDevice(Phase),
    /// The most that a class held at the end of any phase, where a gate is about it.
    Held(BufferClass),
    /// From the start of the target's load to its first answer.
    LoadTime,
    /// Time to first token.
    TimeToFirstToken,
    /// Time per output token.
    TimePerOutputToken,
}

impl Metric {
    /// True for times, which are compared in pairs and as ratios.
    pub fn is_time(self) -> bool {
        matches!(self, Metric::LoadTime | Metric::TimeToFirstToken | Metric::TimePerOutputToken)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::PeakResident(phase) => write!(f, "peak resident in {phase}"),
            Metric::PeakDevice(phase) => write!(f, "peak device memory in {phase}"),
            Metric::Held(class) => write!(f, "{class} at its most"),
            Metric::LoadTime => f.pad("load time"),
            Metric::TimeToFirstToken => f.pad("time to first token"),
            Metric::TimePerOutputToken => f.pad("time per output token"),
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One metric, before and after.
///
/// Memory is in bytes, and `shift`, `interval` and `threshold` are differences in bytes. Times are in milliseconds, and those
/// three are ratios less one: 0.05 is 5 % slower.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Shift {
    /// What.
    #[schemars(with = "String")]
    pub metric: Metric,
    /// Trials, or pairs of them, on each side.
    pub trials: (usize, usize),
    /// Median before.
    pub before: f64,
    /// Median after.
    pub after: f64,
    /// The estimate of the change.
    pub shift: f64,
    /// Its interval at 95 %. `None` where there are too few trials for one.
    pub interval: Option<(f64, f64)>,
    /// What a change must exceed to count.
    pub threshold: f64,
    /// How likely such a change is without a cause. `None` where nothing was tested.
    pub p_value: Option<f64>,
    /// The same, adjusted for all tests of the report. `None` where nothing was tested.
    pub adjusted_p: Option<f64>,
    /// PASS, IMPROVED, WARN or FAIL (regression). `None` where it decides nothing.
    pub word: Option<Word>,
    /// Why, in words.
    pub reason: Option<String>,
    /// The class that grew most at the end of the phase, with its growth, where classes are known on both sides.
    #[schemars(with = "Option<(schema::ClassName, i64)>")]
    pub responsible: Option<(BufferClass, i64)>,
    /// The gate that the threshold comes from; `None` where it is the rule's own.
    pub gate: Option<String>,
}

impl Shift {
    /// Medians before and after and what they differ by, of so many trials on each side, that nothing has judged yet.
    pub(super) fn new(
        metric: Metric,
        trials: (usize, usize),
        [before, after]: [f64; 2],
        shift: f64,
        threshold: f64,
    ) -> Shift {
        Shift {
            metric,
            trials,
            before,
            after,
            shift,
            interval: None,
            threshold,
            p_value: None,
            adjusted_p: None,
            word: None,
            reason: None,
            responsible: None,
            gate: None,
        }
    }

    /// The change in words: `+32.0 MiB` or `+5.0 %`.
    pub fn words(&self) -> String {
        self.in_words(self.shift)
    }

    /// The interval in words: `+28.1 MiB to +35.9 MiB`.
    pub fn interval_words(&self) -> Option<String> {
        let (low, high) = self.interval?;
        Some(format!("{} to {}", self.in_words(low), self.in_words(high)))
    }

    /// `peak resident in decode: +64.0 MiB (+60.1 MiB to +68.0 MiB); rollback grew most, by 64.0 MiB`.
    pub fn sentence(&self) -> String {
        let mut text = format!("{}: {}", self.metric, self.words());
        if let Some(interval) = self.interval_words() {
            text.push_str(&format!(" ({interval})"));
        }
        if let Some((class, growth)) = self.responsible {
            text.push_str(&format!("; {class} grew most, by {}", size(Bytes(growth.unsigned_abs()))));
        }
        if let Some(reason) = &self.reason {
            text.push_str(&format!("; {reason}"));
        }
        text
    }

    fn in_words(&self, change: f64) -> String {
        if self.metric.is_time() {
            format!("{:+.1} %", change * 100.0)
        } else {
            signed_size(change.round() as i64)
        }
    }
}
