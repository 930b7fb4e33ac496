//! Starting a target: within its memory limit, and sampled from its first moment.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ledger::Bytes;

use super::TrialPlan;
use crate::clock::TrialClock;
use crate::probe::nvmap::NvmapPool;
use crate::probe::tegrastats::{TEGRASTATS, Tegrastats, TegrastatsStream};
use crate::probe::{
    Gpu, GpuSeries, MemoryGuard, Probe, ProcRoot, ProcessMemory, Sampler, SamplerOptions, SystemMemory,
    SystemRoot, gpu_card,
};
use crate::record::{Journal, ProbeCard, Reading, SamplerHealth, TrialEvent};
use crate::target::{
    Address, Attached, Child, ChildOptions, Interface, Launch, MemoryCgroup, ProcessAbility, Start,
    TargetProcess,
};

/// What keeps a target within its memory limit.
#[derive(Default)]
pub(super) struct Held {
    pub(super) cgroup: Option<MemoryCgroup>,
    address_space: Option<Bytes>,
}

impl Held {
    /// A cgroup where one can be made, else, where there is a limit, one on the address space and a word about it.
    pub(super) fn for_trial(plan: &TrialPlan<'_>, journal: &mut Journal) -> io::Result<Held> {
        let limit = plan.scenario.memory_limit;
        if plan.target.abilities().process != ProcessAbility::Started {
            if let Some(limit) = limit {
                let warning =
                    format!("the limit of {limit} does not hold: the target is somebody else's process");
                journal.append(TrialEvent::Warning(warning))?;
            }
            return Ok(Held::default());
        }
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = format!("{}-{}", plan.cell.id.0, plan.trial);
        match (MemoryCgroup::create(Path::new("/sys/fs/cgroup"), &own, &name, limit), limit) {
            (Ok(cgroup), _) => Ok(Held { cgroup: Some(cgroup), address_space: None }),
            (Err(_), None) => Ok(Held::default()),
            (Err(error), Some(limit)) => {
                let warning = format!(
                    "no memory cgroup can be made ({error}): the limit of {limit} holds for the address space instead"
                );
                journal.append(TrialEvent::Warning(warning))?;
                Ok(Held { cgroup: None, address_space: Some(limit) })
            }
        }
    }
}

/// A target that has been started, or that was there.
pub(super) struct Started {
    pub(super) process: TargetProcess,
    pub(super) interface: Interface,
    /// Where it answers, where that is known before it says so.
    pub(super) url: Option<String>,
}

/// Starts the target, or finds the one that runs.
pub(super) fn start(
    plan: &TrialPlan<'_>,
    held: &mut Held,
    port_file: &Path,
    waits_for_go: bool,
    root: &ProcRoot,
) -> io::Result<Started> {
    let _ = std::fs::remove_file(port_file);
    let start = plan.target.start(&Launch {
        engine: &plan.engine.folder,
        settings: &plan.cell.settings,
        model: &plan.cell.model,
        port_file,
        waits_for_go,
    })?;
    match start {
        Start::Attach { url, pid, interface } => {
            let process = TargetProcess::Attached(Attached::to(pid, root)?);
            Ok(Started { process, interface, url: Some(url) })
        }
        Start::Process { command, address, interface } => {
            let cgroup = held.cgroup.as_ref().map(MemoryCgroup::entrance).transpose()?;
            let log = File::options().create(true).append(true).open(&plan.paths.log)?;
            let options = ChildOptions { log, address_space: held.address_space, cgroup };
            let process = TargetProcess::Child(Child::start(command, options, root)?);
            let url = match address {
                Address::PortFile => None,
                Address::Known(address) => Some(format!("http://{address}")),
            };
            Ok(Started { process, interface, url })
        }
    }
}

/// The series of a trial.
pub(super) struct SeriesOfTrial {
    pub(super) sampler: Sampler,
    gpu: Option<GpuSeries>,
    machine: SystemRoot,
    tegrastats: Result<TegrastatsStream, String>,
}

impl SeriesOfTrial {
    /// How `gpu` is read.
    pub(super) fn gpu_card(&self, gpu: &Gpu) -> ProbeCard {
        gpu_card(gpu, self.gpu.as_ref().map(GpuSeries::cadence))
    }

    /// How `tegrastats` is read, or why it could not be started.
    pub(super) fn tegrastats_card(&self) -> ProbeCard {
        let card = Tegrastats::new(&self.machine).card();
        match &self.tegrastats {
            Ok(_) => card,
            Err(why) => ProbeCard { cadence: Reading::Unavailable(why.clone()), ..card },
        }
    }

    /// Stops, and says how well it went.
    pub(super) fn finish(self) -> io::Result<SamplerHealth> {
        if let Some(gpu) = self.gpu {
            gpu.finish()?;
        }
        if let Ok(tegrastats) = self.tegrastats {
            tegrastats.finish()?;
        }
        self.sampler.finish()
    }
}

/// Starts measuring it.
pub(super) fn sample(
    plan: &TrialPlan<'_>,
    started: Started,
    clock: TrialClock,
    guard: &Arc<MemoryGuard>,
    co_residents: Vec<ProcessMemory>,
) -> io::Result<(Started, SeriesOfTrial)> {
    let memory = started.process.memory();
    let machine = plan.machine;
    let options = SamplerOptions {
        interval: plan.scenario.sample_every,
        process: memory.clone(),
        co_residents,
        system: SystemMemory::open(machine),
        nvmap: NvmapPool::open(machine),
        guard: Arc::clone(guard),
        clock,
    };
    let sampler = Sampler::start(options, &plan.paths.samples)?;
    let gpu = GpuSeries::start(plan.gpu, memory, clock, &plan.paths.device_samples)?;
    // A second witness that cannot be started is no reason to do without the first.
    let tegrastats = Tegrastats::new(machine).program().and_then(|program| {
        let started = TegrastatsStream::start(&program, clock, &plan.paths.tegrastats);
        started.map_err(|error| format!("{}: {error}", TEGRASTATS))
    });
    Ok((started, SeriesOfTrial { sampler, gpu, tegrastats, machine: machine.clone() }))
}
