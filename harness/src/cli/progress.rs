//! What a run shows while it works: a bar on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ledger::{Bytes, Phase};

use super::Printer;
use crate::engines::Progress;
use crate::interrupt::Interrupt;
use crate::number::at_least;
use crate::record::{Outcome, TrialRecord};
use crate::scenario::Cell;
use crate::sweep::Observer;
use crate::verdict::device::DeviceEdge;
use crate::verdict::evidence::ended_unread;
use crate::verdict::stack::beside_peak;

/// A run on the screen.
#[derive(Debug)]
pub(super) struct Screen<'a> {
    printer: Printer,
    interrupt: &'a Interrupt,
    terminal: bool,
    bar: RefCell<Option<ProgressBar>>,
    cell: RefCell<String>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(printer: Printer, interrupt: &'a Interrupt) -> Screen<'a> {
        let terminal = std::io::stderr().is_terminal();
        Screen { printer, interrupt, terminal, bar: RefCell::new(None), cell: RefCell::new(String::new()) }
    }

    fn show(&self, bar: ProgressBar) {
        bar.enable_steady_tick(Duration::from_millis(120));
        self.clear();
        *self.bar.borrow_mut() = Some(bar);
    }

    fn clear(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    fn line(&self, line: &str) {
        self.clear();
        self.printer.note(line);
    }
}

impl Progress for Screen<'_> {
    fn begin(&self, what: &str, total: Option<Bytes>) {
        if !self.terminal {
            return self.line(what);
        }
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total.0),
                "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
        };
        let style = ProgressStyle::with_template(template);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.show(bar.with_message(what.to_owned()));
    }

    fn advance(&self, done: Bytes) {
        if let Some(bar) = self.bar.borrow().as_ref() {
            bar.inc(done.0);
        }
    }

    fn end(&self) {
        self.clear();
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.is_asked()
    }
}

impl Observer for Screen<'_> {
    fn run_begins(&self, folder: &Path, cells: usize, trials: u32, resumed_from: Option<&str>) {
        self.line(&format!("{cells} cells, {trials} trial(s) each, into {}", folder.display()));
        if let Some(earlier) = resumed_from {
            self.line(&format!(
                "the run {earlier} did not finish: what it has finished is taken over (--fresh runs it anew)"
            ));
        }
    }

    fn cell_begins(&self, cell: &Cell, at: usize, of: usize) {
        *self.cell.borrow_mut() = format!("[{at}/{of}] {} {}", cell.id.0, cell.describe());
        if !self.terminal {
            self.line(&self.cell.borrow());
        }
    }

    fn phase_begins(&self, phase: Phase) {
        if self.terminal {
            self.begin(&format!("{} {phase}", self.cell.borrow()), None);
        }
    }

    fn trial_ends(&self, record: &TrialRecord, taken_over: bool) {
        let how = if taken_over { "RESUMED " } else { "" };
        let line = format!("{how}{}", summary(record));
        if self.terminal {
            self.line(&format!("{}: {line}", self.cell.borrow()));
        } else {
            self.line(&format!("    {line}"));
        }
    }
}

/// A trial in one line.
fn summary(record: &TrialRecord) -> String {
    let mut parts = vec![match &record.outcome {
        Outcome::Completed => "completed".to_owned(),
        Outcome::OutOfMemory { phase, evidence } => format!("OUT OF MEMORY in {phase}: {evidence}"),
        Outcome::GuardKill { phase, available_bytes, .. } => {
            format!(
                "STOPPED BY THE GUARD in {phase}: {available_bytes} of the machine's memory were available"
            )
        }
        Outcome::CoResidentEnded { phase, name, signal, exit_code } => {
            let how = match (signal, exit_code) {
                (Some(signal), _) => format!("signal {signal}"),
                (None, code) => format!("exit code {}", code.unwrap_or(-1)),
            };
            format!("STOPPED in {phase}: the co-resident {name} ended ({how})")
        }
        Outcome::TimedOut { phase, limit_ms } => {
            format!("TIMED OUT in {phase} after {:.1} s", limit_ms.0 / 1e3)
        }
        Outcome::Crashed { phase, signal: Some(signal), .. } => {
            format!("CRASHED in {phase}: signal {signal}")
        }
        Outcome::Crashed { phase, exit_code, .. } => {
            let (code, said) = (exit_code.unwrap_or(-1), record.last_words());
            format!("CRASHED in {phase}: it ended with exit code {code}{said}")
        }
        Outcome::Failed { phase, message } => format!("FAILED in {phase}: {message}"),
        Outcome::Interrupted => "interrupted".to_owned(),
    }];
    if let Some(peak) = record.peak_resident() {
        let mark = at_least(record.phases.iter().any(ended_unread));
        parts.push(format!("peak {mark}{:.1} MiB", peak.as_mib()));
    }
    let on_device = record.phases.iter().filter_map(|phase| Some(DeviceEdge::of(phase)?.used_bytes));
    if let Some(most) = on_device.max() {
        parts.push(format!("{:.1} MiB on the device", most.as_mib()));
    }
    if let Some(most) = beside_peak(record) {
        parts.push(format!("{:.1} MiB beside it", most.as_mib()));
    }
    for request in &record.requests {
        let speeds = [
            (request.prefill_tokens_per_second(), "prefill"),
            (request.decode_tokens_per_second(), "decode"),
        ];
        let speeds =
            speeds.into_iter().filter_map(|(speed, what)| Some(format!("{what} {:.1} tokens/s", speed?)));
        parts.extend(speeds);
    }
    parts.join(", ")
}
