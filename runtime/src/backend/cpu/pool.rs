//! Worker threads for parallel sections.
//!
//! A decode step has some hundreds of short sections, so a section must cost far less than a microsecond: workers wait
//! in a bounded spin for the next section and only then go to sleep. The bound matters as much as the spin: on a
//! machine with more runnable threads than cores an unbounded spin holds the core that the other worker needs.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

use thiserror::Error;

use super::SharedMut;

/// Spins before a worker that waits for a section goes to sleep: longer than the serial work between sections.
const SPINS_FOR_SECTION: u32 = 20_000;

/// Spins before the caller that waits for workers goes to sleep: longer than a worker's last piece of work. If it takes
/// longer, the worker has lost its core, and the caller's may be the one that it can have.
const SPINS_FOR_WORKERS: u32 = 4_000;

/// In [`Shared::gate`]: workers may enter the section.
const OPEN: u64 = 1 << 31;

/// In [`Shared::gate`]: workers that have entered the section.
const ENTERED: u64 = OPEN - 1;

/// Why a pool could not be made.
#[derive(Debug, Error)]
pub enum PoolError {
    /// The operating system refused a thread.
    #[error("start worker thread {index} of {threads}: {source}; ask for fewer threads")]
    Spawn {
        /// The worker that could not be started.
        index: usize,
        /// Threads asked for.
        threads: usize,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// A fixed set of threads that run one parallel section at a time. The calling thread is worker 0.
///
/// Sections from several callers run one after the other. A section that is started inside a section runs on the calling
/// thread alone instead of deadlocking.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    callers: Mutex<()>,
}

/// A value on its own pair of cache lines, so that spinning on it does not slow down its neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

#[derive(Debug)]
struct Shared {
    /// Number of the section in the upper half, [`OPEN`] and [`ENTERED`] in the lower.
    gate: Padded<AtomicU64>,
    /// Workers that have finished the current section.
    finished: Padded<AtomicUsize>,
    /// Whether worker `i + 1` is asleep, or about to be.
    asleep: Vec<Padded<AtomicBool>>,
    caller_asleep: AtomicBool,
    closing: AtomicBool,
    section: UnsafeCell<Option<Section>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The body of [`Pool::split_slices`]: a range of items and their part of each slice.
pub type SliceBody<'a, A, B, C> = dyn Fn(Range<usize>, &mut [A], &mut [B], &mut [C]) + Sync + 'a;

type Body<'a> = dyn Fn(usize) + Sync + 'a;

#[derive(Debug, Clone)]
struct Section {
    body: *const Body<'static>,
    caller: Thread,
}

// SAFETY: `section` is written only by the caller that holds `Pool::callers`, after every worker that had entered the last
// section has finished and while the gate is shut. Workers read it between entering through the open gate and counting
// themselves as finished. All these edges are sequentially consistent. The body behind the pointer is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

thread_local! {
    static INSIDE_SECTION: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    /// Starts `threads - 1` workers; 0 counts as 1.
    ///
    /// # Errors
    /// If the system refuses a thread; those already started are stopped again.
    pub fn new(threads: usize) -> Result<Self, PoolError> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            gate: Padded::default(),
            finished: Padded::default(),
            asleep: (1..threads).map(|_| Padded::default()).collect(),
            caller_asleep: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            section: UnsafeCell::new(None),
            panic: Mutex::new(None),
        });
        let mut pool = Self { shared, workers: Vec::with_capacity(threads - 1), callers: Mutex::new(()) };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || shared.work(index))
                .map_err(|source| PoolError::Spawn { index, threads, source })?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// CPUs that this process may use: the affinity mask and the cgroup's CPU quota, whichever is less; at least 1.
    pub fn default_threads() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    /// Workers of a section, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `body(0)` on the calling thread, and at the same time `body(index)` on every worker that comes before that call
    /// returns; `body` takes its work from a queue that all share. It never waits for a worker whose core is taken by
    /// another process before it has begun. No index comes twice, so that each may have something of its own. A panic in
    /// any of them is raised again here, after all have finished.
    pub fn drain(&self, body: &Body<'_>) {
        if self.workers.is_empty() || INSIDE_SECTION.get() {
            body(0);
            return;
        }
        let turn = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. Workers use the pointer between entering and counting as finished, and this
        // function does not return or unwind before all who entered have finished and the gate is shut.
        let body_for_workers = unsafe { std::mem::transmute::<*const Body<'_>, *const Body<'static>>(body) };
        let section = Section { body: body_for_workers, caller: std::thread::current() };
        // SAFETY: `turn` is held and the previous section has ended, so nobody else accesses the cell.
        unsafe { *shared.section.get() = Some(section) };
        shared.finished.0.store(0, Ordering::SeqCst);
        let number = (shared.gate.0.load(Ordering::SeqCst) >> 32).wrapping_add(1);
        shared.gate.0.store(number << 32 | OPEN, Ordering::SeqCst);
        self.wake_sleepers();

        let own = catch_inside_section(|| body(0));
        let entered = shared.gate.0.fetch_and(!OPEN, Ordering::SeqCst) & ENTERED;
        shared.wait_until_finished(entered as usize);
        let others = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(turn);
        if let Some(payload) = own.err().or(others) {
            resume_unwind(payload);
        }
    }

    /// Divides `0..items` into at most `threads()` contiguous parts of nearly equal size, with boundaries at multiples of
    /// `grain` (0 counts as 1), and calls `body` on each part at the same time. Empty parts are left out.
    pub fn split(&self, items: usize, grain: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
        let grain = grain.max(1);
        let blocks = items.div_ceil(grain);
        if blocks <= 1 {
            if items > 0 {
                body(0..items);
            }
            return;
        }
        let threads = self.threads();
        let boundary = |index: usize| {
            let block = (blocks as u128 * index as u128 / threads as u128) as usize;
            block.saturating_mul(grain).min(items)
        };
        let next = AtomicUsize::new(0);
        self.drain(&|_| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= threads {
                    return;
                }
                let part = boundary(index)..boundary(index + 1);
                if !part.is_empty() {
                    body(part);
                }
            }
        });
    }

    /// Like [`Pool::split`], for three slices that hold `items` items each: every part comes with its own part of each
    /// slice. A slice's elements per item are its length divided by `items`.
    ///
    /// # Panics
    /// If a slice's length is not a multiple of `items`.
    pub fn split_slices<A: Send, B: Send, C: Send>(
        &self,
        items: usize,
        grain: usize,
        slices: (&mut [A], &mut [B], &mut [C]),
        body: &SliceBody<'_, A, B, C>,
    ) {
        if items == 0 {
            return;
        }
        let (a, b, c) = (SharedMut::new(slices.0), SharedMut::new(slices.1), SharedMut::new(slices.2));
        let units = [a.len() / items, b.len() / items, c.len() / items];
        assert!(units.map(|unit| unit * items) == [a.len(), b.len(), c.len()], "slices hold whole items");
        self.split(items, grain, &|part| {
            let of = |unit: usize| part.start * unit..part.end * unit;
            // SAFETY: the parts of a split are disjoint, so are their multiples, and each part is visited once.
            let (a, b, c) = unsafe { (a.slice(of(units[0])), b.slice(of(units[1])), c.slice(of(units[2]))) };
            body(part, a, b, c);
        });
    }

    fn wake_sleepers(&self) {
        for (asleep, worker) in self.shared.asleep.iter().zip(&self.workers) {
            if asleep.0.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.gate.0.fetch_add(1 << 32, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches every panic of a body, so joining cannot fail; if it did, there is nothing to undo.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// The life of worker `index`.
    fn work(&self, index: usize) {
        let mut seen = 0;
        loop {
            let gate = self.wait_for_section(index, seen);
            seen = gate >> 32;
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            if !self.enter(seen) {
                continue;
            }
            // SAFETY: this worker has entered, so the caller has finished writing and will not write again before the
            // worker counts as finished below.
            let section = unsafe { (*self.section.get()).clone() };
            let section = section.expect("a section is set before the gate opens");
            // SAFETY: the caller keeps the body alive until all who entered have finished.
            let body = unsafe { &*section.body };
            if let Err(payload) = catch_inside_section(|| body(index)) {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
            }
            self.finished.0.fetch_add(1, Ordering::SeqCst);
            if self.caller_asleep.load(Ordering::SeqCst) {
                section.caller.unpark();
            }
        }
    }

    /// Enters section `number`, unless its gate is shut by now.
    fn enter(&self, number: u64) -> bool {
        let entered = |gate: u64| (gate >> 32 == number && gate & OPEN != 0).then_some(gate + 1);
        self.gate.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, entered).is_ok()
    }

    /// Returns the gate once the number of its section differs from `seen`.
    fn wait_for_section(&self, index: usize, seen: u64) -> u64 {
        let new_gate = || Some(self.gate.0.load(Ordering::SeqCst)).filter(|gate| gate >> 32 != seen);
        for _ in 0..SPINS_FOR_SECTION {
            if let Some(gate) = new_gate() {
                return gate;
            }
            std::hint::spin_loop();
        }
        // The flag is set before the last look at the gate, and the caller opens the gate before it looks at the flag, so
        // one of the two sees the other.
        let asleep = &self.asleep[index - 1].0;
        asleep.store(true, Ordering::SeqCst);
        loop {
            if let Some(gate) = new_gate() {
                asleep.store(false, Ordering::SeqCst);
                return gate;
            }
            std::thread::park();
        }
    }

    /// Returns when `count` workers have finished the current section.
    fn wait_until_finished(&self, count: usize) {
        let done = || self.finished.0.load(Ordering::SeqCst) >= count;
        for _ in 0..SPINS_FOR_WORKERS {
            if done() {
                return;
            }
            std::hint::spin_loop();
        }
        self.caller_asleep.store(true, Ordering::SeqCst);
        while !done() {
            std::thread::park();
        }
        self.caller_asleep.store(false, Ordering::SeqCst);
    }
}

/// Runs `body` as part of a section and returns its panic instead of unwinding.
fn catch_inside_section(body: impl FnOnce()) -> Result<(), Box<dyn Any + Send>> {
    INSIDE_SECTION.set(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    INSIDE_SECTION.set(false);
    result
}

#[cfg(test)]
mod tests;
