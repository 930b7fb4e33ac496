//! Attention at the shapes of Qwen3.5-4B and Qwen3-4B: decode at depth 4096 in GB/s of KV cache, prefill of 256 tokens at depth 4096
//! in tokens/s and GFLOP/s (two multiply-adds for each value of K and V that a query head sees).

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use runtime::backend::cpu::{Cpu, Pool};
use runtime::ops::Heads;
use runtime::ops::attention::{CacheLayer, KvSlice, Shape, forward};

const DEPTH: usize = 4096;
const PREFILL: usize = 256;
/// Layers that decode walks in turn, so that their keys and values come from memory.
const LAYERS: usize = 8;

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index as f32 * 0.37).sin()).collect()
}

fn bench(criterion: &mut Criterion) {
    let cpu = match Cpu::new(Pool::default_threads()) {
        Ok(cpu) => cpu,
        Err(error) => {
            eprintln!("no threads: {error}");
            return;
        }
    };
    println!("{:?}, {} threads", cpu.isa, cpu.pool.threads());
    let models = [
        ("Qwen3.5-4B", Shape { heads: 16, kv_heads: 4, head_dim: 256 }),
        ("Qwen3-4B", Shape { heads: 32, kv_heads: 8, head_dim: 128 }),
    ];
    for (name, shape) in models {
        let length = DEPTH / 64 * shape.block_len();
        let cache: Vec<u16> =
            values(2 * LAYERS * length).iter().map(|&x| f16::from_f32(x).to_bits()).collect();
        let width = shape.heads * shape.head_dim;
        let q = values(PREFILL * width);
        let mut out = vec![0.0; PREFILL * width];
        let mut workspace = vec![0.0; shape.workspace(cpu.pool.threads()).0 as usize / 4];
        let mut call = |tokens: usize, place: usize| {
            let layout = Heads::packed(tokens, shape.heads, shape.head_dim);
            let out = &mut out[..tokens * width];
            forward(
                &cpu,
                &shape,
                DEPTH - tokens,
                tokens,
                &q[..tokens * width],
                layout,
                KvSlice::F16(&cache),
                CacheLayer { place, layers: LAYERS },
                out,
                &mut workspace,
            );
        };
        let mut group = criterion.benchmark_group(format!("attention of {name} at {DEPTH}"));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        group.throughput(Throughput::Bytes((2 * 2 * LAYERS * length) as u64));
        group.bench_function("decode, 8 layers", |bencher| {
            bencher.iter(|| {
                (0..LAYERS).for_each(|place| call(1, place));
            });
        });
        group.throughput(Throughput::Elements(PREFILL as u64));
        group.bench_function("prefill of 256", |bencher| {
            bencher.iter(|| call(PREFILL, 0));
        });
        let start = Instant::now();
        call(PREFILL, 0);
        let flops = 4.0 * (PREFILL * width * (DEPTH - PREFILL / 2)) as f64;
        println!("prefill of 256: {:.0} GFLOP/s in one call", flops / start.elapsed().as_secs_f64() / 1e9);
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
