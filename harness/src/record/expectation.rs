//! Expectations: cells that are known not to run to their end, and until when that is accepted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::Condition;

/// One expectation of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// How trials end.
    pub outcome: ExpectedOutcome,
    /// The cells.
    pub when: Condition,
    /// The last day on which that is accepted, `YYYY-MM-DD` in UTC.
    pub until: String,
    /// Why it is accepted until then.
    pub why: String,
}

/// How a trial is expected to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedOutcome {
    /// Memory runs out.
    Oom,
    /// A phase takes longer than its timeout.
    Timeout,
    /// The target ends by itself.
    Crash,
}

impl Expectation {
    /// True where a run that started at `started_at`, RFC 3339 in UTC, is of a later day.
    pub fn has_passed(&self, started_at: &str) -> bool {
        started_at.get(..self.until.len()).is_none_or(|day| day > self.until.as_str())
    }
}
