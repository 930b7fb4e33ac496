//! The only place that asks what time it is.

use std::time::Instant;

use ledger::Micros;

/// Time since a trial or an answer began, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct TrialClock {
    start: Instant,
}

impl TrialClock {
    /// Begins now.
    pub fn start() -> TrialClock {
        TrialClock { start: Instant::now() }
    }

    /// Whole microseconds since the beginning.
    pub fn now(&self) -> Micros {
        Micros(self.start.elapsed().as_micros() as u64)
    }
}

/// The time of day, RFC 3339, in UTC and whole milliseconds.
pub fn wall_clock() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// The time of day as a file name that sorts by time: `20260131T235959.123Z`.
pub fn folder_name() -> String {
    wall_clock().replace(['-', ':'], "")
}

/// Processor time that this thread has taken.
pub fn thread_cpu() -> Micros {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Micros(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000)
}

/// How long it is until `moment`; nothing once it is over.
pub fn time_until(moment: jiff::Timestamp) -> std::time::Duration {
    jiff::Timestamp::now().duration_until(moment).try_into().unwrap_or_default()
}
