//! From the start of a target's process to the end of its tree.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::{Bytes, Micros, Phase};

use super::edge::{EdgeProbes, unreadable};
use super::log_tail::log_tail;
use super::outcome::{MemoryEvidence, Stop, outcome};
use super::phases::{Deadline, Session};
use crate::clock::{TrialClock, wall_clock};
use crate::engines::Engine;
use crate::interrupt::Interrupt;
use crate::probe::{Gpu, GpuSeries, MemoryProbe, ProcRoot, Sampler, SamplerOptions, SystemMemory};
use crate::record::{
    EdgeReading, Journal, Outcome, PhaseRecord, Reading, SamplerHealth, TrialEvent, TrialPaths, TrialRecord,
};
use crate::scenario::{Cell, Scenario};
use crate::target::{Child, ChildOptions, Client, Guardian, Launch, MemoryCgroup, Target};

/// Everything that a trial is made of.
#[derive(Clone, Copy)]
pub struct TrialPlan<'a> {
    /// What is asked for.
    pub scenario: &'a Scenario,
    /// The cell.
    pub cell: &'a Cell,
    /// Which trial of the cell, from 0.
    pub trial: u32,
    /// The cell's engine.
    pub engine: &'a Engine,
    /// What runs it.
    pub target: &'a dyn Target,
    /// Where the record goes.
    pub paths: &'a TrialPaths,
    /// GPU memory, or why there is none.
    pub gpu: &'a Arc<Gpu>,
    /// Whether someone asks to stop.
    pub interrupt: &'a Interrupt,
}

/// The harness itself failed; what a target does wrong is an [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The record cannot be written.
    #[error("write the record of the trial {}: {source}", path.display())]
    Record {
        /// The trial's journal.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// This program cannot run a trial at all.
    #[error("prepare a trial: {0}")]
    Prepare(io::Error),
}

/// Runs one trial. `entered` is told of every phase as it begins.
pub fn run_trial(
    plan: TrialPlan<'_>,
    guardian: Option<&mut Guardian>,
    entered: &mut dyn FnMut(Phase),
) -> Result<TrialRecord, TrialError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(TrialError::Prepare)?;
    runtime.block_on(run(plan, guardian, entered))
}

