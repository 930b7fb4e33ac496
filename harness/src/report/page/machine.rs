//! Where it ran.

use ledger::Bytes;

use crate::number::{count, mib};
use crate::record::{Reading, RunRecord};

/// Name and value of each fact, in the order of the card.
pub(super) fn facts(run: &RunRecord) -> Vec<(&'static str, String)> {
    let machine = &run.machine;
    let known = |text: &str| if text.is_empty() { "not recorded".to_owned() } else { text.to_owned() };
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
        ("sweep", known(&run.program_version)),
        ("Started", run.started_at.clone()),
        ("Finished", run.finished_at.clone().unwrap_or_else(|| "not finished".to_owned())),
        (
            "Taken over from",
            run.resumed_from.clone().unwrap_or_else(|| "nothing; every trial is new".to_owned()),
        ),
    ]
}
