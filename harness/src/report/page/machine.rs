//! Where it ran.

use ledger::Bytes;

use crate::number::{count, mib};
use crate::record::{MachineCard, Reading, RunRecord};

/// Name and value of each fact, in the order of the card.
pub(super) fn facts(run: &RunRecord) -> Vec<(&'static str, String)> {
    let known = |text: &str| if text.is_empty() { "not recorded".to_owned() } else { text.to_owned() };
    let mut facts = match &run.machine {
        Some(machine) => of_machine(machine, known),
        None => vec![("Machine", "logs do not say on which one they were written".to_owned())],
    };
    facts.extend([
        ("sweep", known(&run.program_version)),
        ("Started", run.started_at.clone()),
        ("Finished", run.finished_at.clone().unwrap_or_else(|| "not finished".to_owned())),
    ]);
    if run.machine.is_some() {
        let from = run.resumed_from.clone().unwrap_or_else(|| "nothing; every trial is new".to_owned());
        facts.push(("Taken over from", from));
    }
    facts
}

fn of_machine(machine: &MachineCard, known: impl Fn(&str) -> String) -> Vec<(&'static str, String)> {
    let gpus = match &machine.gpus {
        Reading::Measured(names) if names.is_empty() => "none".to_owned(),
        Reading::Measured(names) => names.join(", "),
        Reading::Unavailable(why) => why.clone(),
    };
    vec![
        (
            "Processor",
            format!(
                "{}, {} logical processors, {}",
                known(&machine.cpu),
                machine.cores,
                machine.architecture
            ),
        ),
        ("Main memory", format!("{} MiB", mib(machine.memory_bytes))),
        (
            "Swap",
            if machine.swap_bytes == Bytes::ZERO {
                "none".to_owned()
            } else {
                format!("{} MiB", mib(machine.swap_bytes))
            },
        ),
        ("Memory page", format!("{} B", count(machine.page_bytes.0))),
        ("GPU", gpus),
        ("System", format!("{}, kernel {}", known(&machine.system), known(&machine.kernel))),
    ]
}
