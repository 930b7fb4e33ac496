//! A trial's way through its phases: what happens around the work of each.

use std::io;
use std::time::Duration;

use ledger::{Bytes, Micros, Phase};

use super::TrialPlan;
use super::edge::{EdgeProbes, unreadable};
use super::outcome::Stop;
use super::phases::{Deadline, Session};
use super::start::SeriesOfTrial;
use crate::clock::TrialClock;
use crate::probe::{Conditions, LiveMemory, SystemMemory};
use crate::record::{ConditionsReading, Disturbance, EdgeReading, Journal, PhaseRecord, Reading, TrialEvent};
use crate::target::ProcessAbility;

/// A trial while its phases run.
pub(super) struct Trial<'a> {
    pub(super) plan: TrialPlan<'a>,
    pub(super) session: Session<'a>,
    pub(super) series: SeriesOfTrial,
    pub(super) system: SystemMemory,
    pub(super) conditions: Conditions,
    /// The machine before the trial, with its throttle counters and clocks as they were last read.
    pub(super) state: ConditionsReading,
    pub(super) journal: Journal,
    pub(super) clock: TrialClock,
    pub(super) planned: bool,
}

impl Trial<'_> {
    /// Goes through the phases. Returns where and why it stopped, or `None` where it went through all of them.
    pub(super) async fn phases(
        &mut self,
        waits_for_go: bool,
        entered: &mut dyn FnMut(Phase, &LiveMemory),
    ) -> io::Result<Option<(Phase, Stop)>> {
        let phases = self.plan.scenario.phases;
        for phase in phases.listed() {
            if phase == Phase::Idle && !waits_for_go {
                continue;
            }
            if phase == Phase::Unload && self.session.abilities.process != ProcessAbility::Started {
                continue;
            }
            entered(phase, self.series.sampler.live());
            let started = self.begin(phase)?;
            let mut result = self.work(phase).await;
            let ended = self.clock.now();
            self.end(phase, started, ended, result.as_ref().err()).await?;
            if phase == Phase::Decode || (phase == Phase::Prefill && !self.stream_goes_on()) {
                // The end of the phase has been read: the sequence may go now.
                let closed = self.session.close(Deadline::after(self.timeout(phase))).await;
                if result.is_ok() {
                    result = closed;
                }
            }
            if let Err(stop) = result {
                return Ok(Some((phase, stop)));
            }
        }
        Ok(None)
    }

    fn stream_goes_on(&self) -> bool {
        self.plan.scenario.phases.decode.is_some_and(|decode| decode.prompt.is_none())
    }

    fn timeout(&self, phase: Phase) -> Duration {
        let phases = self.plan.scenario.phases;
        let of_phase = match phase {
            Phase::Prefill => phases.prefill.map(|prefill| prefill.timeout),
            Phase::Decode => phases.decode.map(|decode| decode.timeout),
            _ => None,
        };
        of_phase.unwrap_or(phases.unload_timeout)
    }

    async fn work(&mut self, phase: Phase) -> Result<(), Stop> {
        let phases = self.plan.scenario.phases;
        let wait = match phase {
            Phase::Idle => phases.idle,
            Phase::Settle => phases.settle,
            _ => None,
        };
        match phase {
            Phase::Idle | Phase::Settle => {
                let Some(wait) = wait else { return Ok(()) };
                let deadline = Deadline::after(wait.timeout);
                self.session.wait_for_address(deadline).await?;
                self.session.wait(wait.lasts, deadline).await
            }
            Phase::Load => self.session.load(Deadline::after(phases.load_timeout)).await,
            Phase::Prefill => {
                let Some(prefill) = phases.prefill else { return Ok(()) };
                let goes_on =
                    phases.decode.filter(|decode| decode.prompt.is_none()).map(|decode| decode.output);
                let deadline = Deadline::after(prefill.timeout);
                let requests = self.session.prefill(prefill, goes_on, deadline).await?;
                requests.into_iter().try_for_each(|request| self.note(TrialEvent::Request(request)))
            }
            Phase::Decode => {
                let Some(decode) = phases.decode else { return Ok(()) };
                let request = self.session.decode(decode, Deadline::after(decode.timeout)).await?;
                self.note(TrialEvent::Request(request))
            }
            Phase::Unload => self.session.unload(Deadline::after(phases.unload_timeout)).await,
        }
    }

    /// Writes an event in the middle of a phase; a record that cannot be written ends the trial.
    fn note(&mut self, event: TrialEvent) -> Result<(), Stop> {
        self.journal
            .append(event)
            .map_err(|error| Stop::Failed(format!("the record cannot be written: {error}")))
    }

    fn begin(&mut self, phase: Phase) -> io::Result<Micros> {
        self.series.sampler.process().refresh();
        if let Err(why) = self.series.sampler.process().reset_peak() {
            self.journal.append(TrialEvent::Warning(format!(
                "the peak of {phase} may be that of an earlier phase: {why}"
            )))?;
        }
        for why in self.session.co_residents.begin_phase() {
            self.journal.append(TrialEvent::Warning(format!(
                "the peak of a co-resident in {phase} may be that of an earlier phase: {why}"
            )))?;
        }
        self.series.sampler.take_high_water();
        let started = self.clock.now();
        self.journal.append(TrialEvent::PhaseStarted { phase, at_us: started })?;
        Ok(started)
    }

    /// Reads the edge and writes the phase.
    async fn end(
        &mut self,
        phase: Phase,
        started: Micros,
        ended: Micros,
        stop: Option<&Stop>,
    ) -> io::Result<()> {
        let peak = self.peak(phase)?;
        let gone = matches!(stop, Some(Stop::Exited(_))) || (phase == Phase::Unload && stop.is_none());
        let end = if gone {
            unreadable("the target's process has ended", &self.system, &self.conditions).await
        } else {
            self.edge(stop).await?
        };
        for cause in end.conditions.slowed_since(&self.state) {
            self.journal.append(TrialEvent::Disturbed(Disturbance { phase, cause }))?;
        }
        self.state.follow(&end.conditions);
        // Asking for the ledger is work, too: what is resident afterwards belongs to the phase's peak.
        let peak = match (peak, end.resident.measured()) {
            (Reading::Measured(peak), Some(resident)) => Reading::Measured(peak.max(resident.total())),
            (peak, _) => peak,
        };
        for short in self.session.co_residents.shortfalls() {
            self.journal.append(TrialEvent::Warning(short))?;
        }
        let record = PhaseRecord {
            phase,
            started_us: started,
            ended_us: ended,
            peak_resident_bytes: peak,
            end,
            co_residents: self.session.co_residents.read(&self.conditions, self.plan.gpu),
        };
        self.journal.append(TrialEvent::PhaseEnded(Box::new(record)))
    }

    /// The kernel's high-water mark, or the highest one that the sampler saw where the process is gone.
    fn peak(&mut self, phase: Phase) -> io::Result<Reading<Bytes>> {
        self.series.sampler.process().refresh();
        let seen = self.series.sampler.take_high_water();
        let Some(tree) = self.series.sampler.process().read_now() else {
            let why = self.series.sampler.process().why_empty();
            let gone = || Reading::Unavailable(format!("there was nothing to sample: {why}"));
            return Ok(seen.map_or_else(gone, Reading::Measured));
        };
        if tree.processes > 1 {
            let warning = format!(
                "the peak of {phase} is an upper bound: the sum of {} processes' peaks, which need not coincide",
                tree.processes
            );
            self.journal.append(TrialEvent::Warning(warning))?;
        }
        Ok(Reading::Measured(tree.high_water))
    }

    async fn edge(&mut self, stop: Option<&Stop>) -> io::Result<EdgeReading> {
        let probes = EdgeProbes {
            process: self.series.sampler.process(),
            system: &self.system,
            gpu: self.plan.gpu,
            conditions: &self.conditions,
        };
        let account = match stop {
            Some(_) => Reading::Unavailable(
                "the phase did not come to its end, so the target was not asked".to_owned(),
            ),
            None => self.session.account().await,
        };
        let edge = probes.read(&account).await;
        match account {
            Reading::Measured(account) => {
                if !self.planned && !account.plan.buffers.is_empty() {
                    self.planned = true;
                    self.journal.append(TrialEvent::Plan(account.plan))?;
                }
                self.journal.append(TrialEvent::Ledger(Reading::Measured(account.ledger)))?;
            }
            Reading::Unavailable(why) if stop.is_none() => {
                self.journal.append(TrialEvent::Ledger(Reading::Unavailable(why)))?;
            }
            Reading::Unavailable(_) => {}
        }
        Ok(edge)
    }
}
