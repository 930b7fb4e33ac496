//! Demands on the machine: probes must have names that are known.

use super::Mistakes;
use crate::probe::PROBE_IDS;
use crate::scenario::Needs;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::file::ScenarioFile;

/// The meaning of `needs`.
pub(super) fn needs_of(file: &ScenarioFile, mistakes: &mut Mistakes) -> Needs {
    let needs = &file.needs;
    if let Some(mode) = needs.power_mode.as_ref().filter(|mode| mode.0.trim().is_empty()) {
        mistakes.push(Diagnostic::new("a power mode needs a name", mode.span.clone()));
    }
    for probe in needs.probes.iter().filter(|probe| !PROBE_IDS.contains(&probe.value.as_str())) {
        let text = format!("there is no probe `{}`", probe.value);
        mistakes.push(Diagnostic::new(text, probe.span.clone()).suggest(&probe.value, PROBE_IDS));
    }
    Needs {
        available_memory: needs.available_memory.map(|size| size.0),
        free_disk: needs.free_disk.map(|size| size.0),
        no_swap: needs.swap.is_some(),
        power_mode: needs.power_mode.as_ref().map(|mode| mode.0.clone()),
        locked_clocks: needs.clocks.is_some(),
        probes: needs.probes.iter().map(|probe| probe.value.clone()).collect(),
    }
}
