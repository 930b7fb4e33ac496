//! Streamed decoding beside the storage that it streams from, measured in the same run: the rate at which the same number of
//! threads read the weights' file past the page cache, and the rate at which a decode step under `min` and under half of the
//! weights gets its streamed bytes. The line after each case is the share of the storage's rate.
//!
//! The engine is the one that `SWEEP_ENGINE` names, or one of synthetic weights of Qwen3.5-0.8B that goes when the bench ends.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use ledger::{Bytes, Tokens};
use runtime::backend::cpu::{CpuDevice, Pool};
use runtime::checkpoint::{SyntheticCheckpoint, SyntheticOptions};
use runtime::config::ModelConfig;
use runtime::engine::{Engine, Flow};
use runtime::engine_dir::{BuildFlow, BuildOptions, EngineDir, build};
use runtime::memory::Region;
use runtime::plan::{RingShape, RuntimeOptions, Streaming, WeightStreaming};
use runtime::weights::stream::DirectFile;

/// Turns of reading and decoding.
const TURNS: usize = 12;

type Failure = Box<dyn std::error::Error>;

/// Reads `range` of `path` on as many threads, in requests of the same size, as the ring does; bytes per second.
fn storage_rate(path: &Path, range: &Range<u64>, ring: &RingShape) -> Result<f64, Failure> {
    let file = DirectFile::open(path)?;
    let request = ring.stripe.0;
    let next = AtomicU64::new(range.start);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let read_on = || -> Result<(), std::io::Error> {
            let mut region = Region::reserve(request as usize)?;
            loop {
                let offset = next.fetch_add(request, Ordering::Relaxed);
                if offset + request > range.end {
                    return Ok(());
                }
                file.read(offset, region.bytes_mut())?;
            }
        };
        let readers: Vec<_> = (0..ring.readers).map(|_| scope.spawn(read_on)).collect();
        readers.into_iter().try_for_each(|reader| reader.join().expect("a reader does not panic"))
    })?;
    if !file.is_direct() {
        println!("this file system does not read past the page cache; the rates say little");
    }
    let bytes = (range.end - range.start) / request * request;
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

fn engine(folder: &Path) -> Result<EngineDir, Failure> {
    if let Some(path) = std::env::var_os("SWEEP_ENGINE") {
        return Ok(EngineDir::open(&PathBuf::from(path))?);
    }
    let name = "Qwen3.5-0.8B";
    let config = ModelConfig::published(name).ok_or("the architecture is published")?;
    let source = SyntheticCheckpoint::new(name, config, SyntheticOptions::default())?;
    let path = folder.join("engine");
    build(&source, &BuildOptions::default(), &path, Pool::default_threads(), &mut |_| BuildFlow::Continue)?;
    Ok(EngineDir::open(&path)?)
}

fn decode(
    group: &mut BenchmarkGroup<'_, WallTime>,
    directory: &EngineDir,
    budget: WeightStreaming,
) -> Result<(), Failure> {
    let mut options = RuntimeOptions::new(Tokens(64), Pool::default_threads());
    options.weight_streaming_budget = budget;
    let manifest = directory.manifest();
    let streaming = Streaming::choose(&manifest.segments, &options).ok_or("a budget is given")?;
    let streamed = streaming.streamed_per_token;
    let engine = Engine::<CpuDevice>::load(directory, &options)?;
    let mut sequence = engine.open_sequence()?;
    engine.prefill(&mut sequence, &[1, 2, 3, 4], &mut || Flow::Continue)?;
    let mut failed = None;
    group.throughput(Throughput::Bytes(streamed.0));
    group.bench_function(format!("decode with {budget}, {streamed} streamed"), |bencher| {
        bencher.iter_custom(|steps| {
            let start = Instant::now();
            for _ in 0..steps {
                if sequence.room() == 0 {
                    failed = Some("the sequence is full; lower the number of samples");
                    break;
                }
                if engine.decode(&mut sequence, 7).is_err() {
                    failed = Some("a step has failed");
                    break;
                }
            }
            start.elapsed()
        });
    });
    if let Some(why) = failed {
        return Err(why.into());
    }
    // In turns, because a shared disk changes its rate from second to second.
    let (mut storage, mut decoded) = (Vec::new(), Vec::new());
    let (path, all) = (directory.weights_path(), 0..manifest.weights_bytes.0);
    for _ in 0..TURNS {
        storage.push(storage_rate(&path, &all, &options.ring)?);
        // The ring has been filled meanwhile, which the first step would gain by.
        engine.decode(&mut sequence, 7)?;
        let start = Instant::now();
        engine.decode(&mut sequence, 7)?;
        decoded.push(streamed.0 as f64 / start.elapsed().as_secs_f64());
    }
    // A disk with an allowance has two rates, and luck decides who meets which: they are compared each with its like.
    for (what, place) in [("sustained", TURNS / 4), ("at best", TURNS - 1)] {
        let (storage, decoded) = (sorted(&storage)[place], sorted(&decoded)[place]);
        println!(
            "  {budget}, {what}: streamed at {:.2} GB/s, storage beside it {:.2} GB/s: {:.0} %",
            decoded / 1e9,
            storage / 1e9,
            100.0 * decoded / storage
        );
    }
    Ok(())
}

/// From the slowest to the fastest.
fn sorted(rates: &[f64]) -> Vec<f64> {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates
}

fn bench(criterion: &mut Criterion) {
    let run = |criterion: &mut Criterion| -> Result<(), Failure> {
        let folder = tempfile::tempdir()?;
        let directory = engine(folder.path())?;
        let mut group = criterion.benchmark_group("weight streaming");
        group
            .sample_size(10)
            .sampling_mode(SamplingMode::Flat)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2));
        let half = Bytes(directory.manifest().weights_bytes.0 / 2);
        for budget in [WeightStreaming::Min, WeightStreaming::Budget(half)] {
            decode(&mut group, &directory, budget)?;
        }
        group.finish();
        Ok(())
    };
    if let Err(error) = run(criterion) {
        eprintln!("{error}");
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
