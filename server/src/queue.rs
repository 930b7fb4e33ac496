//! Requests that wait for the engine, first come, first served.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::ApiError;

/// Something that can lose its purpose while it waits.
pub(crate) trait Waiting {
    /// Whether nobody waits for the result any more.
    fn is_abandoned(&self) -> bool;
}

/// A queue of limited length between the sockets and the engine.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    limit: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T: Waiting> Queue<T> {
    /// A queue in which at most `limit` requests wait, beside those that run.
    pub(crate) fn new(limit: usize) -> Queue<T> {
        let state = State { waiting: VecDeque::new(), closed: false };
        Queue { state: Mutex::new(state), ready: Condvar::new(), limit }
    }

    /// No code that holds the lock can panic, so a poisoned lock guards a sound state.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request at the end. Abandoned ones make room.
    ///
    /// # Errors
    /// When the queue is full or closed.
    pub(crate) fn push(&self, job: T) -> Result<(), ApiError> {
        let mut state = self.lock();
        if state.closed {
            return Err(ApiError::shutting_down());
        }
        state.waiting.retain(|job| !job.is_abandoned());
        if state.waiting.len() >= self.limit {
            return Err(ApiError::queue_full(self.limit));
        }
        state.waiting.push_back(job);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for the next request that somebody still wants; `None` once the queue is closed.
    pub(crate) fn next(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.waiting.pop_front() {
                Some(job) if job.is_abandoned() => {}
                Some(job) => return Some(job),
                None => state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// The next request that somebody still wants, if one waits.
    pub(crate) fn try_next(&self) -> Option<T> {
        let mut state = self.lock();
        while let Some(job) = state.waiting.pop_front() {
            if !job.is_abandoned() {
                return Some(job);
            }
        }
        None
    }

    /// How many requests wait and are still wanted.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.iter().filter(|job| !job.is_abandoned()).count()
    }

    /// Ends the queue: those who wait are dropped, later ones refused.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        self.ready.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Number(u32, bool);

    impl Waiting for Number {
        fn is_abandoned(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn the_first_in_is_the_first_out_and_the_abandoned_never() {
        let queue = Queue::new(2);
        queue.push(Number(1, true)).unwrap();
        queue.push(Number(2, false)).unwrap();
        queue.push(Number(3, false)).unwrap();
        assert_eq!(queue.waiting(), 2);
        assert_eq!(queue.push(Number(4, false)), Err(ApiError::queue_full(2)));
        assert_eq!(queue.next().map(|job| job.0), Some(2));
        queue.push(Number(5, true)).unwrap();
        assert_eq!(queue.next().map(|job| job.0), Some(3));
        queue.close();
        assert!(queue.next().is_none());
        assert_eq!(queue.push(Number(6, false)), Err(ApiError::shutting_down()));
    }
}
