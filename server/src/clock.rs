//! The one place that reads the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, for durations.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for the `created` field of replies.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
