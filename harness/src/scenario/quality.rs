//! What a trial's quality is measured on, and what it may cost.

use std::time::Duration;

use ledger::Tokens;

use super::hex_sha256;
use super::{Condition, ModelSource};
use crate::record::QualityBudget;

/// How quality is measured, after the phases of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// The cells that it is measured for.
    pub when: Condition,
    /// The text's file, from the current folder.
    pub text: String,
    /// The checkpoint whose exact path every engine is held against. `None`: its own.
    pub reference: Option<ModelSource>,
    /// Tokens of it that are scored.
    pub tokens: Tokens,
    /// Greedy continuations that are compared.
    pub continuations: u32,
    /// When to give up.
    pub timeout: Duration,
    /// What the reading is held against.
    pub budgets: Vec<QualityBudget>,
}

impl Quality {
    /// What decides a reading: the text, and a checkpoint, by what is in it.
    pub(super) fn identity(&self) -> String {
        let contents = std::fs::read(&self.text).map_or_else(|_| String::new(), |text| hex_sha256(&text));
        let reference = self.reference.as_ref().map(ModelSource::contents).unwrap_or_default();
        format!(
            "{:?} {:?} {} {}\n{contents}\n{reference}",
            self.text, self.reference, self.tokens.0, self.continuations
        )
    }
}
