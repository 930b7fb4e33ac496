//! When to try again, and when to stop.

use std::time::Duration;

use super::FetchError;
use crate::engines::Progress;

/// How long is waited, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Tries in a row that bring nothing, until it is given up.
    pub tries: u32,
    /// The wait after the first of them; each later one is twice as long.
    pub first: Duration,
    /// The longest wait, also where a server asks for more.
    pub longest: Duration,
    /// How long a connection may be silent.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            tries: 6,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(120),
            silence: Duration::from_secs(30),
        }
    }
}

/// What went wrong with one try.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It would go wrong again.
    Lasting(FetchError),
    /// The server has too much to do.
    Busy {
        /// What was asked.
        address: String,
        /// The status.
        status: u16,
        /// How long the server wants to be left alone.
        after: Option<Duration>,
    },
    /// The connection broke or was never made.
    Broken {
        /// What was asked.
        address: String,
        /// What the transport says.
        why: String,
    },
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Trouble {
        Trouble::Lasting(error)
    }
}

/// Counts tries that brought nothing.
#[derive(Debug)]
pub(super) struct Tries {
    patience: Patience,
    in_vain: u32,
}

impl Tries {
    pub(super) fn new(patience: Patience) -> Tries {
        Tries { patience, in_vain: 0 }
    }

    /// Something arrived: the count begins anew.
    pub(super) fn brought_something(&mut self) {
        self.in_vain = 0;
    }

    /// Waits until the next try.
    ///
    /// # Errors
    /// When it is given up, or the user asks to stop.
    pub(super) async fn wait_after(
        &mut self,
        trouble: Trouble,
        progress: &dyn Progress,
    ) -> Result<(), FetchError> {
        self.in_vain += 1;
        let (tries, patience) = (self.in_vain, self.patience);
        let (asked, given_up) = match trouble {
            Trouble::Lasting(error) => return Err(error),
            Trouble::Busy { address, status, after } => (after, FetchError::Busy { address, status, tries }),
            Trouble::Broken { address, why } => (None, FetchError::Broken { address, tries, why }),
        };
        if tries >= patience.tries {
            return Err(given_up);
        }
        let own = patience.first.saturating_mul(1 << (tries - 1).min(16));
        let pause = asked.map_or(own, |asked| asked.max(own)).min(patience.longest);
        unless_stopped(progress, tokio::time::sleep(pause)).await
    }
}

/// Waits for `work`, unless the user asks to stop.
///
/// # Errors
/// [`FetchError::Interrupted`].
pub(super) async fn unless_stopped<T>(
    progress: &dyn Progress,
    work: impl Future<Output = T>,
) -> Result<T, FetchError> {
    const LOOK: Duration = Duration::from_millis(50);
    let mut work = std::pin::pin!(work);
    loop {
        if progress.is_interrupted() {
            return Err(FetchError::Interrupted);
        }
        if let Ok(done) = tokio::time::timeout(LOOK, work.as_mut()).await {
            return Ok(done);
        }
    }
}
