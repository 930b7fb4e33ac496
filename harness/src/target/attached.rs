//! A target's process, whoever has started it.

use std::io;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

use super::child::{Child, Ending, watch};
use crate::probe::{ProcRoot, ProcessMemory, ProcessTree};

/// A process that runs already, or one that cannot be seen. It is never ended.
#[derive(Debug)]
pub struct Attached {
    exit: Option<AsyncFd<OwnedFd>>,
    memory: ProcessMemory,
}

impl Attached {
    /// The process `pid`, or none that could be measured. Must be called within a tokio runtime.
    pub fn to(pid: Option<u32>, root: &ProcRoot) -> io::Result<Attached> {
        let Some(pid) = pid else {
            return Ok(Attached { exit: None, memory: ProcessMemory::new(ProcessTree::unknown(root)) });
        };
        let gone = || io::Error::other(format!("no process has the number {pid}"));
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let exit = watch(pidfd_open(number, PidfdFlags::NONBLOCK)?)?;
        let tree = ProcessTree::of(root, pid).ok_or_else(gone)?;
        Ok(Attached { exit: Some(exit), memory: ProcessMemory::new(tree) })
    }
}

/// The process of a trial's target.
#[derive(Debug)]
pub enum TargetProcess {
    /// The harness has started it.
    Child(Child),
    /// Somebody else has.
    Attached(Attached),
}

impl TargetProcess {
    /// Its number, where the harness has started it: then it is also that of its group.
    pub fn own_id(&self) -> Option<u32> {
        match self {
            TargetProcess::Child(child) => Some(child.id()),
            TargetProcess::Attached(_) => None,
        }
    }

    /// Memory of its process tree.
    pub fn memory(&self) -> &ProcessMemory {
        match self {
            TargetProcess::Child(child) => child.memory(),
            TargetProcess::Attached(attached) => &attached.memory,
        }
    }

    /// Tells a waiting target to load.
    pub fn go(&mut self) -> io::Result<()> {
        match self {
            TargetProcess::Child(child) => child.go(),
            TargetProcess::Attached(_) => Ok(()),
        }
    }

    /// Ends when the process has ended; never where it cannot be seen.
    pub async fn exited(&self) {
        match self {
            TargetProcess::Child(child) => child.exited().await,
            TargetProcess::Attached(Attached { exit: Some(exit), .. }) if exit.readable().await.is_ok() => {}
            TargetProcess::Attached(_) => std::future::pending().await,
        }
    }

    /// Asks a child to end.
    pub fn terminate(&self) {
        if let TargetProcess::Child(child) = self {
            child.terminate();
        }
    }

    /// Ends a child with its whole tree. Returns how it ended, and how many descendants of it were there when this began.
    pub fn kill_tree(&mut self) -> (Option<Ending>, usize) {
        match self {
            TargetProcess::Child(child) => child.kill_tree(),
            TargetProcess::Attached(_) => (None, 0),
        }
    }
}
