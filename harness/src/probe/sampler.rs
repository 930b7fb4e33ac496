//! The 10 ms series: a thread of its own that wakes by a timer and never allocates while it samples, and a second one
//! that writes what the first has seen and looks for new processes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ledger::{Bytes, Micros};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::health::IntervalHistogram;
use super::live::LiveMemory;
use super::memory_guard::MemoryGuard;
use super::nvmap::NvmapPool;
use super::process::ProcessMemory;
use super::procfs::TEXT_BYTES;
use super::ring::{Ring, UNAVAILABLE};
use super::series_file::SeriesFile;
use super::system::SystemMemory;
use crate::clock::{TrialClock, thread_cpu};
use crate::record::SamplerHealth;

/// Samples that fit between two visits of the writer: far more than ever wait.
const RING_CAPACITY: usize = 8192;

/// The writer hands lines to the kernel this often, so that a kill loses less than a second.
const WRITE_EVERY: Duration = Duration::from_millis(100);

/// What a sampler reads and how often.
#[derive(Debug)]
pub struct SamplerOptions {
    /// Time between two samples.
    pub interval: Duration,
    /// The target's processes.
    pub process: ProcessMemory,
    /// What runs beside the target.
    pub co_residents: Vec<ProcessMemory>,
    /// The machine.
    pub system: SystemMemory,
    /// GPU memory of a board whose GPU shares main memory.
    pub nvmap: NvmapPool,
    /// What is to end the target before the machine runs out of memory.
    pub guard: Arc<MemoryGuard>,
    /// The trial's clock.
    pub clock: TrialClock,
}

#[derive(Debug)]
struct Shared {
    /// Tells the sampling thread to end.
    stop: AtomicBool,
    /// Tells the writing thread that nothing more will come.
    complete: AtomicBool,
    /// The highest high-water mark that was seen since the last phase began, for targets that die before it can be read.
    high_water: AtomicU64,
    live: LiveMemory,
    ring: Ring,
}

/// A running sampler.
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Shared>,
    process: ProcessMemory,
    sampling: JoinHandle<SamplerHealth>,
    writing: JoinHandle<io::Result<()>>,
}

impl Sampler {
    /// Starts sampling into the new file `path`. Fails where the file or the timer cannot be made.
    pub fn start(options: SamplerOptions, path: &Path) -> io::Result<Sampler> {
        let file = SeriesFile::create(path)?;
        let timer = interval_timer(options.interval)?;
        let process = options.process.clone();
        let sampled: Vec<ProcessMemory> =
            std::iter::once(&process).chain(&options.co_residents).cloned().collect();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            complete: AtomicBool::new(false),
            high_water: AtomicU64::new(0),
            live: LiveMemory::default(),
            ring: Ring::with_capacity(RING_CAPACITY),
        });
        let sampling = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("sampler".to_owned())
                .spawn(move || sample(&options, &timer, &shared))?
        };
        let writing = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("series".to_owned())
                .spawn(move || write(file, &sampled, &shared))?
        };
        Ok(Sampler { shared, process, sampling, writing })
    }

    /// The highest high-water mark that any sample saw since this was last called.
    pub fn take_high_water(&self) -> Option<Bytes> {
        let seen = self.shared.high_water.swap(0, Ordering::Relaxed);
        (seen > 0).then_some(Bytes(seen))
    }

    /// What the last sample saw, for a screen.
    pub fn live(&self) -> &LiveMemory {
        &self.shared.live
    }

    /// The processes that are sampled.
    pub fn process(&self) -> &ProcessMemory {
        &self.process
    }

    /// Stops, writes the rest, and says how well it went. Fails where the series could not be written.
    pub fn finish(self) -> io::Result<SamplerHealth> {
        self.shared.stop.store(true, Ordering::Release);
        let died = |_| io::Error::other("a sampling thread has died");
        let health = self.sampling.join().map_err(died)?;
        self.shared.complete.store(true, Ordering::Release);
        self.writing.thread().unpark();
        self.writing.join().map_err(died)??;
        Ok(health)
    }
}

