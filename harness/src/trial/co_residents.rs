//! What runs beside the target: started before it, watched while it is measured, and ended with the trial.

use std::fs::File;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::task::Poll;

use ledger::Bytes;
use tokio::time::{Instant, sleep};

use super::log_tail::log_tail;
use crate::interrupt::Interrupt;
use crate::probe::{Conditions, Gpu, ProcRoot, ProcessMemory};
use crate::record::{CoResidentReading, Reading};
use crate::scenario::{CoResident, CoResidentProgram, FALLS_SHORT, Ready};
use crate::target::{Child, ChildOptions, Ending};

/// Time between two looks at what a co-resident has written.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(10);

/// A log longer than this is not searched on.
const SEARCHED: Bytes = Bytes::mib(16);

/// The co-residents of one trial.
#[derive(Debug, Default)]
pub(super) struct CoResidents {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    name: String,
    child: Child,
    /// Where its output goes.
    log: PathBuf,
    /// Whether it has been told that it falls short.
    told: bool,
}

impl CoResidents {
    /// Starts `wanted`, one after the other, each once the one before is ready. `log` is the target's; theirs lie beside it.
    /// `started` is told the processes that there are, after each start.
    ///
    /// # Errors
    /// Which one is not there, and why, as a sentence; those before it are ended.
    pub(super) async fn start(
        wanted: &[CoResident],
        log: &Path,
        root: &ProcRoot,
        interrupt: &Interrupt,
        mut started: impl FnMut(&[u32]),
    ) -> Result<CoResidents, String> {
        let mut all = CoResidents::default();
        for co_resident in wanted {
            let why_not = |why: String| format!("the co-resident {} is not there: {why}", co_resident.name);
            let own_log = log.with_extension(format!("{}.log", co_resident.name));
            let child = launch(co_resident, &own_log, root).map_err(|error| why_not(error.to_string()))?;
            let name = co_resident.name.clone();
            all.running.push(Running { name, child, log: own_log.clone(), told: false });
            started(&all.leaders());
            tokio::select! {
                biased;
                () = interrupt.asked_now() => return Err(why_not("someone asked to stop".to_owned())),
                at = all.one_ended() => {
                    let (name, ending) = all.ending(at);
                    let said = log_tail(&log.with_extension(format!("{name}.log")));
                    let said = said.last().map(|line| format!(": {line}")).unwrap_or_default();
                    return Err(why_not(format!("{name} {}{said}", ended(ending))));
                }
                ready = until_ready(&co_resident.ready, &own_log) => ready.map_err(why_not)?,
                () = tokio::time::sleep_until(Instant::now() + co_resident.timeout) => {
                    let limit = co_resident.timeout.as_secs_f64();
                    return Err(why_not(format!("it was not ready after {limit} s")));
                }
            }
        }
        Ok(all)
    }

    /// The leaders of their process groups.
    pub(super) fn leaders(&self) -> Vec<u32> {
        self.running.iter().map(|running| running.child.id()).collect()
    }

    /// Ends when one of them has ended: its place. Never where there are none.
    pub(super) async fn one_ended(&self) -> usize {
        if self.running.is_empty() {
            return pending().await;
        }
        let mut exits: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        for running in &self.running {
            exits.push(Box::pin(running.child.exited()));
        }
        poll_fn(|context| {
            let ended = exits.iter_mut().position(|exit| exit.as_mut().poll(context).is_ready());
            ended.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Name and end of the one at `at`.
    pub(super) fn ending(&mut self, at: usize) -> (String, Ending) {
        let running = &mut self.running[at];
        let ending = running.child.ending().unwrap_or(Ending { signal: None, exit_code: None });
        (running.name.clone(), ending)
    }

    /// From now on their high-water marks are those of a new phase. Where one cannot be set back, says so.
    pub(super) fn begin_phase(&self) -> Vec<String> {
        let reset = |running: &Running| {
            running.child.memory().refresh();
            running.child.memory().reset_peak().err().map(|why| format!("{}: {why}", running.name))
        };
        self.running.iter().filter_map(reset).collect()
    }

    /// Their memory, for a series.
    pub(super) fn memory(&self) -> Vec<ProcessMemory> {
        self.running.iter().map(|running| running.child.memory().clone()).collect()
    }

    /// Stand-ins that have begun to read less than they are to, each once, in words.
    pub(super) fn shortfalls(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for running in self.running.iter_mut().filter(|running| !running.told) {
            let text = log_of(&running.log).unwrap_or_default();
            let words = text.lines().find_map(|line| line.strip_prefix(FALLS_SHORT));
            if let Some(words) = words {
                running.told = true;
                all.push(format!("the co-resident {} reads less than it stands for: {words}", running.name));
            }
        }
        all
    }

    /// What each of them holds, and its peak since the phase began. `conditions` and `gpu` count device memory.
    pub(super) fn read(&self, conditions: &Conditions, gpu: &Gpu) -> Vec<CoResidentReading> {
        let read = |running: &Running| {
            let memory = running.child.memory();
            memory.refresh();
            let tree = memory.read_now();
            let why = || Reading::Unavailable("it has ended".to_owned());
            let pids: Vec<u32> = memory.identities().iter().map(|process| process.pid).collect();
            CoResidentReading {
                name: running.name.clone(),
                peak_resident_bytes: tree.map_or_else(why, |tree| Reading::Measured(tree.high_water)),
                resident_bytes: tree.map_or_else(why, |tree| Reading::Measured(tree.resident.total())),
                device_bytes: conditions.device_memory_of(&pids, gpu),
            }
        };
        self.running.iter().map(read).collect()
    }

    /// Ends them all, the last one first.
    pub(super) fn end(mut self) {
        while let Some(mut running) = self.running.pop() {
            running.child.kill_tree();
        }
    }
}

/// How a process ended, as the end of a sentence.
pub(super) fn ended(ending: Ending) -> String {
    match (ending.signal, ending.exit_code) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

fn launch(co_resident: &CoResident, log: &PathBuf, root: &ProcRoot) -> io::Result<Child> {
    let command = match &co_resident.program {
        CoResidentProgram::Command(words) => {
            let (program, arguments) =
                words.split_first().ok_or_else(|| io::Error::other("it has no program"))?;
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        CoResidentProgram::StandIn(stand_in) => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["hold", "--host-bytes", &stand_in.host.0.to_string()]);
            command.args(["--device-bytes", &stand_in.device.0.to_string()]);
            command.args(["--read-bytes", &stand_in.reads.0.to_string()]);
            command
        }
    };
    let log = File::options().create(true).append(true).open(log)?;
    Child::start(command, ChildOptions { log, address_space: None, cgroup: None }, root)
}

async fn until_ready(ready: &Ready, log: &Path) -> Result<(), String> {
    match ready {
        Ready::After(time) => sleep(*time).await,
        Ready::Says(words) => loop {
            let text = log_of(log).map_err(|length| format!("it wrote {length}, and not `{words}`"))?;
            if text.contains(words.as_str()) {
                break;
            }
            sleep(LOOK_EVERY).await;
        },
    }
    Ok(())
}

/// What stands in `log`, or its size where that is more than is searched.
fn log_of(log: &Path) -> Result<String, Bytes> {
    let length = Bytes(std::fs::metadata(log).map_or(0, |log| log.len()));
    if length > SEARCHED {
        return Err(length);
    }
    Ok(String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned())
}
