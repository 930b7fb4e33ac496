//! Streamed decoding beside the storage that it streams from, measured in the same run: the rate at which the same number of
//! threads read the weights' file past the page cache, and the rate at which a decode step under `min` and under half of the
//! weights gets its streamed bytes. The line after each case is the share of the storage's rate.
//!
//! The engine is the one that `SWEEP_ENGINE` names, or one of synthetic weights of Qwen3.5-0.8B that goes when the bench ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use ledger::{Bytes, Tokens};
use runtime::backend::cpu::Pool;
use runtime::checkpoint::{SyntheticCheckpoint, SyntheticOptions};
use runtime::config::ModelConfig;
use runtime::engine::{Engine, Flow};
use runtime::engine_dir::{BuildFlow, BuildOptions, EngineDir, build};
use runtime::memory::Region;
use runtime::plan::{RingShape, RuntimeOptions, Streaming, WeightStreaming};
use runtime::weights::stream::DirectFile;

type Failure = Box<dyn std::error::Error>;

/// Reads the first `bytes` of `path` on as many threads, in requests of the same size, as the ring does; bytes per second.
fn storage_rate(path: &Path, bytes: u64, ring: &RingShape) -> Result<f64, Failure> {
    let file = DirectFile::open(path)?;
    let request = ring.stripe.0;
    let next = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let read_on = || -> Result<(), std::io::Error> {
            let mut region = Region::reserve(request as usize)?;
            loop {
                let offset = next.fetch_add(request, Ordering::Relaxed);
                if offset + request > bytes {
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
    Ok((bytes / request * request) as f64 / start.elapsed().as_secs_f64())
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
    let engine = Engine::load(directory, &options)?;
    let mut sequence = engine.open_sequence()?;
    engine.prefill(&mut sequence, &[1, 2, 3, 4], &mut || Flow::Continue)?;
    let mut best = f64::INFINITY;
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
                let step = Instant::now();
                if engine.decode(&mut sequence, 7).is_err() {
                    failed = Some("a step has failed");
                    break;
                }
                best = best.min(step.elapsed().as_secs_f64());
            }
            start.elapsed()
        });
    });
    if let Some(why) = failed {
        return Err(why.into());
    }
    let storage =
        storage_rate(&directory.weights_path(), manifest.weights_bytes.0.min(1 << 30), &options.ring)?;
    let mut steps = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        engine.decode(&mut sequence, 7)?;
        steps.push(start.elapsed().as_secs_f64());
    }
    let mean = steps.iter().sum::<f64>() / steps.len() as f64;
    let rate = streamed.0 as f64 / mean;
    println!(
        "  {budget}: streamed at {:.2} GB/s (best step {:.2}), storage beside it {:.2} GB/s: {:.0} %",
        rate / 1e9,
        streamed.0 as f64 / best / 1e9,
        storage / 1e9,
        100.0 * rate / storage
    );
    Ok(())
}

fn bench(criterion: &mut Criterion) {
    let run = |criterion: &mut Criterion| -> Result<(), Failure> {
        let folder = tempfile::tempdir()?;
        let directory = engine(folder.path())?;
        let mut group = criterion.benchmark_group("weight streaming");
        group
            .sample_size(10)
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
