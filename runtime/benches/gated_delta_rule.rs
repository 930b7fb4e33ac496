//! The gated delta rule at the shape of Qwen3.5-4B (16 key heads, 32 value heads, 128 x 128), in GB/s of state traffic beside what
//! the memory gives, for decode, and in tokens/s for a prefill chunk of 256 tokens.
//!
//! Decode walks the states of all 24 layers in turn, as a model does, so that a state comes from memory and not from the cache of
//! the step before.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runtime::backend::cpu::{Cpu, Pool};
use runtime::ops::gated_delta_rule::{Inputs, Shape, chunked, recurrent};

const SHAPE: Shape = Shape { key_heads: 16, value_heads: 32, key_dim: 128, value_dim: 128 };
const LAYERS: usize = 24;
const PREFILL: usize = 256;

/// Smooth values in -1..1; their distribution does not matter for speed, subnormal numbers would.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index as f32 * 0.37).sin()).collect()
}

/// The best of several passes over 256 MiB by all threads, in GB/s.
fn read_bandwidth(cpu: &Cpu) -> f64 {
    let data = values(64 << 20);
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let start = Instant::now();
        cpu.pool.split(data.len(), 1 << 16, &|part| {
            let mut sums = [0.0f32; 64];
            for lanes in data[part].as_chunks::<64>().0 {
                for (sum, value) in sums.iter_mut().zip(lanes) {
                    *sum += value;
                }
            }
            black_box(sums);
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    (data.len() * 4) as f64 / best / 1e9
}

fn bench(criterion: &mut Criterion) {
    let cpu = match Cpu::new(Pool::default_threads()) {
        Ok(cpu) => cpu,
        Err(error) => {
            eprintln!("no threads: {error}");
            return;
        }
    };
    println!(
        "{:?}, {} threads, memory reads at {:.1} GB/s",
        cpu.isa,
        cpu.pool.threads(),
        read_bandwidth(&cpu)
    );
    let (qkv, heads) = (values(PREFILL * SHAPE.row()), SHAPE.value_heads);
    let g: Vec<f32> = values(PREFILL * heads).iter().map(|x| -0.5 - 0.5 * x).collect();
    let beta: Vec<f32> = values(PREFILL * heads).iter().map(|x| 0.5 + 0.4 * x).collect();
    let mut out = vec![0.0; PREFILL * heads * SHAPE.value_dim];
    let layer = SHAPE.state().0 as usize / 4;
    let mut states = vec![0.0; LAYERS * layer];
    let inputs = |tokens: usize| Inputs {
        qkv: &qkv[..tokens * SHAPE.row()],
        g: &g[..tokens * heads],
        beta: &beta[..tokens * heads],
    };

    let mut group = criterion.benchmark_group("gated_delta_rule");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    // Each state is read and written once.
    group.throughput(Throughput::Bytes(2 * LAYERS as u64 * SHAPE.state().0));
    group.bench_function("decode, 24 layers", |bencher| {
        bencher.iter(|| {
            for state in states.chunks_exact_mut(layer) {
                recurrent(&cpu, &SHAPE, inputs(1), state, &mut out[..heads * SHAPE.value_dim]);
            }
        });
    });
    group.throughput(Throughput::Elements(PREFILL as u64));
    group.bench_function("prefill of 256, one layer, recurrent", |bencher| {
        bencher.iter(|| recurrent(&cpu, &SHAPE, inputs(PREFILL), &mut states[..layer], &mut out));
    });
    for chunk in [16, 32, 64] {
        let mut workspace = vec![0.0; SHAPE.chunked_workspace(chunk, cpu.pool.threads()).0 as usize / 4];
        group.bench_function(format!("prefill of 256, one layer, chunks of {chunk}"), |bencher| {
            let state = &mut states[..layer];
            bencher.iter(|| chunked(&cpu, &SHAPE, chunk, inputs(PREFILL), state, &mut out, &mut workspace));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
