//! What a target can answer, and what it is asked all the same.

use crate::import::LogKind;
use crate::record::{Question, TargetRecord, Unanswered};
use crate::scenario::{BuildOptions, Cell, SettingsDraft};

use super::Target;

/// What a target can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// True where it can listen without a model until it is told to load: such a target has an idle phase.
    pub can_wait: bool,
    /// Where it says what it holds.
    pub account: AccountSource,
    /// True where a stream may be left before its end. Else it is read to its end before anything else is asked.
    pub can_hang_up: bool,
    /// True where it takes token ids, so that both sides know how many tokens there are.
    pub takes_ids: bool,
    /// What its process is to the harness.
    pub process: ProcessAbility,
}

/// Where a target says what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountSource {
    /// At `/v1/memory`: plan and ledger of every buffer.
    Interface,
    /// In lines of its log, which name some buffers.
    Log(LogKind),
    /// Nowhere.
    Nowhere,
}

/// What a target's process is to the harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessAbility {
    /// A child, started and ended for each trial.
    Started,
    /// Somebody else's, known by its number.
    Known,
    /// Somebody else's, and nobody said which.
    Unknown,
}

/// What a target makes of one setting or build option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingAnswer {
    /// It has it.
    Applied,
    /// It has nothing like it, and runs all the same; why.
    Unanswered(&'static str),
    /// It cannot do what is asked, and must not be measured as if it did; why.
    Refused(&'static str),
}

impl SettingAnswer {
    /// The answer of a target that has nothing like a setting that changes what is measured: its default asks for nothing.
    pub(super) fn only_default(name: &str, value: &str, why: &'static str) -> SettingAnswer {
        if is_default(name, value) { SettingAnswer::Unanswered(why) } else { SettingAnswer::Refused(why) }
    }
}

/// True for the value that a setting or build option has where nobody says otherwise.
fn is_default(name: &str, value: &str) -> bool {
    let settings = SettingsDraft::default().resolve(ledger::Tokens(1)).to_map();
    let build = BuildOptions::default().to_map();
    settings.get(name).or_else(|| build.get(name)).is_some_and(|default| default == value)
}

/// Why `target` must not run `cell`: a setting that it cannot do, or an axis that would not be one. `is_varied` says of a name
/// whether cells of the scenario differ in it.
pub fn unanswerable(target: &dyn Target, cell: &Cell, is_varied: impl Fn(&str) -> bool) -> Option<String> {
    let settings = asked(cell);
    let refused = settings.iter().find_map(|(name, value)| match target.setting(name, value) {
        SettingAnswer::Refused(why) => Some(format!("{} cannot do {name} {value}: {why}", target.name())),
        SettingAnswer::Applied | SettingAnswer::Unanswered(_) => None,
    });
    refused.or_else(|| {
        let mut varied = cell.axes.iter().filter(|(name, _)| is_varied(name));
        varied.find_map(|(name, value)| match target.setting(name, value) {
            SettingAnswer::Unanswered(why) if !is_default(name, value) => Some(format!(
                "the axis {name} means nothing to {}, so that {value} would be measured as any other value: {why}",
                target.name()
            )),
            _ => None,
        })
    })
}

/// Settings and build options of a cell, by name.
fn asked(cell: &Cell) -> Vec<(String, String)> {
    cell.settings.to_map().into_iter().chain(cell.build.to_map()).collect()
}

/// What `target` will not answer about `cell`.
pub fn target_record(target: &dyn Target, cell: &Cell, asks_for_idle: bool) -> TargetRecord {
    let abilities = target.abilities();
    let mut unanswered: Vec<Unanswered> = Vec::new();
    let mut not = |question: Question, why: &str| {
        unanswered.push(Unanswered { question, why: why.to_owned() });
    };
    let is_attached = abilities.process != ProcessAbility::Started;
    if asks_for_idle && !abilities.can_wait {
        let why = if is_attached { "it had loaded before the trial began" } else { "it loads as it starts" };
        not(Question::IdlePhase, why);
    }
    if is_attached {
        not(Question::Unload, "it ran before the trial, and runs on");
    }
    if abilities.process == ProcessAbility::Unknown {
        not(Question::ProcessMemory, "no `pid` says which process of this machine it is");
    }
    match abilities.account {
        AccountSource::Interface => {}
        AccountSource::Log(_) => {
            not(Question::MemoryPlan, "it says what it has allocated, not what it will");
            not(Question::OtherClasses, "its log names some buffers, and is all that it says");
            not(Question::Program, "it is in what is unaccounted");
        }
        AccountSource::Nowhere => {
            not(Question::MemoryPlan, "its interface has no such thing");
            not(Question::Classes, "its interface has no such thing");
        }
    }
    if !abilities.takes_ids {
        not(Question::TokenCounts, "it takes texts, and its streams say nothing of tokens");
    }
    for (name, value) in asked(cell) {
        if let SettingAnswer::Unanswered(why) = target.setting(&name, &value) {
            not(Question::Setting(name), why);
        }
    }
    TargetRecord { kind: target.name().to_owned(), unanswered }
}