async fn run(
    plan: TrialPlan<'_>,
    mut guardian: Option<&mut Guardian>,
    entered: &mut dyn FnMut(Phase),
) -> Result<TrialRecord, TrialError> {
    let clock = TrialClock::start();
    let root = ProcRoot::default();
    let system = SystemMemory::open(&root);
    let failed = |source| TrialError::Record { path: plan.paths.journal.clone(), source };
    let journal = Journal::create(&plan.paths.journal, plan.cell.record(), plan.trial, wall_clock());
    let mut journal = journal.map_err(failed)?;
    let kills_before = system.oom_kills();
    let mut held = Held::for_trial(&plan, &mut journal).map_err(failed)?;
    let phases = plan.scenario.phases;
    let waits_for_go = phases.idle.is_some() && plan.target.can_wait();
    let first_phase = if waits_for_go { Phase::Idle } else { Phase::Load };

    let port_file = plan.paths.log.with_extension("port");
    let started = start(&plan, &mut held, &port_file, waits_for_go, &root);
    let (child, series) = match started.and_then(|child| sample(&plan, child, clock, &root)) {
        Ok(started) => started,
        Err(error) => {
            let message = format!("the target {} cannot be started: {error}", plan.target.name());
            let outcome = Outcome::Failed { phase: first_phase, message };
            let log_tail = log_tail(&plan.paths.log);
            journal.append(TrialEvent::Ended { outcome, log_tail }).map_err(failed)?;
            return Ok(journal.record().clone());
        }
    };
    let pid = child.id();
    plan.interrupt.guard_group(pid);
    if let Some(guardian) = &mut guardian {
        guardian.watch(pid);
    }
    journal.append(TrialEvent::TargetStarted { pid, at_us: clock.now() }).map_err(failed)?;
    let probes = vec![child.memory().card(), system.card(), plan.gpu.card()];
    journal.append(TrialEvent::Probes(probes)).map_err(failed)?;
    if phases.idle.is_some() && !waits_for_go {
        let warning = format!("the target {} has no idle state: that phase was left out", plan.target.name());
        journal.append(TrialEvent::Warning(warning)).map_err(failed)?;
    }

    let session = Session {
        child,
        client: None,
        port_file: port_file.clone(),
        cell: plan.cell,
        vocab_size: plan.engine.vocab_size,
        seed: plan.scenario.seed,
        clock,
        interrupt: plan.interrupt,
        sent: 0,
        open: None,
    };
    let mut trial = Trial { plan, session, series, system, journal, clock, planned: false };
    let stopped = trial.phases(waits_for_go, entered).await.map_err(failed)?;
    let _ = std::fs::remove_file(&port_file);

    // Whatever happened, nothing of the target is left after this.
    let Trial { mut session, series, system, mut journal, .. } = trial;
    session.open = None;
    let (ending, left) = session.child.kill_tree();
    plan.interrupt.guard_group(0);
    if let Some(guardian) = &mut guardian {
        guardian.watch(0);
    }
    if stopped.is_none() && left > 0 {
        let warning = format!("the target ended and left {left} of its processes behind; they were killed");
        journal.append(TrialEvent::Warning(warning)).map_err(failed)?;
    }
    match series.finish() {
        Ok(health) => journal.append(TrialEvent::Sampler(health)).map_err(failed)?,
        Err(source) => return Err(TrialError::Record { path: plan.paths.samples.clone(), source }),
    }
    let log_tail = log_tail(&plan.paths.log);
    let outcome = match stopped {
        None => Outcome::Completed,
        Some((phase, stop)) => {
            let stop = match (stop, ending) {
                (Stop::Exited(_), Some(ending)) => Stop::Exited(ending),
                (stop, _) => stop,
            };
            let since = |before: u64| system.oom_kills().unwrap_or(before).saturating_sub(before);
            let memory = MemoryEvidence {
                cgroup_kills: held.cgroup.as_ref().map_or(0, MemoryCgroup::oom_kills),
                machine_kills: kills_before.map_or(0, since),
            };
            outcome(stop, phase, memory, &log_tail)
        }
    };
    journal.append(TrialEvent::Ended { outcome, log_tail }).map_err(failed)?;
    Ok(journal.record().clone())
}

/// What keeps a target within its memory limit.
#[derive(Default)]
struct Held {
    cgroup: Option<MemoryCgroup>,
    address_space: Option<Bytes>,
}

impl Held {
    /// A cgroup where one can be made, else a limit on the address space, and a word about it.
    fn for_trial(plan: &TrialPlan<'_>, journal: &mut Journal) -> io::Result<Held> {
        let Some(limit) = plan.scenario.memory_limit else { return Ok(Held::default()) };
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = format!("sweep-{}-{}-{}", std::process::id(), plan.cell.id.0, plan.trial);
        match MemoryCgroup::create(Path::new("/sys/fs/cgroup"), &own, &name, limit) {
            Ok(cgroup) => Ok(Held { cgroup: Some(cgroup), address_space: None }),
            Err(error) => {
                let warning = format!(
                    "no memory cgroup can be made ({error}): the limit of {limit} holds for the address space instead"
                );
                journal.append(TrialEvent::Warning(warning))?;
                Ok(Held { cgroup: None, address_space: Some(limit) })
            }
        }
    }
}

fn start(
    plan: &TrialPlan<'_>,
    held: &mut Held,
    port_file: &Path,
    waits_for_go: bool,
    root: &ProcRoot,
) -> io::Result<Child> {
    let _ = std::fs::remove_file(port_file);
    let command = plan.target.command(&Launch {
        engine: &plan.engine.folder,
        settings: &plan.cell.settings,
        model: &plan.cell.model,
        port_file,
        waits_for_go,
    })?;
    let cgroup = held.cgroup.as_ref().map(MemoryCgroup::entrance).transpose()?;
    let log = File::options().create(true).append(true).open(&plan.paths.log)?;
    Child::start(command, ChildOptions { log, address_space: held.address_space, cgroup }, root)
}

/// The series of a trial.
struct SeriesOfTrial {
    sampler: Sampler,
    gpu: Option<GpuSeries>,
}

impl SeriesOfTrial {
    fn finish(self) -> io::Result<SamplerHealth> {
        if let Some(gpu) = self.gpu {
            gpu.finish()?;
        }
        self.sampler.finish()
    }
}

