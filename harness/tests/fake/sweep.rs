//! Whole runs of the fake target, in this process or in one of its own that a test can kill.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::engines::Progress;
use harness::interrupt::Interrupt;
use harness::probe::{LiveMemory, SystemRoot};
use harness::record::{Shard, TrialRecord};
use harness::scenario::{Cell, Scenario};
use harness::sweep::{Observer, Sweep, SweepEnd, SweepError, run};
use harness::target::guard;
use ledger::{Bytes, Phase};

use super::{FakeEngines, FakeTarget, scenario, still_machine};

/// What an observer was told, in lines.
#[derive(Default)]
pub struct Notes(RefCell<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _: &str, _: Option<Bytes>) {}
    fn advance(&self, _: Bytes) {}
    fn end(&self) {}
    fn is_interrupted(&self) -> bool {
        false
    }
}

impl Observer for Notes {
    fn run_begins(&self, _: &Path, cells: usize, trials: u32, resumed_from: Option<&str>) {
        self.0
            .borrow_mut()
            .push(format!("{cells} cells, {trials} trials, resumed: {}", resumed_from.is_some()));
    }
    fn cell_begins(&self, _: &Cell, _: usize, _: usize) {}
    fn phase_begins(&self, _: Phase, _: &LiveMemory) {}
    fn trial_ends(&self, record: &TrialRecord, taken_over: bool) {
        let how = if taken_over { "taken over" } else { "run" };
        self.0.borrow_mut().push(format!("{}-{} {how}", record.cell.model, record.trial));
    }
}

/// Runs `scenario` with the fake target, and returns what the observer was told.
pub fn sweep(
    scenario: &Scenario,
    runs: &Path,
    only: &[String],
    fresh: bool,
    guardian: Option<Command>,
) -> (SweepEnd, Vec<String>) {
    let (end, notes) = try_sweep(scenario, runs, only, fresh, guardian);
    (end.expect("the harness itself works"), notes)
}

/// The same where the harness itself may fail.
pub fn try_sweep(
    scenario: &Scenario,
    runs: &Path,
    only: &[String],
    fresh: bool,
    guardian: Option<Command>,
) -> (Result<SweepEnd, SweepError>, Vec<String>) {
    try_sweep_on(scenario, runs, (only, None), fresh, guardian, &still_machine())
}

/// All of `scenario` on `machine`, and nothing is taken over.
pub fn sweep_on(scenario: &Scenario, runs: &Path, machine: &SystemRoot) -> (SweepEnd, Vec<String>) {
    let (end, notes) = try_sweep_on(scenario, runs, (&[], None), true, None, machine);
    (end.expect("the harness itself works"), notes)
}

/// One shard of `scenario` on `machine`, which takes up where an earlier run of it stopped.
pub fn sweep_shard(
    scenario: &Scenario,
    runs: &Path,
    shard: &str,
    machine: &SystemRoot,
) -> (SweepEnd, Vec<String>) {
    let shard = shard.parse().expect("a shard");
    let (end, notes) = try_sweep_on(scenario, runs, (&[], Some(shard)), false, None, machine);
    (end.expect("the harness itself works"), notes)
}

fn try_sweep_on(
    scenario: &Scenario,
    runs: &Path,
    (only, shard): (&[String], Option<Shard>),
    fresh: bool,
    guardian: Option<Command>,
    machine: &SystemRoot,
) -> (Result<SweepEnd, SweepError>, Vec<String>) {
    let notes = Notes::default();
    let interrupt = Interrupt::listen(|_| {}).expect("signals can be heard");
    let end = run(Sweep {
        scenario,
        only,
        shard,
        runs,
        fresh,
        engines: &FakeEngines,
        targets: &[("builtin".to_owned(), Box::new(FakeTarget { can_wait: true }))],
        guardian,
        machine,
        interrupt: &interrupt,
        observer: &notes,
    });
    (end, notes.0.into_inner())
}

/// Cells of a run in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Three cells, of which the second has children and takes longer than a test.
    Long,
    /// An engine whose build takes longer than a test, and does not ask whether it should stop.
    SlowBuild,
    /// Three cells in well under a second each, of which the second has children that leave its session.
    Short,
    /// Two cells, of which the second has a long series before it is stopped.
    Series,
}

impl Run {
    const ALL: [(Run, &str); 4] =
        [(Run::Long, "long"), (Run::SlowBuild, "slow build"), (Run::Short, "short"), (Run::Series, "series")];

    /// What is run.
    pub fn scenario(self) -> Scenario {
        match self {
            Run::Long => scenario(&["good.a", "fork_and_hang.b", "good.c"], |text| {
                text.replace("outputTokens: 6, timeout: 10 s", "outputTokens: 6, timeout: 2 min")
            }),
            Run::SlowBuild => {
                scenario(&["good"], |text| text.replace("{engine: nowhere}", "{checkpoint: slow}"))
            }
            Run::Series => scenario(&["good.a", "hang_stream.b"], |text| {
                text.replace("outputTokens: 6, timeout: 10 s", "outputTokens: 6, timeout: 6 s")
                    .replace("trials: 1", "trials: 1\nsample: {every: 1 ms}")
            }),
            Run::Short => scenario(&["good.a", "daemon.b", "good.c"], |text| text.replace("50 ms", "20 ms")),
        }
    }
}

/// The environment variable with the folder in which a process of its own keeps its runs; all processes of the run inherit it.
pub const RUNS: &str = "FAKE_SWEEP";

/// What starts `run` in a process of its own, below `runs`. `wrapper`: a shell command that is run in its place, and runs `"$@"`.
pub fn command(run: Run, runs: &Path, wrapper: Option<&str>) -> Command {
    let program = std::env::current_exe().expect("a program");
    let mut command = match wrapper {
        Some(wrapper) => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", wrapper, "sh"]).arg(program);
            shell
        }
        None => Command::new(program),
    };
    command.args(["--exact", "fake::sweep::run_in_a_process", "--nocapture", "--test-threads=1"]);
    let name = Run::ALL.iter().find(|(known, _)| *known == run).map(|(_, name)| *name);
    command.env(RUNS, runs).env("FAKE_RUN", name.expect("every run has a name"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts `run` in a process of its own, so that it can be killed.
pub fn start(run: Run, runs: &Path) -> Child {
    command(run, runs, None).spawn().expect("it starts")
}

/// The harness in a process of its own. Ends with 0, with 130 where it was stopped, and with 70 where it failed.
#[test]
fn run_in_a_process() {
    let (Some(runs), Ok(name)) = (std::env::var_os(RUNS).map(PathBuf::from), std::env::var("FAKE_RUN"))
    else {
        return;
    };
    let run = Run::ALL.iter().find(|(_, known)| *known == name).map(|(run, _)| *run).expect("a known run");
    let mut guardian = Command::new(std::env::current_exe().expect("a program"));
    guardian.args(["--exact", "fake::sweep::guard_in_a_process", "--nocapture"]).env(GUARD, "yes");
    let code = match try_sweep(&run.scenario(), &runs, &[], false, Some(guardian)).0 {
        Ok(mut end) => {
            let code = if end.interrupted { 130 } else { 0 };
            end.folder.finish(harness::clock::wall_clock(), code).map_or(70, |()| code)
        }
        Err(error) => {
            eprintln!("{error}");
            70
        }
    };
    std::process::exit(i32::from(code));
}

/// The environment variable that makes a process a guardian.
pub const GUARD: &str = "FAKE_GUARD";

#[test]
fn guard_in_a_process() {
    if std::env::var_os(GUARD).is_some() {
        guard(std::io::stdin().lock());
    }
}
