//! What a child does between `fork` and `exec`. The only unsafe code of the harness.

use std::os::unix::process::CommandExt;
use std::process::Command;

use ledger::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit, setsid};

/// How a child is held.
#[derive(Debug, Default)]
pub struct ChildLimits {
    /// The most address space that it may have.
    pub address_space: Option<Bytes>,
    /// `cgroup.procs` of the group that it joins, open for writing.
    pub cgroup: Option<OwnedFd>,
}

/// Prepares `command` so that its process leads a session and a process group of its own, dies with the thread that
/// starts it, is the first that the kernel kills for want of memory, and stays within `limits`. Start it from a thread that
/// lives as long as the trial.
pub fn hold(command: &mut Command, limits: ChildLimits) {
    let address_space =
        limits.address_space.map(|bytes| Rlimit { current: Some(bytes.0), maximum: Some(bytes.0) });
    let cgroup = limits.cgroup;
    let prepare = move || {
        setsid()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Rather the target than whoever watches it. Where it cannot be written, the kernel chooses by size.
        if let Ok(score) = open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        {
            let _ = rustix::io::write(&score, b"1000");
        }
        if let Some(cgroup) = &cgroup {
            // `0` stands for the process that writes.
            rustix::io::write(cgroup, b"0")?;
        }
        if let Some(limit) = &address_space {
            setrlimit(Resource::As, *limit)?;
        }
        Ok(())
    };
    // SAFETY: between `fork` and `exec` only async-signal-safe operations are allowed. `prepare` makes system
    // calls through rustix, which calls the kernel directly, and touches only memory that it owns: it neither
    // allocates nor takes a lock, and an `Errno` becomes an `io::Error` without allocation.
    unsafe { command.pre_exec(prepare) };
}
