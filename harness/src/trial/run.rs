//! From the start of a target's process to the end of its tree.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ledger::Phase;

use super::co_residents::CoResidents;
use super::cooldown::cool_down;
use super::floor::{FloorProbes, RunFloor};
use super::log_tail::log_tail;
use super::outcome::{MemoryEvidence, Stop, outcome};
use super::passage::Trial;
use super::phases::Session;
use super::quality::quality_of;
use super::start::{Held, Started, sample, start};
use crate::clock::{TrialClock, wall_clock};
use crate::engines::Engine;
use crate::interrupt::Interrupt;
use crate::probe::{
    Conditions, Gpu, LiveMemory, MemoryGuard, Probe, ProcRoot, SystemMemory, SystemRoot, environment,
};
use crate::record::{
    Disturbance, DisturbanceCause, FloorRecord, Journal, Outcome, TrialEvent, TrialPaths, TrialRecord,
};
use crate::scenario::{Cell, Scenario};
use crate::target::{
    Client, Guardian, Interface, MemoryCgroup, ProcessAbility, Target, Wards, target_record,
};

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
    /// The engine whose exact path its quality is held against, or why there is none. `None`: the cell's own.
    pub reference: Option<&'a Result<PathBuf, String>>,
    /// What runs it.
    pub target: &'a dyn Target,
    /// Where the record goes.
    pub paths: &'a TrialPaths,
    /// Where the machine's own files are; those of the target's processes are in the `/proc` of this one.
    pub machine: &'a SystemRoot,
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

/// Runs one trial, once the machine is at the `floor` of its run. `entered` is told of every phase as it begins, and where to see
/// what is resident in it.
pub fn run_trial(
    plan: TrialPlan<'_>,
    floor: &mut RunFloor,
    guardian: Option<&mut Guardian>,
    entered: &mut dyn FnMut(Phase, &LiveMemory),
) -> Result<TrialRecord, TrialError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(TrialError::Prepare)?;
    let record = runtime.block_on(run(plan, floor, guardian, entered))?;
    floor.trial_ended(format!("trial {} of {}", plan.trial, plan.cell.describe()));
    Ok(record)
}

