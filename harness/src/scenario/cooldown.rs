//! How long the machine rests between two trials.

use std::time::Duration;

use super::units::Temperature;

/// The rest between two trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooldown {
    /// So long at least.
    pub lasts: Duration,
    /// Until the hottest zone is below this, where the scenario says so.
    pub below: Option<Temperature>,
    /// When to give up on that.
    pub timeout: Duration,
}

impl Cooldown {
    /// When to give up where the scenario does not say.
    pub const TIMEOUT: Duration = Duration::from_secs(120);
}