fn interval_timer(interval: Duration) -> io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let every = Timespec { tv_sec: interval.as_secs() as i64, tv_nsec: i64::from(interval.subsec_nanos()) };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: every, it_value: every })?;
    Ok(timer)
}

/// The sampling path: from here to its end nothing allocates.
fn sample(options: &SamplerOptions, timer: &OwnedFd, shared: &Shared) -> SamplerHealth {
    let mut histogram = IntervalHistogram::new(Micros(options.interval.as_micros() as u64));
    let mut buffer = [0; TEXT_BYTES];
    let mut missed = 0;
    while !shared.stop.load(Ordering::Acquire) {
        let at = options.clock.now();
        let sample = take(options, at, &mut buffer, shared);
        histogram.record(at, missed);
        if !shared.ring.push(sample) {
            histogram.lose();
        }
        missed = wait(timer).saturating_sub(1);
    }
    histogram.finish(thread_cpu())
}

fn take(
    options: &SamplerOptions,
    at: Micros,
    buffer: &mut [u8; TEXT_BYTES],
    shared: &Shared,
) -> [u64; super::COLUMNS] {
    let tree = options.process.read(buffer);
    shared.live.saw(tree.as_ref().map(|tree| tree.resident.total()));
    let machine = options.system.read(buffer);
    let available = machine.and_then(|info| info.available);
    options.guard.look(available);
    let available = available.map_or(UNAVAILABLE, |bytes| bytes.0);
    let unaccounted = machine.and_then(|info| info.unaccounted());
    // Less than nothing is an account that the kernel closed while it was read.
    let unaccounted = unaccounted.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(UNAVAILABLE);
    let nvmap = options.nvmap.total(buffer).map_or(UNAVAILABLE, |bytes| bytes.0);
    let of_machine = [available, unaccounted, nvmap, beside(options, buffer)];
    match tree {
        Some(tree) => {
            shared.high_water.fetch_max(tree.high_water.0, Ordering::Relaxed);
            let resident = tree.resident;
            let (anonymous, file) = (resident.anonymous_bytes.0, resident.file_bytes.0);
            columns([at.0, anonymous, file, resident.shared_bytes.0, tree.swapped.0], of_machine)
        }
        None => columns([at.0, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE], of_machine),
    }
}

/// Resident memory of all co-residents together. Not available where there are none, or one of them has gone.
fn beside(options: &SamplerOptions, buffer: &mut [u8; TEXT_BYTES]) -> u64 {
    let trees = options.co_residents.iter().map(|process| process.read(buffer));
    let sum = trees.map(|tree| Some(tree?.resident.total())).sum::<Option<Bytes>>();
    sum.filter(|_| !options.co_residents.is_empty()).map_or(UNAVAILABLE, |bytes| bytes.0)
}

fn columns(of_tree: [u64; 5], of_machine: [u64; 4]) -> [u64; super::COLUMNS] {
    let mut sample = [UNAVAILABLE; super::COLUMNS];
    sample[..5].copy_from_slice(&of_tree);
    sample[5..].copy_from_slice(&of_machine);
    sample
}

/// Waits for the next tick. Returns how many ticks have passed since the last call, at least one.
fn wait(timer: &OwnedFd) -> u64 {
    let mut expirations = [0_u8; 8];
    loop {
        match rustix::io::read(timer, &mut expirations) {
            Err(rustix::io::Errno::INTR) => {}
            // A timer that cannot be read is no reason to spin: it counts as one tick, and the histogram shows it.
            Err(_) => {
                std::thread::yield_now();
                return 1;
            }
            Ok(_) => return u64::from_ne_bytes(expirations).max(1),
        }
    }
}

fn write(mut file: SeriesFile, sampled: &[ProcessMemory], shared: &Shared) -> io::Result<()> {
    loop {
        let last = shared.complete.load(Ordering::Acquire);
        file.drain(&shared.ring)?;
        if last {
            return Ok(());
        }
        sampled.iter().for_each(ProcessMemory::refresh);
        std::thread::park_timeout(WRITE_EVERY);
    }
}
