//! What two measurements must have in common to be held against each other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::record::{CellRecord, EnvironmentRecord, MachineCard, Reading, Run, TrialRecord};
use ledger::{Phase, Tokens};

/// The version of the program under test is what a comparison is about, so that it is no part of its conditions.
const COMPARED: &str = "sweep";

/// Name to value: the machine, how the target was started and built, and what was asked of it. What could not be read is left
/// out, and differs from what could.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// That of `trial` of `cell` in `run`.
    pub fn of(run: &Run, cell: &CellRecord, trial: &TrialRecord) -> Fingerprint {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut put = |name: &str, value: String| drop(fields.insert(name.to_owned(), value));
        for (name, value) in trial.environment.iter().flat_map(|environment| &environment.facts) {
            if let Some(value) = value.measured().filter(|_| name != COMPARED) {
                put(&format!("machine.{name}"), value.clone());
            }
        }
        if let Some(card) = &run.record.machine {
            put("machine.cpu", card.cpu.clone());
            put("machine.cores", card.cores.to_string());
            put("machine.page_bytes", card.page_bytes.0.to_string());
            if let Reading::Measured(gpus) = &card.gpus {
                put("machine.gpus", gpus.join(", "));
            }
        }
        put("model", cell.source.clone());
        cell.settings.iter().for_each(|(name, value)| put(&format!("setting.{name}"), value.clone()));
        cell.build.iter().for_each(|(name, value)| put(&format!("build.{name}"), value.clone()));
        if let Some(target) = &trial.target {
            put("target", target.kind.clone());
        }
        put("phases", phases(trial));
        let beside =
            trial.phases.iter().flat_map(|phase| &phase.co_residents).map(|beside| beside.name.as_str());
        let beside: BTreeSet<&str> = beside.collect();
        if !beside.is_empty() {
            put("beside", beside.into_iter().collect::<Vec<_>>().join(", "));
        }
        put("record_format", trial.format_version.to_string());
        Fingerprint(fields)
    }

    /// Fields in which `now` differs, each with both values.
    pub fn differences(&self, now: &Fingerprint) -> Vec<String> {
        let mut names: Vec<&String> = self.0.keys().chain(now.0.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let unknown = || "unknown".to_owned();
        let differs = |name: &String| {
            let (before, after) = (self.0.get(name), now.0.get(name));
            let words = || {
                let [before, after] = [before, after].map(|value| value.cloned().unwrap_or_else(unknown));
                format!("{name} was {before} and is {after}")
            };
            (before != after).then(words)
        };
        names.into_iter().filter_map(differs).collect()
    }
}

/// What was asked for, in words: `load, prefill 2 × 1024 tokens, decode 2 × 1024 tokens, settle`.
fn phases(trial: &TrialRecord) -> String {
    let asked = |phase: Phase| {
        let mut prompts: BTreeMap<Tokens, usize> = BTreeMap::new();
        let requests = trial.requests.iter().filter(|request| request.phase == phase);
        requests.for_each(|request| *prompts.entry(request.prompt_tokens).or_default() += 1);
        let words: Vec<String> =
            prompts.iter().map(|(tokens, count)| format!(" {count} × {} tokens", tokens.0)).collect();
        format!("{phase}{}", words.join(" and"))
    };
    let words: Vec<String> = trial.phases.iter().map(|phase| asked(phase.phase)).collect();
    words.join(", ")
}

/// What a board's baseline is called: the board's model, else the processor's name, in small letters and dashes.
pub fn board_name(environment: Option<&EnvironmentRecord>, machine: Option<&MachineCard>) -> String {
    let board = environment.and_then(|environment| environment.facts.get("board")?.measured().cloned());
    let name = board.or_else(|| Some(machine?.cpu.clone())).unwrap_or_default();
    let words: Vec<String> = name
        .to_lowercase()
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    if words.is_empty() { "unknown".to_owned() } else { words.join("-") }
}
