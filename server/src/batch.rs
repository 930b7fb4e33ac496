//! The requests that run together: each comes in as soon as there is a place, and leaves when it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::{GenerateError, Step, TextEngine, Turn};
use crate::error::ApiError;
use crate::job::{Event, Job, Running, panic_message};
use crate::queue::Queue;

/// Runs what comes through `queue` until it is closed.
pub(crate) fn run(engine: &mut dyn TextEngine, queue: &Queue<Job>, shutdown: &AtomicBool) {
    let mut batch = Batch { engine, places: Vec::new(), shutdown };
    batch.places.resize_with(batch.engine.max_batch().max(1), || None);
    loop {
        // Before anybody comes in: what those who left hold is not there beside what a newcomer takes.
        batch.let_go();
        // One a step, so that those who run wait for one prompt at a time.
        if let Some(place) = batch.places.iter().position(Option::is_none) {
            let idle = batch.places.iter().all(Option::is_none);
            match if idle { queue.next() } else { queue.try_next() } {
                Some(job) => {
                    batch.begin(place, job);
                    batch.let_go();
                }
                None if idle => return,
                None => {}
            }
        }
        batch.step();
    }
}

struct Batch<'a> {
    engine: &'a mut dyn TextEngine,
    places: Vec<Option<Running>>,
    shutdown: &'a AtomicBool,
}

impl Batch<'_> {
    fn begin(&mut self, place: usize, job: Job) {
        let mut running = Running::new(job);
        let cancelled = || running.is_abandoned() || self.shutdown.load(Ordering::Relaxed);
        let begun = guarded(|| self.engine.begin(place, running.prompt(), running.options(), &cancelled));
        let last = match begun {
            Ok(Some(token)) => running.take(Step { tokens: vec![token], drafted: None }),
            Ok(None) => Some(Event::Failed(ApiError::shutting_down())),
            Err(error) => Some(Event::Failed(error)),
        };
        self.places[place] = Some(running);
        if let Some(last) = last {
            self.end(place, last);
        }
    }

    /// Ends the requests for which nobody waits any more.
    fn let_go(&mut self) {
        for place in 0..self.places.len() {
            let stops = self.shutdown.load(Ordering::Relaxed);
            let Some(running) = &self.places[place] else { continue };
            if stops || running.is_abandoned() {
                self.end(place, Event::Failed(ApiError::shutting_down()));
            }
        }
    }

    fn step(&mut self) {
        let shutdown = self.shutdown;
        let cancelled: Vec<_> = self
            .places
            .iter()
            .map(|running| {
                move || {
                    let abandoned = running.as_ref().is_none_or(Running::is_abandoned);
                    abandoned || shutdown.load(Ordering::Relaxed)
                }
            })
            .collect();
        let running = self.places.iter().zip(&cancelled).enumerate();
        let turns: Vec<Turn<'_>> = running
            .filter_map(|(place, (running, cancelled))| {
                Some(Turn { place, wanted: running.as_ref()?.wanted(), cancelled })
            })
            .collect();
        if turns.is_empty() {
            return;
        }
        let stepped: Vec<usize> = turns.iter().map(|turn| turn.place).collect();
        let engine = &mut *self.engine;
        let steps = guarded(|| engine.step(&turns));
        drop(turns);
        drop(cancelled);
        match steps {
            Ok(steps) => {
                for (place, step) in stepped.into_iter().zip(steps) {
                    let running = self.places[place].as_mut();
                    if let Some(last) = running.and_then(|running| running.take(step)) {
                        self.end(place, last);
                    }
                }
            }
            Err(error) => {
                stepped.into_iter().for_each(|place| self.end(place, Event::Failed(error.clone())));
            }
        }
    }

    /// Frees a place, and then tells whoever waits: a client that has heard the end finds its memory returned.
    fn end(&mut self, place: usize, last: Event) {
        // An engine that cannot even let go of a request has said why when it panicked first.
        let _ = catch_unwind(AssertUnwindSafe(|| self.engine.end(place)));
        if let Some(running) = self.places[place].take() {
            running.end(last);
        }
    }
}

/// Calls the engine, which promises to start a place afresh after an error or a panic.
fn guarded<T>(call: impl FnOnce() -> Result<T, GenerateError>) -> Result<T, ApiError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Err(panic) => Err(ApiError::engine_panicked(panic_message(panic.as_ref()))),
        Ok(result) => result.map_err(ApiError::from),
    }
}
