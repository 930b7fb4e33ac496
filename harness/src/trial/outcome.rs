//! What an end means.

use std::time::Duration;

use ledger::{Bytes, Millis, Phase};

use crate::record::Outcome;
use crate::target::Ending;

/// Why a trial stopped in a phase.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stop {
    /// The target's process ended by itself.
    Exited(Ending),
    /// The phase took too long.
    TimedOut(Duration),
    /// The target, or the way to it, failed.
    Failed(String),
    /// A program beside the target ended: its place among them.
    CoResidentEnded(usize),
    /// The machine had too little memory left.
    Guarded,
    /// The harness was asked to stop.
    Interrupted,
}

/// What is known about memory when a target has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MemoryEvidence {
    /// Kills for memory in the trial's own cgroup.
    pub(super) cgroup_kills: u64,
    /// Kills for memory on the whole machine since the trial began.
    pub(super) machine_kills: u64,
    /// What was available on the machine when the guard struck, and what must be. `None` where it did not.
    pub(super) guard: Option<(Bytes, Bytes)>,
}

const SIGKILL: i32 = 9;

/// What allocators, runtimes and drivers say when there is no memory left, in lower case.
const LAST_WORDS: [&str; 6] = [
    "out of memory",
    "memory allocation of",
    "cannot allocate memory",
    "bad_alloc",
    "cuda_error_out_of_memory",
    "memoryerror",
];

fn words_of_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    LAST_WORDS.iter().any(|words| text.contains(words))
}

/// The outcome of a trial that stopped in `phase`, with the target's last lines in `log`.
///
/// `beside` is the program beside the target that had ended by then, where one had.
pub(super) fn outcome(
    stop: Stop,
    phase: Phase,
    memory: MemoryEvidence,
    beside: Option<(String, Ending)>,
    log: &[String],
) -> Outcome {
    let out_of_memory = |evidence: String| Outcome::OutOfMemory { phase, evidence };
    // Whatever followed, the guard's kill came first.
    if let Some((available_bytes, least_bytes)) = memory.guard {
        return Outcome::GuardKill { phase, available_bytes, least_bytes };
    }
    if let (Stop::CoResidentEnded(_), Some((name, Ending { signal, exit_code }))) = (&stop, beside) {
        return Outcome::CoResidentEnded { phase, name, signal, exit_code };
    }
    match stop {
        Stop::Interrupted | Stop::Guarded | Stop::CoResidentEnded(_) => Outcome::Interrupted,
        Stop::TimedOut(limit) => Outcome::TimedOut { phase, limit_ms: Millis(limit.as_secs_f64() * 1e3) },
        Stop::Failed(message) if words_of_memory(&message) => {
            out_of_memory(format!("the target said: {message}"))
        }
        Stop::Failed(message) => Outcome::Failed { phase, message },
        Stop::Exited(Ending { signal: Some(SIGKILL), .. }) if memory.cgroup_kills > 0 => out_of_memory(
            "killed by the kernel: the trial's memory cgroup counts an out-of-memory kill".to_owned(),
        ),
        Stop::Exited(Ending { signal: Some(SIGKILL), .. }) if memory.machine_kills > 0 => {
            out_of_memory("killed by SIGKILL while the kernel counted an out-of-memory kill".to_owned())
        }
        Stop::Exited(ending) => {
            // The last word counts: a line about memory long before an unrelated end proves nothing.
            let recent = &log[log.len().saturating_sub(10)..];
            match recent.iter().rev().find(|line| words_of_memory(line)) {
                Some(line) if ending.exit_code != Some(0) => out_of_memory(format!("its last words: {line}")),
                _ => Outcome::Crashed { phase, signal: ending.signal, exit_code: ending.exit_code },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(signal: Option<i32>, exit_code: Option<i32>, memory: MemoryEvidence, log: &[&str]) -> Outcome {
        let log: Vec<String> = log.iter().map(|line| (*line).to_owned()).collect();
        outcome(Stop::Exited(Ending { signal, exit_code }), Phase::Load, memory, None, &log)
    }

    #[test]
    fn a_kill_is_about_memory_only_with_evidence() {
        let none = MemoryEvidence::default();
        let crashed = Outcome::Crashed { phase: Phase::Load, signal: Some(9), exit_code: None };
        assert_eq!(judge(Some(9), None, none, &[]), crashed);
        for memory in
            [MemoryEvidence { cgroup_kills: 1, ..none }, MemoryEvidence { machine_kills: 2, ..none }]
        {
            assert!(matches!(judge(Some(9), None, memory, &[]), Outcome::OutOfMemory { .. }));
            let segfault = judge(Some(11), None, memory, &[]);
            assert!(matches!(segfault, Outcome::Crashed { signal: Some(11), .. }), "someone else was killed");
        }
    }

    #[test]
    fn last_words_count_but_old_ones_do_not() {
        let none = MemoryEvidence::default();
        let said = judge(Some(6), None, none, &["memory allocation of 99 bytes failed", "aborted"]);
        assert!(matches!(said, Outcome::OutOfMemory { evidence, .. } if evidence.contains("99 bytes")));
        let mut log = vec!["CUDA_ERROR_OUT_OF_MEMORY, retrying smaller"];
        log.extend(["fine"; 10]);
        assert!(matches!(judge(Some(11), None, none, &log), Outcome::Crashed { .. }));
        assert!(matches!(
            judge(None, Some(0), none, &["out of memory"]),
            Outcome::Crashed { exit_code: Some(0), .. }
        ));
    }
}
