//! What a run shows while it works: a bar on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::fmt;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use ledger::{Bytes, Phase};

use super::Printer;
use crate::engines::Progress;
use crate::interrupt::Interrupt;
use crate::number::{at_least, mib};
use crate::probe::LiveMemory;
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
    cell: RefCell<Place>,
    pace: RefCell<Pace>,
}

/// The cell that is at work.
#[derive(Debug, Default)]
struct Place {
    /// Which of how many.
    at: String,
    /// Its id and what it is of.
    cell: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.cell)
    }
}

/// How fast trials go by: those that are left take as long as those that were run, on average.
#[derive(Debug, Default)]
struct Pace {
    /// When the run began.
    begun: Option<Instant>,
    /// Trials of the run, those that are over, and those of them that were run and not taken over.
    trials: u32,
    over: u32,
    ran: u32,
    /// Time in which engines were built: it is over when the trials of a cell begin, and comes once.
    built: Duration,
    /// Since when one is being built.
    building: Option<Instant>,
}

impl Pace {
    /// What is left, as the end of a line; nothing before a trial was run, or after the last.
    fn left(&self, now: Instant) -> String {
        let rest = self.trials.saturating_sub(self.over);
        match self.begun {
            Some(begun) if self.ran > 0 && rest > 0 => {
                let trials = now.duration_since(begun).saturating_sub(self.built);
                let seconds = trials.as_secs_f64() / f64::from(self.ran) * f64::from(rest);
                match seconds < 90.0 {
                    true => format!(", about {seconds:.0} s left"),
                    false => format!(", about {:.0} min left", seconds / 60.0),
                }
            }
            _ => String::new(),
        }
    }
}

impl<'a> Screen<'a> {
    pub(super) fn new(printer: Printer, interrupt: &'a Interrupt) -> Screen<'a> {
        let terminal = std::io::stderr().is_terminal();
        let (bar, cell, pace) = Default::default();
        Screen { printer, interrupt, terminal, bar, cell, pace }
    }

    fn show(&self, bar: ProgressBar) {
        // The line of the last one goes before the next is drawn below it.
        self.clear();
        bar.enable_steady_tick(Duration::from_millis(120));
        *self.bar.borrow_mut() = Some(bar);
    }

    fn clear(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    /// Which cell is in which phase, what `live` sees, and what is left. What the cell is of stands last: what of it does not fit is
    /// cut, because a line that is broken could not be drawn again in its place.
    fn spin(&self, phase: Phase, live: &LiveMemory) {
        let (place, left) = (self.cell.borrow(), self.pace.borrow().left(Instant::now()));
        let live = live.clone();
        let state = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            if let Some(bytes) = live.resident() {
                let _ = write!(out, ", {} MiB resident", mib(bytes));
            }
            let _ = write!(out, "{left}");
        };
        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed}{state}  {wide_msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("state", state);
        let bar = ProgressBar::new_spinner().with_style(style);
        self.show(bar.with_prefix(format!("{} {phase}", place.at)).with_message(place.cell.clone()));
    }

    fn line(&self, line: &str) {
        self.clear();
        self.printer.note(line);
    }
}

impl Progress for Screen<'_> {
    fn begin(&self, what: &str, total: Option<Bytes>) {
        self.pace.borrow_mut().building.get_or_insert_with(Instant::now);
        if !self.terminal {
            return self.line(what);
        }
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total.0),
                "{wide_msg} [{bar:20}] {binary_bytes} of {binary_total_bytes}, {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {elapsed}  {wide_msg}"),
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
        let mut pace = self.pace.borrow_mut();
        if let Some(since) = pace.building.take() {
            pace.built += since.elapsed();
        }
        self.clear();
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.is_asked()
    }
}

impl Observer for Screen<'_> {
    fn run_begins(&self, folder: &Path, cells: usize, trials: u32, resumed_from: Option<&str>) {
        let all = u32::try_from(cells).unwrap_or(u32::MAX).saturating_mul(trials);
        *self.pace.borrow_mut() = Pace { begun: Some(Instant::now()), trials: all, ..Pace::default() };
        self.line(&format!("{cells} cells, {trials} trial(s) each, into {}", folder.display()));
        if let Some(earlier) = resumed_from {
            self.line(&format!(
                "the run {earlier} did not finish: what it has finished is taken over (--fresh runs it anew)"
            ));
        }
    }

    fn cell_begins(&self, cell: &Cell, at: usize, of: usize) {
        let place = Place { at: format!("[{at}/{of}]"), cell: format!("{} {}", cell.id.0, cell.describe()) };
        if !self.terminal {
            self.line(&place.to_string());
        }
        *self.cell.borrow_mut() = place;
    }

    fn phase_begins(&self, phase: Phase, live: &LiveMemory) {
        if self.terminal {
            self.spin(phase, live);
        }
    }

    fn trial_ends(&self, record: &TrialRecord, taken_over: bool) {
        let how = if taken_over { "RESUMED " } else { "" };
        let mut pace = self.pace.borrow_mut();
        pace.over += 1;
        pace.ran += u32::from(!taken_over);
        let line = format!("{how}{}{}", summary(record), pace.left(Instant::now()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_what_was_run() {
        let begun = Instant::now();
        let pace = |over, ran| Pace { begun: Some(begun), trials: 10, over, ran, ..Pace::default() };
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(pace(0, 0).left(after(60)), "");
        assert_eq!(pace(2, 2).left(after(20)), ", about 80 s left");
        assert_eq!(
            pace(6, 2).left(after(120)),
            ", about 4 min left",
            "trials that were taken over took no time"
        );
        assert_eq!(pace(10, 10).left(after(120)), "");
        let built = Pace { built: Duration::from_secs(100), ..pace(2, 2) };
        assert_eq!(built.left(after(120)), ", about 80 s left", "engines are built once");
    }
}
