//! Who ends the target when the harness is killed. The kernel ends the target itself then, but not its children.

use std::io::{self, BufRead, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// A small process that hears from this one through a pipe, and ends the group that it last heard of when the pipe
/// closes without a farewell.
#[derive(Debug)]
pub struct Guardian {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts `command`, which must call [`guard`] on its standard input.
    pub fn start(mut command: Command) -> io::Result<Guardian> {
        // In a group of its own, so that Ctrl-C in a terminal does not end it before its work.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let pipe = process.stdin.take();
        Ok(Guardian { process, pipe })
    }

    /// From now on the group of `leader` must not survive this process. 0: no group.
    pub fn watch(&mut self, leader: u32) {
        if let Some(pipe) = &mut self.pipe {
            // A guardian that is gone cannot be helped; the trial itself does not depend on it.
            let _ = writeln!(pipe, "{leader}");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.watch(0);
        self.pipe = None;
        let _ = self.process.wait();
    }
}

/// The guardian's side: reads group leaders, one a line, until the end of `input`, and then kills the group of the last.
pub fn guard(input: impl BufRead) {
    let mut last = 0;
    for line in input.lines().map_while(Result::ok) {
        last = line.trim().parse().unwrap_or(0);
    }
    if let Some(leader) = Pid::from_raw(last) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
}
