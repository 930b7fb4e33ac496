//! The sampling path allocates nothing. This program counts allocations by thread; it holds one ordinary test only, so that
//! nothing else runs beside it. Two long ones, run by hand, show what the sampler is worth: at rest and under full load.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::clock::TrialClock;
use harness::probe::nvmap::NvmapPool;
use harness::probe::{
    MemoryGuard, ProcessMemory, ProcessTree, Sampler, SamplerOptions, SystemMemory, SystemRoot,
};
use harness::record::Series;
use ledger::{Bytes, Micros};

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

/// The thread `name`. The first thread has the name of the program, whatever that is.
fn thread_named(name: &str) -> i32 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("readable").flatten();
    let first = std::process::id().to_string();
    let found = tasks
        .filter(|task| task.file_name().to_str() != Some(first.as_str()))
        .map(|task| task.path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    let number = found.as_deref().and_then(Path::file_name).and_then(|number| number.to_str());
    number.and_then(|number| number.parse().ok()).expect("the thread runs")
}

/// Allocations of the thread `name` within `time`.
fn allocations_of(name: &str, time: Duration) -> u64 {
    COUNT.store(0, Ordering::Relaxed);
    WATCHED.store(thread_named(name), Ordering::Relaxed);
    std::thread::sleep(time);
    WATCHED.store(0, Ordering::Relaxed);
    COUNT.load(Ordering::Relaxed)
}

/// A sampler over the process `pid`, whose threads have begun to run.
fn sampler_of(pid: u32, interval: Duration, path: &Path) -> Sampler {
    let root = SystemRoot::live();
    let tree = ProcessTree::of(&root.proc(), pid).expect("the process is there");
    let options = SamplerOptions {
        interval,
        process: ProcessMemory::new(tree),
        co_residents: Vec::new(),
        system: SystemMemory::open(&root),
        nvmap: NvmapPool::open(&root),
        guard: Arc::new(MemoryGuard::new(Bytes::ZERO, None)),
        clock: TrialClock::start(),
    };
    let sampler = Sampler::start(options, path).expect("it starts");
    // Threads name themselves when they begin to run.
    std::thread::sleep(Duration::from_millis(100));
    sampler
}

#[test]
fn the_sampler_samples_and_allocates_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("samples.csv");
    let sampler = sampler_of(std::process::id(), Duration::from_millis(1), &path);
    let sampling = allocations_of("sampler", Duration::from_millis(300));
    let writing = allocations_of("series", Duration::from_millis(300));
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

/// What the sampled process of the long tests holds.
const HELD: Bytes = Bytes::gib(4);

/// Gaps beyond this are those that a verdict speaks of.
const GAP: Micros = Micros(50_000);

/// Does what the environment says, in a process of its own: holds memory, or keeps one processor busy, until its input ends.
#[test]
fn in_a_process_of_its_own() {
    let order = std::env::var("SAMPLER_TEST").unwrap_or_default();
    let held = match order.as_str() {
        "hold" => vec![1_u8; HELD.0 as usize],
        "burn" => {
            std::thread::spawn(|| {
                let mut number = 1_u64;
                loop {
                    number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005) + 1);
                }
            });
            Vec::new()
        }
        _ => return,
    };
    println!("ready {}", std::hint::black_box(&held).len());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

/// This program in a process of its own. It ends when this value goes.
struct Helper(Child);

impl Helper {
    fn start(order: &str) -> Helper {
        let mut command = Command::new(std::env::current_exe().expect("a program"));
        command.args(["--exact", "in_a_process_of_its_own", "--nocapture"]).env("SAMPLER_TEST", order);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let ready = output.by_ref().lines().map_while(Result::ok).any(|line| line.contains("ready "));
        assert!(ready, "the process ended");
        // What nobody hears ends it.
        child.stdout = Some(output.into_inner());
        Helper(child)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Samples a process that holds 4 GiB every 10 ms, and says how that went. `SAMPLER_SECONDS` is how long: 600 by default.
fn prove(title: &str) {
    let seconds = std::env::var("SAMPLER_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("samples.csv");
    let holder = Helper::start("hold");
    let started = Instant::now();
    let sampler = sampler_of(holder.0.id(), Duration::from_millis(10), &path);
    let allocations = allocations_of("sampler", Duration::from_secs(seconds));
    let lasted = started.elapsed();
    let health = sampler.finish().expect("the series was written");
    let series = Series::read(&path).expect("a series");
    let mut intervals: Vec<u64> = series.samples.windows(2).map(|pair| pair[1].at.0 - pair[0].at.0).collect();
    intervals.sort_unstable();
    let at = |part: f64| intervals[((intervals.len() - 1) as f64 * part) as usize] as f64 / 1e3;
    let gaps: Vec<(Micros, Micros)> = series.gaps(GAP).collect();
    println!(
        "{title}: {} samples in {:.1} s; interval median {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms; {} missed ticks; \
         {} gaps above 50 ms; {:.3} % of one core; {allocations} allocations",
        health.samples,
        lasted.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        health.longest_gap_us.0 as f64 / 1e3,
        health.missed_ticks,
        gaps.len(),
        health.cpu_us.0 as f64 / lasted.as_micros() as f64 * 100.0,
    );
    assert_eq!(allocations, 0, "allocations on the sampling path");
    assert_eq!(series.samples.len() as u64, health.samples, "every sample is on disk");
    assert!(series.samples.iter().all(|sample| sample.resident().is_some_and(|bytes| bytes >= HELD)));
    // The health tells what the series shows: no gap is kept quiet.
    assert_eq!(health.longest_gap_us.0, *intervals.last().expect("many"));
    let ticks = lasted.as_millis() as u64 / 10;
    assert!(health.samples + health.missed_ticks + 20 >= ticks, "{ticks} ticks have passed: {health:?}");
}

#[test]
#[ignore = "takes ten minutes and 4 GiB; by hand, see docs/performance.md"]
fn ten_minutes_over_four_gibibytes() {
    prove("at rest");
}

#[test]
#[ignore = "takes ten minutes, 4 GiB and every processor; by hand, see docs/performance.md"]
fn ten_minutes_under_full_load() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    // Twice as many as there are processors, so that the sampler never finds one free.
    let _load: Vec<Helper> = (0..processors * 2).map(|_| Helper::start("burn")).collect();
    prove("under full load");
}
