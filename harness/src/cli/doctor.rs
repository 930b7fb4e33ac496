//! `sweep doctor`.

use ledger::{Bytes, Reading};

use super::arguments::DoctorArguments;
use super::{CliError, Printer, scenario_path, system_root};
use crate::doctor::{Diagnosis, DiskCheck, Finding, NeedState, ProbeState, check_needs};
use crate::probe::GpuWitness;
use crate::scenario::load;
use crate::verdict::ExitCode;

/// Shows what can be measured here, and in which state the machine is.
pub(super) fn doctor(arguments: &DoctorArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let scenario = arguments.scenario.as_deref().map(|named| load(&scenario_path(named))).transpose()?;
    let root = system_root(arguments.root.as_deref())?;
    let mut diagnosis = Diagnosis::of(&root, &arguments.disk, DiskCheck::Rate);
    if let Some(scenario) = &scenario {
        diagnosis.needs = check_needs(&scenario.needs, &diagnosis);
    }
    if arguments.json {
        printer.json(&diagnosis)?;
    } else {
        printer.text(&text(&diagnosis))?;
        if scenario.is_some() && diagnosis.needs.is_empty() {
            printer.line("\nThe scenario needs nothing of the machine.")?;
        }
    }
    let met = diagnosis.needs.iter().all(|need| need.met);
    Ok(if met { ExitCode::Pass } else { ExitCode::EnvironmentRefused })
}

/// The whole answer.
fn text(diagnosis: &Diagnosis) -> String {
    let (works, missing): (Vec<&ProbeState>, Vec<&ProbeState>) =
        diagnosis.probes.iter().partition(|probe| probe.works());
    let mut text = machine(diagnosis);
    text.push_str("\nCan be measured\n");
    let head = ["probe", "now", "one reading takes"].map(str::to_owned);
    let rows = std::iter::once(head).chain(works.into_iter().map(working));
    text.push_str(&columns(&rows.collect::<Vec<_>>()));
    if !missing.is_empty() {
        text.push_str("\nCannot be measured\n");
        text.push_str(&missing.iter().map(|probe| absent(probe)).collect::<String>());
    }
    text.push_str("\nState\n");
    text.push_str(&state(diagnosis));
    if !diagnosis.findings.is_empty() {
        text.push_str("\nDoubts\n");
        text.push_str(&diagnosis.findings.iter().map(doubt).collect::<String>());
    }
    if !diagnosis.needs.is_empty() {
        text.push_str("\nNeeds of the scenario\n");
        text.push_str(&diagnosis.needs.iter().map(need).collect::<String>());
    }
    text
}

fn machine(diagnosis: &Diagnosis) -> String {
    let board = &diagnosis.board;
    let model = board.model.measured().map_or("a machine that does not say what it is", String::as_str);
    let mut parts = vec![model.to_owned()];
    parts.extend(board.l4t.measured().map(|release| format!("Jetson Linux {release}")));
    parts.extend(board.kernel.measured().map(|kernel| format!("kernel {kernel}")));
    parts.extend(board.cuda.measured().map(|version| format!("CUDA {version}")));
    if diagnosis.recorded {
        parts.push("recorded".to_owned());
    }
    format!("{}\n", parts.join(", "))
}

fn working(probe: &ProbeState) -> [String; 3] {
    let took =
        probe.took_us.measured().map_or_else(|| probe.card.cost.clone(), |took| format!("{} µs", took.0));
    let now = probe.now.measured().cloned().unwrap_or_default();
    [probe.card.id.clone(), now, took]
}

fn absent(probe: &ProbeState) -> String {
    let mut text = format!("  {}: {}\n", probe.card.id, probe.why_not().unwrap_or_default());
    if let Some(remedy) = &probe.remedy {
        text.push_str(&format!("      {remedy}\n"));
    }
    text
}

fn state(diagnosis: &Diagnosis) -> String {
    let memory = &diagnosis.memory;
    let size = |reading: &Reading<Bytes>| or_na(reading, Bytes::to_string);
    let mut rows = vec![(
        "memory",
        format!(
            "{} in all, {} available, {} free, {} page cache",
            size(&memory.total_bytes),
            size(&memory.available_bytes),
            size(&memory.free_bytes),
            size(&memory.page_cache_bytes)
        ),
    )];
    let signed = |bytes: &i64| {
        let sign = if *bytes < 0 { "−" } else { "" };
        format!("{sign}{} that no line of /proc/meminfo owns", Bytes(bytes.unsigned_abs()))
    };
    rows.push(("unaccounted", or_na(&memory.unaccounted_bytes, signed)));
    rows.push(("swap", swap(diagnosis)));
    rows.push(("GPU memory", or_na(&diagnosis.gpu.counted_by, |witness| witness_words(*witness).to_owned())));
    let locked = |locked: &bool| if *locked { "locked" } else { "follow the load" }.to_owned();
    rows.push(("clocks", or_na(&diagnosis.clocks.locked, locked)));
    rows.push(("disk", disk(diagnosis)));
    columns(&rows.into_iter().map(|(name, text)| [name.to_owned(), text]).collect::<Vec<_>>())
}

/// Rows of text, every column to the left, behind two spaces.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("  {cell:<width$}"));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}

fn swap(diagnosis: &Diagnosis) -> String {
    let swap = &diagnosis.swap;
    match (&swap.size_bytes, &swap.used_bytes) {
        (Reading::Measured(Bytes::ZERO), _) => "none".to_owned(),
        (Reading::Measured(size), Reading::Measured(used)) => format!("{used} of {size} used"),
        (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => format!("n/a: {why}"),
    }
}

fn disk(diagnosis: &Diagnosis) -> String {
    let disk = &diagnosis.disk;
    let rate = or_na(&disk.read_bytes_per_second, |rate| format!("reads {} a second", Bytes(*rate)));
    match &disk.free_bytes {
        Reading::Measured(free) => format!("{free} free, {rate} ({})", disk.folder.display()),
        Reading::Unavailable(why) => format!("n/a: {why}"),
    }
}

fn witness_words(witness: GpuWitness) -> &'static str {
    match witness {
        GpuWitness::Nvml => "counted by process (NVML)",
        GpuWitness::Nvmap => "counted by process (nvmap)",
        GpuWitness::Estimate => "estimated, for the whole machine",
    }
}

fn doubt(finding: &Finding) -> String {
    let mut text = format!("  {}: {}\n", finding.subject, finding.says);
    if let Some(remedy) = &finding.remedy {
        text.push_str(&format!("      {remedy}\n"));
    }
    text
}

fn need(state: &NeedState) -> String {
    match (state.met, &state.remedy) {
        (true, _) => format!("  met      {}\n", state.need),
        (false, None) => format!("  NOT MET  {}\n", state.line()),
        (false, Some(remedy)) => format!("  NOT MET  {}\n      {remedy}\n", state.line()),
    }
}

fn or_na<T>(reading: &Reading<T>, form: impl Fn(&T) -> String) -> String {
    match reading {
        Reading::Measured(value) => form(value),
        Reading::Unavailable(why) => format!("n/a: {why}"),
    }
}
