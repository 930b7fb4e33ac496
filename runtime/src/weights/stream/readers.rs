//! The threads that read, and what they fill.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::DirectFile;
use super::schedule::Schedule;
use crate::memory::Slot;
use crate::plan::Pieces;

/// Stack of a reader, which only waits and reads.
const STACK: usize = 128 << 10;

/// Why a weight could not be read while it was wanted.
#[derive(Debug, thiserror::Error)]
#[error(
    "read streamed weights at {offset} of {path}: {cause}; build the engine again if its file is damaged"
)]
pub struct StreamError {
    /// The weights' file.
    pub path: PathBuf,
    /// Where the read began.
    pub offset: u64,
    /// What the system said.
    pub cause: std::io::Error,
}

/// Streamed weights: readers, and the slots that they fill. Dropping it stops the readers.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    file: DirectFile,
    stripes: Vec<Pieces>,
    state: Mutex<State>,
    /// There may be something to read.
    work: Condvar,
    /// There may be something to use.
    done: Condvar,
}

#[derive(Debug)]
struct State {
    stripes: Schedule<Slot, StreamError>,
    look_ups: LookUps,
    closing: bool,
}

/// Reads that somebody waits for at this moment. They go before all others.
#[derive(Debug)]
struct LookUps {
    queue: VecDeque<(u64, Pieces, Slot)>,
    done: Vec<(u64, Slot, Option<StreamError>)>,
    free: Vec<Slot>,
    next: u64,
}

/// What a reader has taken on.
enum Job {
    Stripe(usize, Slot),
    LookUp(u64, Pieces, Slot),
}

impl Stream {
    /// Starts `readers` threads that read `stripes` of `file` into `slots`, and rows of tables into `look_ups`. Every slot holds
    /// every stripe, and every slot for look-ups every tile of a table.
    ///
    /// # Errors
    /// If the system refuses a thread; those already started are stopped again.
    pub fn start(
        path: PathBuf,
        file: DirectFile,
        stripes: Vec<Pieces>,
        slots: Vec<Slot>,
        look_ups: Vec<Slot>,
        readers: usize,
    ) -> Result<Stream, std::io::Error> {
        let state = State {
            stripes: Schedule::new(stripes.len(), slots),
            look_ups: LookUps { queue: VecDeque::new(), done: Vec::new(), free: look_ups, next: 0 },
            closing: false,
        };
        let shared = Arc::new(Shared {
            path,
            file,
            stripes,
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let mut stream = Stream { shared, readers: Vec::new() };
        for index in 0..readers.max(1) {
            let shared = stream.shared.clone();
            let thread = std::thread::Builder::new().name(format!("reader-{index}")).stack_size(STACK);
            stream.readers.push(thread.spawn(move || shared.read_on())?);
        }
        Ok(stream)
    }

    /// Replaces what will be used: numbers of stripes, in order.
    pub fn announce(&self, stripes: impl Iterator<Item = usize>) {
        self.shared.state().stripes.announce(stripes);
        self.shared.work.notify_all();
    }

    /// Waits for `stripe`, lets `body` use it and takes its slot back.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn with<R>(&self, stripe: usize, body: impl FnOnce(&Pieces, &[u8]) -> R) -> Result<R, StreamError> {
        let shared = &*self.shared;
        let mut state = shared.state();
        state.stripes.demand(stripe);
        let slot = loop {
            if let Some(slot) = state.stripes.take(stripe) {
                break slot?;
            }
            shared.work.notify_all();
            state = wait(&shared.done, state);
        };
        drop(state);
        let held = Held { shared, slot: Some(slot) };
        Ok(body(&shared.stripes[stripe], held.bytes()))
    }

    /// Reads all of `wanted`, several at a time, and calls `each` with the number and the bytes of every one, in any order.
    ///
    /// # Errors
    /// If one of them cannot be read; the others may have been passed on.
    pub fn look_up(
        &self,
        wanted: &[Pieces],
        mut each: impl FnMut(usize, &Pieces, &[u8]),
    ) -> Result<(), StreamError> {
        let shared = &*self.shared;
        let (mut asked, mut under_way) = (0, Vec::new());
        let mut failed = None;
        let mut state = shared.state();
        while !under_way.is_empty() || (asked < wanted.len() && failed.is_none()) {
            while asked < wanted.len() && failed.is_none() {
                let Some(slot) = state.look_ups.free.pop() else { break };
                let ticket = state.look_ups.next;
                state.look_ups.next += 1;
                state.look_ups.queue.push_back((ticket, wanted[asked], slot));
                under_way.push((ticket, asked));
                asked += 1;
            }
            shared.work.notify_all();
            let own = |(ticket, ..): &(u64, Slot, Option<StreamError>)| {
                under_way.iter().position(|(own, _)| own == ticket)
            };
            let found =
                state.look_ups.done.iter().enumerate().find_map(|(place, read)| Some((place, own(read)?)));
            let Some((place, own)) = found else {
                state = wait(&shared.done, state);
                continue;
            };
            let (_, slot, error) = state.look_ups.done.swap_remove(place);
            let (_, number) = under_way.swap_remove(own);
            drop(state);
            match error {
                Some(error) => failed = failed.or(Some(error)),
                None => each(number, &wanted[number], slot.bytes()),
            }
            state = shared.state();
            state.look_ups.free.push(slot);
            shared.done.notify_all();
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether reads go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.shared.file.is_direct()
    }
}

/// A filled slot in use. Dropping it gives it back, after a panic as well: a ring that lost its slots would stand still.
struct Held<'a> {
    shared: &'a Shared,
    slot: Option<Slot>,
}

impl Held<'_> {
    fn bytes(&self) -> &[u8] {
        self.slot.as_ref().map_or(&[], Slot::bytes)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.state().stripes.release(slot);
        }
        // To readers that wait for a slot, and to other users that do.
        self.shared.work.notify_all();
        self.shared.done.notify_all();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.work.notify_all();
        for reader in self.readers.drain(..) {
            // A reader has no panic of its own; if one came, there is nothing to undo.
            let _ = reader.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a reader.
    fn read_on(&self) {
        while let Some(job) = self.next_job() {
            match job {
                Job::Stripe(stripe, mut slot) => {
                    let error = self.fill(&self.stripes[stripe], &mut slot).err();
                    self.state().stripes.finish(stripe, slot, error);
                }
                Job::LookUp(ticket, pieces, mut slot) => {
                    let error = self.fill(&pieces, &mut slot).err();
                    self.state().look_ups.done.push((ticket, slot, error));
                }
            }
            self.done.notify_all();
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.closing {
                return None;
            }
            if let Some((ticket, pieces, slot)) = state.look_ups.queue.pop_front() {
                return Some(Job::LookUp(ticket, pieces, slot));
            }
            if let Some((stripe, slot)) = state.stripes.next() {
                return Some(Job::Stripe(stripe, slot));
            }
            state = wait(&self.work, state);
        }
    }

    fn fill(&self, pieces: &Pieces, slot: &mut Slot) -> Result<(), StreamError> {
        for read in pieces.reads() {
            let into = &mut slot.bytes_mut()[read.at as usize..][..read.bytes as usize];
            self.file.read(read.offset, into).map_err(|cause| StreamError {
                path: self.path.clone(),
                offset: read.offset,
                cause,
            })?;
        }
        Ok(())
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition.wait(state).unwrap_or_else(PoisonError::into_inner)
}
