//! What a scenario asks of the machine. What could not be measured is not met.

use std::fmt::Display;

use ledger::{Bytes, Reading};
use serde::Serialize;

use super::diagnosis::Diagnosis;
use crate::scenario::Needs;

/// One demand, and whether the machine meets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NeedState {
    /// The demand, as the scenario spells it, for example `swap: none`.
    pub need: String,
    /// True where it is met.
    pub met: bool,
    /// What is there instead; why it is not known; empty where it is met.
    pub says: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl NeedState {
    /// The demand and what stands against it, in one line.
    pub fn line(&self) -> String {
        format!("{}: {}", self.need, self.says)
    }
}

/// Holds the machine against `needs`.
pub fn check_needs(needs: &Needs, diagnosis: &Diagnosis) -> Vec<NeedState> {
    let mut states = Vec::new();
    let finding = |subject: &str| {
        let found = diagnosis.findings.iter().find(|finding| finding.subject == subject);
        found.and_then(|finding| finding.remedy.clone())
    };
    let at_least = |name: &str, least: Bytes, there: &Reading<Bytes>, what: &str| {
        let need = format!("{name}: {least}");
        state(need, there, |there| *there >= least, |there| format!("{there} {what}"), None)
    };
    if let Some(least) = needs.available_memory {
        states.push(at_least("availableMemory", least, &diagnosis.memory.available_bytes, "are available"));
    }
    if let Some(least) = needs.free_disk {
        states.push(at_least("freeDisk", least, &diagnosis.disk.free_bytes, "are free"));
    }
    if needs.no_swap {
        let size = &diagnosis.swap.size_bytes;
        let need = "swap: none".to_owned();
        states.push(state(
            need,
            size,
            |size| size.0 == 0,
            |size| format!("{size} are there"),
            finding("swap"),
        ));
    }
    if let Some(wanted) = &needs.power_mode {
        let mode = diagnosis.power_mode.clone().map(|mode| mode.name.unwrap_or_else(|| mode.id.to_string()));
        let need = format!("powerMode: {wanted}");
        states.push(state(need, &mode, |mode| mode == wanted, |mode| format!("it is {mode}"), None));
    }
    if needs.locked_clocks {
        let locked = &diagnosis.clocks.locked;
        let says = |_: &bool| "they follow the load".to_owned();
        states.push(state("clocks: locked".to_owned(), locked, |locked| *locked, says, finding("clocks")));
    }
    states.extend(needs.probes.iter().map(|id| probe(id, diagnosis)));
    states
}

fn state<T>(
    need: String,
    there: &Reading<T>,
    met: impl Fn(&T) -> bool,
    says: impl Fn(&T) -> String,
    remedy: Option<String>,
) -> NeedState {
    match there {
        Reading::Measured(there) if met(there) => {
            NeedState { need, met: true, says: String::new(), remedy: None }
        }
        Reading::Measured(there) => NeedState { need, met: false, says: says(there), remedy },
        Reading::Unavailable(why) => NeedState { need, met: false, says: unknown(why), remedy },
    }
}

fn unknown(why: impl Display) -> String {
    format!("it is not known: {why}")
}

fn probe(id: &str, diagnosis: &Diagnosis) -> NeedState {
    let need = format!("probes: {id}");
    match diagnosis.probe(id) {
        Some(probe) if probe.works() => NeedState { need, met: true, says: String::new(), remedy: None },
        Some(probe) => {
            let says = probe.why_not().unwrap_or_default().to_owned();
            NeedState { need, met: false, says, remedy: probe.remedy.clone() }
        }
        None => NeedState { need, met: false, says: "there is no such probe".to_owned(), remedy: None },
    }
}
