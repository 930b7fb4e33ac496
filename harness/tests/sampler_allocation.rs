//! The sampling path allocates nothing. This program counts allocations by thread; it holds this one test only, so that
//! nothing else runs beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use harness::clock::TrialClock;
use harness::probe::nvmap::NvmapPool;
use harness::probe::{ProcessMemory, ProcessTree, Sampler, SamplerOptions, SystemMemory, SystemRoot};
use harness::record::Series;

struct Counting;

/// The thread whose allocations count.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);

fn count() {
    if rustix::thread::gettid().as_raw_nonzero().get() == WATCHED.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting makes one system call and touches two atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: `pointer` came from `alloc` above, with this `layout`, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn thread_named(name: &str) -> i32 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("readable").flatten();
    let found = tasks
        .map(|task| task.path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    let number = found.as_deref().and_then(Path::file_name).and_then(|number| number.to_str());
    number.and_then(|number| number.parse().ok()).expect("the thread runs")
}

/// Allocations of the thread `name` within 300 ms.
fn allocations_of(name: &str) -> u64 {
    COUNT.store(0, Ordering::Relaxed);
    WATCHED.store(thread_named(name), Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(300));
    WATCHED.store(0, Ordering::Relaxed);
    COUNT.load(Ordering::Relaxed)
}

#[test]
fn the_sampler_samples_and_allocates_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("samples.csv");
    let root = SystemRoot::live();
    let tree = ProcessTree::of(&root.proc(), std::process::id()).expect("this process is there");
    let options = SamplerOptions {
        interval: Duration::from_millis(1),
        process: ProcessMemory::new(tree),
        system: SystemMemory::open(&root),
        nvmap: NvmapPool::open(&root),
        clock: TrialClock::start(),
    };
    let sampler = Sampler::start(options, &path).expect("it starts");
    // Threads name themselves when they begin to run.
    std::thread::sleep(Duration::from_millis(100));
    let sampling = allocations_of("sampler");
    let writing = allocations_of("series");
    assert!(sampler.take_high_water().is_some());
    let health = sampler.finish().expect("the series was written");
    assert_eq!(sampling, 0, "allocations on the sampling path");
    assert!(writing > 0, "the counter counts nothing");
    let series = Series::read(&path).expect("a series");
    assert_eq!(series.samples.len() as u64, health.samples);
    assert!(health.samples > 100, "{health:?}");
    assert!(series.samples.iter().all(|sample| sample.resident().is_some() && sample.available.is_some()));
    println!(
        "{} samples at 1 ms: {:.1} us each, {} missed, longest gap {} us",
        health.samples,
        health.cpu_us.0 as f64 / health.samples as f64,
        health.missed_ticks,
        health.longest_gap_us.0
    );
}
