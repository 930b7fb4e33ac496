//! A clock around each operator.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use runtime::backend::cpu::Observer;

/// Time by operator, the largest first.
pub(crate) type Shares = Vec<(&'static str, Duration)>;

/// Counts where the CPU's time goes.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<BTreeMap<&'static str, Duration>>);

impl Clock {
    /// What has been counted since it was last asked.
    pub(crate) fn take(&self) -> Shares {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shares: Shares = std::mem::take(&mut *times).into_iter().collect();
        shares.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        shares
    }
}

impl Observer for Clock {
    fn around<R>(&self, operator: &'static str, body: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = body();
        let took = start.elapsed();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(operator).or_default() += took;
        result
    }
}
