//! Mistakes in scenario files.

use std::path::Path;

use harness::scenario::{self, Scenario, ScenarioError};

/// The scenario of `text`.
pub(crate) fn parsed(text: impl Into<String>) -> Result<Scenario, ScenarioError> {
    scenario::parse(Path::new("scenario.yaml"), text.into())
}

/// What the user sees when `from` is replaced by `to` in `whole`, a scenario without mistakes.
pub(crate) fn shown(whole: &str, from: &str, to: &str) -> String {
    assert!(whole.contains(from), "the mistake was not planted");
    parsed(whole.replacen(from, to, 1)).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}
