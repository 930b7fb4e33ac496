//! The stages of a trial, in the order in which they happen.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stage of a trial. Memory is a property of a phase, not of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The process is up, no engine is loaded.
    Idle,
    /// Weights become reachable, until the target says that it is ready.
    Load,
    /// A prompt is read, up to its first token.
    Prefill,
    /// Tokens are generated one after the other.
    Decode,
    /// Nothing is asked for; what is still held stays held.
    Settle,
    /// The target is asked to end, until its process is gone.
    Unload,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 6] =
        [Phase::Idle, Phase::Load, Phase::Prefill, Phase::Decode, Phase::Settle, Phase::Unload];

    /// The name as it stands in files and on screens.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Load => "load",
            Phase::Prefill => "prefill",
            Phase::Decode => "decode",
            Phase::Settle => "settle",
            Phase::Unload => "unload",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
