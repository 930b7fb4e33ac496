//! Where it ran.

use ledger::Bytes;

use crate::number::{count, grouped, mib};
use crate::record::{MachineCard, Reading, Run, RunRecord};

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

/// The machine in short, the state that its trials were measured in, and how well they were sampled.
pub(in crate::report) fn fingerprint(run: &Run) -> Vec<(&'static str, String)> {
    let mut facts: Vec<(&'static str, String)> = Vec::new();
    if let Some(machine) = &run.record.machine {
        facts.push((
            "Machine",
            format!("{}, {} MiB, kernel {}", machine.cpu, mib(machine.memory_bytes), machine.kernel),
        ));
    }
    let mut hashes: Vec<&str> = run
        .trials
        .iter()
        .filter_map(|trial| Some(trial.record.environment.as_ref()?.sha256.as_str()))
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    facts.push((
        "Fingerprint",
        match hashes.as_slice() {
            [] => "not recorded".to_owned(),
            [only] => format!("{}, the same in every trial", short(only)),
            several => format!("{} different ones: trials cannot be compared", several.len()),
        },
    ));
    let health = || run.trials.iter().map(|trial| &trial.record.sampler);
    let samples: u64 = health().map(|one| one.samples).sum();
    facts.push((
        "Sampler",
        match (samples, health().map(|one| one.longest_gap_us).max()) {
            (0, _) | (_, None) => "no sample was taken".to_owned(),
            (_, Some(gap)) => format!(
                "{} samples, {} ticks missed, longest gap {} ms",
                count(samples),
                count(health().map(|one| one.missed_ticks).sum()),
                grouped(gap.as_millis().0, 1)
            ),
        },
    ));
    facts.push(("sweep", run.record.program_version.clone()));
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