async fn run(
    plan: TrialPlan<'_>,
    floor: &mut RunFloor,
    mut guardian: Option<&mut Guardian>,
    entered: &mut dyn FnMut(Phase, &LiveMemory),
) -> Result<TrialRecord, TrialError> {
    let root = ProcRoot::default();
    let system = SystemMemory::open(plan.machine);
    let failed = |source| TrialError::Record { path: plan.paths.journal.clone(), source };
    let journal = Journal::create(&plan.paths.journal, plan.cell.record(), plan.trial, wall_clock());
    let mut journal = journal.map_err(failed)?;
    journal.append(TrialEvent::Environment(environment(plan.machine))).map_err(failed)?;
    let conditions = Conditions::new(plan.machine);
    let phases = plan.scenario.phases;
    let abilities = plan.target.abilities();
    let waits_for_go = phases.idle.is_some() && abilities.can_wait;
    let target = target_record(plan.target, plan.cell, phases.idle.is_some());
    journal.append(TrialEvent::Target(target.clone())).map_err(failed)?;
    let first_phase = if waits_for_go { Phase::Idle } else { Phase::Load };
    let probes = FloorProbes {
        machine: plan.machine,
        gpu: plan.gpu,
        conditions: &conditions,
        rule: plan.scenario.floor,
        interrupt: plan.interrupt,
    };
    let cooldown = plan.scenario.cooldown.filter(|_| floor.has_begun());
    let (cooldown, doubt) = match cooldown {
        Some(rule) => {
            let (record, doubt) = cool_down(rule, plan.machine, plan.interrupt).await;
            (Some(record), doubt)
        }
        None => (None, None),
    };
    if let Some(doubt) = doubt {
        journal.append(TrialEvent::Warning(doubt)).map_err(failed)?;
    }
    let (settled, left) = floor.settle(&probes).await;
    let settled = FloorRecord { cooldown, ..settled };
    let state = settled.conditions.clone();
    journal.append(TrialEvent::Floor(Box::new(settled))).map_err(failed)?;
    for remnant in left {
        let cause = DisturbanceCause::LeftBehind(remnant);
        journal.append(TrialEvent::Disturbed(Disturbance { phase: first_phase, cause })).map_err(failed)?;
    }
    if plan.interrupt.is_asked() {
        // Nothing has begun yet that would have to come to its end.
        let outcome = Outcome::Interrupted;
        journal.append(TrialEvent::Ended { outcome, log_tail: Vec::new() }).map_err(failed)?;
        return Ok(journal.record().clone());
    }
    // From here on time counts: the wait for the floor is no part of the trial.
    let clock = TrialClock::start();
    let kills_before = system.oom_kills();
    let mut held = Held::for_trial(&plan, &mut journal).map_err(failed)?;

    let port_file = plan.paths.log.with_extension("port");
    let cgroup = held.cgroup.as_ref().map(|cgroup| cgroup.folder().to_owned());
    let mut watch = |groups: &[u32]| {
        plan.interrupt.guard_groups(groups);
        if let Some(guardian) = &mut guardian {
            guardian.watch(Wards { groups: groups.to_vec(), cgroup: cgroup.clone() });
        }
    };
    let beside = &plan.scenario.co_residents;
    let co_residents = CoResidents::start(beside, &plan.paths.log, &root, plan.interrupt, &mut watch).await;
    let started = co_residents.map_err(io::Error::other).and_then(|co_residents| {
        let started = start(&plan, &mut held, &port_file, waits_for_go, &root);
        let started =
            started.map_err(|error| format!("the target {} cannot be started: {error}", plan.target.name()));
        let started = started.map_err(io::Error::other)?;
        let mut groups = co_residents.leaders();
        groups.extend(started.process.own_id());
        watch(&groups);
        let least = plan.scenario.min_available.unwrap_or_else(|| MemoryGuard::default_least(&system));
        let guard = Arc::new(MemoryGuard::new(least, started.process.own_id()));
        let (started, series) = sample(&plan, started, clock, &guard, co_residents.memory())?;
        Ok((started, series, guard, co_residents))
    });
    let (started, series, guard, co_residents) = match started {
        Ok(started) => started,
        Err(error) => {
            watch(&[]);
            let outcome = if plan.interrupt.is_asked_now() {
                Outcome::Interrupted
            } else {
                Outcome::Failed { phase: first_phase, message: error.to_string() }
            };
            let log_tail = log_tail(&plan.paths.log);
            journal.append(TrialEvent::Ended { outcome, log_tail }).map_err(failed)?;
            return Ok(journal.record().clone());
        }
    };
    let Started { process, interface, url } = started;
    if let Some(pid) = process.own_id() {
        journal.append(TrialEvent::TargetStarted { pid, at_us: clock.now() }).map_err(failed)?;
    }
    let mut probes =
        vec![process.memory().card(), system.card(), series.gpu_card(plan.gpu), series.tegrastats_card()];
    probes.extend(conditions.cards());
    journal.append(TrialEvent::Probes(probes)).map_err(failed)?;
    if let Some(warning) = counted_by_words(&interface) {
        journal.append(TrialEvent::Warning(warning)).map_err(failed)?;
    }

    let known = url.as_deref().map(|url| Client::new(url, interface.clone())).transpose();
    let session = Session {
        process,
        abilities,
        target,
        interface,
        listens_late: url.is_some() && abilities.process == ProcessAbility::Started,
        client: known.map_err(|error| TrialError::Prepare(io::Error::other(error)))?,
        port_file: port_file.clone(),
        log: plan.paths.log.clone(),
        cell: plan.cell,
        engine: plan.engine,
        seed: plan.scenario.seed,
        clock,
        interrupt: plan.interrupt,
        guard: Arc::clone(&guard),
        co_residents,
        sent: 0,
        open: None,
    };
    let mut trial =
        Trial { plan, session, series, system, conditions, state, journal, clock, planned: false };
    let stopped = trial.phases(waits_for_go, entered).await.map_err(failed)?;
    let _ = std::fs::remove_file(&port_file);

    // Whatever happened, nothing of the target is left after this.
    let Trial { mut session, series, system, mut journal, .. } = trial;
    session.open = None;
    let (ending, left) = session.process.kill_tree();
    let beside = match &stopped {
        Some((_, Stop::CoResidentEnded(at))) => Some(session.co_residents.ending(*at)),
        _ => None,
    };
    session.co_residents.end();
    plan.interrupt.guard_groups(&[]);
    if stopped.is_none() && left > 0 {
        let warning = format!("the target ended and left {left} of its processes behind; they were killed");
        journal.append(TrialEvent::Warning(warning)).map_err(failed)?;
    }
    match series.finish() {
        Ok(health) => journal.append(TrialEvent::Sampler(health)).map_err(failed)?,
        Err(source) => return Err(TrialError::Record { path: plan.paths.samples.clone(), source }),
    }
    let in_cgroup = held.cgroup.as_ref().map(MemoryCgroup::read);
    if let Some(cgroup) = &in_cgroup {
        journal.append(TrialEvent::Cgroup(cgroup.clone())).map_err(failed)?;
    }
    // Removed only now, for what it counted; and before the guardian is told that there is nothing left.
    drop(held);
    if let Some(guardian) = &mut guardian {
        guardian.watch(Wards::default());
    }
    let log_tail = log_tail(&plan.paths.log);
    if stopped.is_none()
        && let Some(quality) = quality_of(&plan, &mut guardian).await
    {
        journal.append(TrialEvent::Quality(quality)).map_err(failed)?;
    }
    let outcome = match stopped {
        None if plan.interrupt.is_asked_now() => Outcome::Interrupted,
        None => Outcome::Completed,
        Some((phase, stop)) => {
            let stop = match (stop, ending) {
                (Stop::Exited(_), Some(ending)) => Stop::Exited(ending),
                (stop, _) => stop,
            };
            let since = |before: u64| system.oom_kills().unwrap_or(before).saturating_sub(before);
            let memory = MemoryEvidence {
                cgroup_kills: in_cgroup.and_then(|cgroup| cgroup.oom_kills).unwrap_or(0),
                machine_kills: kills_before.map_or(0, since),
                guard: guard.struck().map(|available| (available, guard.least())),
            };
            outcome(stop, phase, memory, beside, &log_tail)
        }
    };
    journal.append(TrialEvent::Ended { outcome, log_tail }).map_err(failed)?;
    Ok(journal.record().clone())
}

/// How tokens are counted, where a target does not take and tell their ids.
fn counted_by_words(interface: &Interface) -> Option<String> {
    match interface {
        Interface::Completions => None,
        Interface::Chat(Some(_)) => Some(
            "the target takes texts and does not count their tokens: the harness counts them with the model's own tokenizer, \
             and leaves out those of the chat template"
                .to_owned(),
        ),
        Interface::Chat(None) => Some(
            "the target takes texts and does not count their tokens, and no tokenizer is there: a word of a prompt and a piece \
             of an answer count as a token, and the speeds follow from that"
                .to_owned(),
        ),
    }
}
