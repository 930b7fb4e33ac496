//! What a trial's target was, and what it does not say.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The runtime of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRecord {
    /// Which kind of runtime, for example `llama-server`.
    pub kind: String,
    /// What it cannot answer. Such a thing is not measured, which is neither zero nor a pass.
    pub unanswered: Vec<Unanswered>,
}

/// Something that a target cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// What.
    pub question: Question,
    /// Why, as a part of a sentence.
    pub why: String,
}

/// What a harness asks of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// What it holds before it loads a model.
    IdlePhase,
    /// Every buffer before it is allocated.
    MemoryPlan,
    /// What it holds, by class.
    Classes,
    /// Classes that its account does not name.
    OtherClasses,
    /// What its code, libraries and heap take.
    Program,
    /// What its process holds.
    ProcessMemory,
    /// Its end.
    Unload,
    /// How many tokens there are.
    TokenCounts,
    /// A setting or a build option, by name.
    Setting(String),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::IdlePhase => f.pad("idle phase"),
            Question::MemoryPlan => f.pad("memory plan by buffer"),
            Question::Classes => f.pad("memory by class"),
            Question::OtherClasses => f.pad("classes that its account does not name"),
            Question::Program => f.pad("memory of its program"),
            Question::ProcessMemory => f.pad("memory of its process"),
            Question::Unload => f.pad("unload phase"),
            Question::TokenCounts => f.pad("counts of tokens"),
            Question::Setting(name) => f.pad(name),
        }
    }
}

impl TargetRecord {
    /// Why `question` has no answer, as a reason for `n/a`. `None` where it has one.
    pub fn no_answer(&self, question: &Question) -> Option<String> {
        let found = self.unanswered.iter().find(|unanswered| unanswered.question == *question)?;
        Some(self.sentence(&[&found.question], &found.why))
    }

    /// Everything that has no answer: `not answered by llama-server: draftVocab, maxVerifyTreeSize (nothing is drafted)`.
    pub fn sentences(&self) -> Vec<String> {
        let mut by_reason: Vec<(&str, Vec<&Question>)> = Vec::new();
        for Unanswered { question, why } in &self.unanswered {
            match by_reason.iter_mut().find(|(known, _)| known == why) {
                Some((_, questions)) => questions.push(question),
                None => by_reason.push((why, vec![question])),
            }
        }
        by_reason.iter().map(|(why, questions)| self.sentence(questions, why)).collect()
    }

    fn sentence(&self, questions: &[&Question], why: &str) -> String {
        let words: Vec<String> = questions.iter().map(ToString::to_string).collect();
        format!("not answered by {}: {} ({why})", self.kind, words.join(", "))
    }
}
