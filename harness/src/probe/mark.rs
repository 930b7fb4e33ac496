//! The mark that every process of a trial inherits: whoever leaves its session and its parents is found by it.

use serde::{Deserialize, Serialize};

use super::procfs::{ProcRoot, ProcessIdentity};

/// The environment variable that holds the mark.
pub const MARK: &str = "SWEEP_TRIAL";

/// `PID.START_TICKS.` of the harness; with a number behind it, of one of the processes that it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mark(String);

impl Mark {
    /// What the marks of all processes that this one starts begin with. `None` where `/proc` does not show this process.
    pub fn of_this_process() -> Option<Mark> {
        let own = ProcessIdentity::read(&ProcRoot::default(), std::process::id())?;
        Some(Mark(format!("{}.{}.", own.pid, own.start_ticks)))
    }

    /// The mark of one process, and of everything that comes of it.
    pub fn numbered(&self, number: u64) -> Mark {
        Mark(format!("{}{number}.", self.0))
    }

    /// The text for the environment.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The processes whose mark begins with this one. Processes of other users are not seen, nor those that are dead and not
    /// waited for.
    pub fn bearers(&self, root: &ProcRoot) -> Vec<ProcessIdentity> {
        root.processes().into_iter().filter(|process| self.is_borne_by(root, process.pid)).collect()
    }

    fn is_borne_by(&self, root: &ProcRoot, pid: u32) -> bool {
        let environment = std::fs::read(root.of_process(pid, "environ")).unwrap_or_default();
        let mut entries = environment.split(|byte| *byte == 0);
        entries.any(|entry| {
            let mark = entry.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            mark.is_some_and(|mark| mark.starts_with(self.0.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_left_its_session_and_its_parents_is_found() {
        let own = Mark::of_this_process().expect("/proc shows it");
        let (first, second) = (own.numbered(71), own.numbered(7));
        let start = |mark: &Mark| {
            let mut shell = std::process::Command::new("/bin/sh");
            // The shell ends at once, and its child is nobody's.
            shell.args(["-c", "setsid sleep 100 & exit 0"]).env(MARK, mark.text());
            assert!(shell.status().expect("a shell").success());
        };
        start(&first);
        start(&second);
        let root = ProcRoot::default();
        let one = |mark: &Mark| {
            let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
            loop {
                let found = mark.bearers(&root);
                if found.len() == 1 || std::time::Instant::now() > until {
                    return found;
                }
            }
        };
        let (of_first, of_second) = (one(&first), one(&second));
        let ids = |found: &[ProcessIdentity]| found.iter().map(|process| process.pid).collect::<Vec<_>>();
        for pid in ids(&of_first).into_iter().chain(ids(&of_second)) {
            let pid = rustix::process::Pid::from_raw(pid as i32).expect("a number");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
        }
        assert_eq!((of_first.len(), of_second.len()), (1, 1), "7. is not the beginning of 71.");
        assert_ne!(ids(&of_first), ids(&of_second));
    }
}