fn sample(
    plan: &TrialPlan<'_>,
    child: Child,
    clock: TrialClock,
    root: &ProcRoot,
) -> io::Result<(Child, SeriesOfTrial)> {
    let options = SamplerOptions {
        interval: plan.scenario.sample_every,
        process: child.memory().clone(),
        system: SystemMemory::open(root),
        clock,
    };
    let sampler = Sampler::start(options, &plan.paths.samples)?;
    let gpu =
        GpuSeries::start(plan.gpu, child.memory(), clock, &plan.paths.samples.with_extension("gpu.csv"))?;
    Ok((child, SeriesOfTrial { sampler, gpu }))
}

/// A trial while its phases run.
struct Trial<'a> {
    plan: TrialPlan<'a>,
    session: Session<'a>,
    series: SeriesOfTrial,
    system: SystemMemory,
    journal: Journal,
    clock: TrialClock,
    planned: bool,
}

impl Trial<'_> {
    /// Goes through the phases. Returns where and why it stopped, or `None` where it went through all of them.
    async fn phases(
        &mut self,
        waits_for_go: bool,
        entered: &mut dyn FnMut(Phase),
    ) -> io::Result<Option<(Phase, Stop)>> {
        let phases = self.plan.scenario.phases;
        for phase in phases.listed() {
            if phase == Phase::Idle && !waits_for_go {
                continue;
            }
            entered(phase);
            let started = self.begin(phase)?;
            let result = self.work(phase).await;
            let ended = self.clock.now();
            self.end(phase, started, ended, result.as_ref().err()).await?;
            if phase == Phase::Decode || (phase == Phase::Prefill && !self.stream_goes_on()) {
                // The end of the phase has been read: the sequence may go now.
                self.session.open = None;
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
        let peak = self.peak(phase, stop)?;
        let gone = matches!(stop, Some(Stop::Exited(_))) || (phase == Phase::Unload && stop.is_none());
        let end = if gone {
            unreadable("the target's process has ended", &self.system)
        } else {
            self.edge(stop).await?
        };
        // Asking for the ledger is work, too: what is resident afterwards belongs to the phase's peak.
        let peak = match (peak, end.resident.measured()) {
            (Reading::Measured(peak), Some(resident)) => Reading::Measured(peak.max(resident.total())),
            (peak, _) => peak,
        };
        let record =
            PhaseRecord { phase, started_us: started, ended_us: ended, peak_resident_bytes: peak, end };
        self.journal.append(TrialEvent::PhaseEnded(record))
    }

    /// The kernel's high-water mark, or the highest one that the sampler saw where the process is gone.
    fn peak(&mut self, phase: Phase, stop: Option<&Stop>) -> io::Result<Reading<Bytes>> {
        self.series.sampler.process().refresh();
        let seen = self.series.sampler.take_high_water();
        let Some(tree) = self.series.sampler.process().read_now() else {
            if stop.is_some() && seen.is_some() {
                let warning = format!(
                    "the peak of {phase} is a lower bound: the process ended before it could be read"
                );
                self.journal.append(TrialEvent::Warning(warning))?;
            }
            let gone = || Reading::Unavailable("the target's process ended before it was sampled".to_owned());
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
        let probes =
            EdgeProbes { process: self.series.sampler.process(), system: &self.system, gpu: self.plan.gpu };
        let client: Result<&Client, &str> = match stop {
            Some(_) => Err("the phase did not come to its end, so the target was not asked"),
            None => self.session.client.as_ref().ok_or("the target has no address"),
        };
        let edge = probes.read(client).await;
        match edge.report {
            Reading::Measured(report) => {
                if !self.planned && !report.plan.buffers.is_empty() {
                    self.planned = true;
                    self.journal.append(TrialEvent::Plan(report.plan))?;
                }
                self.journal.append(TrialEvent::Ledger(Reading::Measured(report.ledger)))?;
            }
            Reading::Unavailable(why) if stop.is_none() => {
                self.journal.append(TrialEvent::Ledger(Reading::Unavailable(why)))?;
            }
            Reading::Unavailable(_) => {}
        }
        Ok(edge.reading)
    }
}
