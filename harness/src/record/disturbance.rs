//! What a trial was disturbed by: its numbers stay, and decide nothing.

use std::fmt;

use ledger::Phase;
use serde::{Deserialize, Serialize};

use super::Remnant;

/// Something from outside the target that a trial was measured under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disturbance {
    /// The phase at whose end it was seen; the first one for what was there before.
    pub phase: Phase,
    /// What it was.
    pub cause: DisturbanceCause,
}

/// What disturbs a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisturbanceCause {
    /// A throttle counter grew.
    Throttled {
        /// The counter.
        counter: String,
        /// Events that it counted since it was last read.
        events: u64,
    },
    /// The highest clock that is allowed was lowered.
    ClockCapped {
        /// The clock.
        clock: String,
        /// The bound before, in hertz.
        from_hz: u64,
        /// The bound since then, in hertz.
        to_hz: u64,
    },
    /// A clock ran slower than the lowest that is allowed: something below the governor slowed it down.
    ClockDropped {
        /// The clock.
        clock: String,
        /// The lowest that is allowed, in hertz.
        lowest_hz: u64,
        /// What it ran at, in hertz.
        now_hz: u64,
    },
    /// The floor was not that of the first trial when its target was started.
    LeftBehind(Remnant),
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.phase;
        let mhz = |hz: &u64| hz / 1_000_000;
        match &self.cause {
            DisturbanceCause::Throttled { counter, events } => {
                write!(f, "the machine slowed itself down in {phase}: {counter} counted {events} more")
            }
            DisturbanceCause::ClockCapped { clock, from_hz, to_hz } => write!(
                f,
                "the clocks dropped in {phase}: {clock} may run at {} MHz, and no more at {}",
                mhz(to_hz),
                mhz(from_hz)
            ),
            DisturbanceCause::ClockDropped { clock, lowest_hz, now_hz } => write!(
                f,
                "the clocks dropped in {phase}: {clock} runs at {} MHz, below its lowest of {}",
                mhz(now_hz),
                mhz(lowest_hz)
            ),
            DisturbanceCause::LeftBehind(remnant) => {
                write!(f, "it began before the floor was back: {remnant}")
            }
        }
    }
}
