//! Who ends a trial's processes when the harness is killed. The kernel ends those that the harness itself started then, but not
//! their children.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::child::end_marked;
use super::memory_cgroup::empty_and_remove;
use crate::probe::Mark;

/// What must not survive this program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wards {
    /// Leaders of process groups.
    pub groups: Vec<u32>,
    /// The trial's memory cgroup, with everything in it.
    pub cgroup: Option<PathBuf>,
}

/// A line to the guardian.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// All processes that this program starts for trials have a mark that begins with this one.
    Mark(Mark),
    /// What runs now.
    Wards(Wards),
    /// This program ends by itself, and has left nothing behind.
    Farewell,
}

/// A small process that hears from this one through a pipe, and ends what it last heard of when the pipe closes without a
/// farewell.
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
        let mut guardian = Guardian { process, pipe };
        if let Some(mark) = Mark::of_this_process() {
            guardian.tell(&Word::Mark(mark));
        }
        Ok(guardian)
    }

    /// From now on these must not survive this process.
    pub fn watch(&mut self, wards: Wards) {
        self.tell(&Word::Wards(wards));
    }

    fn tell(&mut self, word: &Word) {
        if let (Some(pipe), Ok(line)) = (&mut self.pipe, serde_json::to_string(word)) {
            // A guardian that is gone cannot be helped; the trial itself does not depend on it.
            let _ = writeln!(pipe, "{line}");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.tell(&Word::Farewell);
        self.pipe = None;
        let _ = self.process.wait();
    }
}

/// The guardian's side: reads lines until the end of `input`, and ends what was not said farewell to.
pub fn guard(input: impl BufRead) {
    let (mut mark, mut wards) = (None, Wards::default());
    for line in input.lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Word::Mark(told)) => mark = Some(told),
            Ok(Word::Wards(told)) => wards = told,
            Ok(Word::Farewell) => return,
            // A line that was cut short by a kill.
            Err(_) => {}
        }
    }
    for leader in wards.groups.iter().filter_map(|leader| Pid::from_raw(*leader as i32)) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
    if let Some(mark) = mark {
        end_marked(&mark);
    }
    if let Some(folder) = wards.cgroup {
        empty_and_remove(&folder);
    }
}
