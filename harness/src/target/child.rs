//! A target's process: started in a session of its own, watched, and ended with its whole tree.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger::Bytes;
use rustix::fd::OwnedFd;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitpid,
};
use tokio::io::unix::AsyncFd;

use crate::probe::sys::{ChildLimits, hold};
use crate::probe::{MARK, Mark, ProcRoot, ProcessIdentity, ProcessMemory, ProcessTree};

/// How a child is started.
#[derive(Debug)]
pub struct ChildOptions {
    /// Where both of its output streams go.
    pub log: File,
    /// The most address space that it may have.
    pub address_space: Option<Bytes>,
    /// `cgroup.procs` of the group that it joins.
    pub cgroup: Option<OwnedFd>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it exited with.
    pub exit_code: Option<i32>,
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Ending {
        Ending { signal: status.signal(), exit_code: status.code() }
    }
}

/// A running target.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    exit: AsyncFd<OwnedFd>,
    memory: ProcessMemory,
    mark: Option<Mark>,
}

/// Children of this process so far.
static CHILDREN: AtomicU64 = AtomicU64::new(0);

impl Child {
    /// Starts `command`. Must be called within a tokio runtime, from the thread that runs it for the whole trial: the
    /// child dies with that thread. Makes this process the one that orphans of its children come to.
    pub fn start(mut command: Command, options: ChildOptions, root: &ProcRoot) -> io::Result<Child> {
        set_child_subreaper(Some(rustix::process::getpid()))?;
        command.stdin(Stdio::piped()).stdout(options.log.try_clone()?).stderr(options.log);
        let mark = Mark::of_this_process();
        let mark = mark.map(|mark| mark.numbered(CHILDREN.fetch_add(1, Ordering::Relaxed)));
        if let Some(mark) = &mark {
            command.env(MARK, mark.text());
        }
        hold(&mut command, ChildLimits { address_space: options.address_space, cgroup: options.cgroup });
        let mut process = command.spawn()?;
        let watched = pidfd_open(pid_of(process.id()), PidfdFlags::NONBLOCK)
            .map_err(io::Error::from)
            .and_then(watch)
            .and_then(|exit| {
                let tree = ProcessTree::of(root, process.id());
                Ok((exit, tree.ok_or_else(|| io::Error::other("the new process is not in /proc"))?))
            });
        match watched {
            Ok((exit, tree)) => Ok(Child { process, exit, memory: ProcessMemory::new(tree), mark }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// The process id, which is also that of its group and its session.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Memory of the child's process tree.
    pub fn memory(&self) -> &ProcessMemory {
        &self.memory
    }

    /// Tells a waiting target to load: a line on its standard input, and then the end of it.
    pub fn go(&mut self) -> io::Result<()> {
        match self.process.stdin.take() {
            Some(mut stdin) => stdin.write_all(b"load\n"),
            None => Ok(()),
        }
    }

    /// Ends when the child has ended.
    pub async fn exited(&self) {
        // A descriptor that cannot be watched must not look like an exit: then timeouts are what ends a trial.
        if self.exit.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// How the child ended; `None` while it runs.
    pub fn ending(&mut self) -> Option<Ending> {
        self.process.try_wait().ok().flatten().map(Ending::from)
    }

    /// Asks the child to end.
    pub fn terminate(&self) {
        let _ = pidfd_send_signal(self.exit.get_ref(), Signal::TERM);
    }

    /// Ends the whole tree at once and waits until it is gone. Returns how the child ended, and how many descendants of
    /// it were there when this began.
    pub fn kill_tree(&mut self) -> (Option<Ending>, usize) {
        self.memory.refresh();
        let leader = self.id();
        let left: Vec<ProcessIdentity> =
            self.memory.identities().into_iter().filter(|process| process.pid != leader).collect();
        let _ = kill_process_group(pid_of(leader), Signal::KILL);
        let ending = self.process.wait().ok().map(Ending::from);
        for _ in 0..200 {
            self.memory.refresh();
            let running: Vec<ProcessIdentity> =
                self.memory.identities().into_iter().filter(|process| process.pid != leader).collect();
            if running.is_empty() {
                break;
            }
            running.iter().for_each(kill);
            for process in &running {
                let _ = waitpid(Some(pid_of(process.pid)), WaitOptions::NOHANG);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let escaped = self.mark.as_ref().map_or(0, end_marked);
        (ending, left.len() + escaped)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ending().is_none() {
            self.kill_tree();
        }
    }
}

#[expect(
    deprecated,
    reason = "what it is deprecated for cannot happen: an `OwnedFd` is open for as long as it lives"
)]
pub(super) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid as i32).expect("a process that was started has a number above zero")
}

fn is_running(process: &ProcessIdentity) -> bool {
    ProcessIdentity::read(&ProcRoot::default(), process.pid)
        .is_some_and(|now| now.start_ticks == process.start_ticks)
}

/// Ends every process that bears `mark`, and those that it makes meanwhile, wherever they have gone. Returns how many there were.
pub(super) fn end_marked(mark: &Mark) -> usize {
    let mut ended = 0;
    for _ in 0..200 {
        let left = mark.bearers(&ProcRoot::default());
        if left.is_empty() {
            break;
        }
        ended = ended.max(left.len());
        left.iter().for_each(kill);
        for process in &left {
            // Of those that are nobody's this process is the parent, where it has started the trial.
            let _ = waitpid(Some(pid_of(process.pid)), WaitOptions::NOHANG);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    ended
}

/// Kills exactly this process: the descriptor cannot come to mean another one between the check and the signal.
pub(super) fn kill(process: &ProcessIdentity) {
    let descriptor = pidfd_open(pid_of(process.pid), PidfdFlags::empty());
    if let Ok(descriptor) = descriptor
        && is_running(process)
    {
        let _ = pidfd_send_signal(descriptor, Signal::KILL);
    }
}
