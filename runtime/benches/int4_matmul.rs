//! The matrix products of the 4B models, each beside the bound that holds for it, measured in the same minute: with one
//! token, the bandwidth of a streaming read; with 256 tokens, the rate of 8-bit dot products (`vpdpbusd`, `sdot`).
//!
//! Criterion reports the spread; the line after each case is the best call against the best of the bound. On a shared
//! machine only the best means something.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use runtime::backend::cpu::{InstructionSet, Pool, roofline};
use runtime::ops::HalfType;
use runtime::ops::linear::{Matrix, Precision, Projection, Store, forward, workspace_bytes};
use runtime::ops::matmul_int4::{Int4Matrix, int4_bytes};
use runtime::ops::matmul_int8::{Int8Matrix, int8_bytes};

/// Bytes that no cache holds; as many are read in turn, so that every call finds its weights in memory.
const COLD_BYTES: usize = 192 << 20;

const GROUP_SIZE: usize = 128;

#[derive(Clone, Copy)]
enum Form {
    Int4,
    Int8,
}

/// Several copies of one matrix. What the weights are does not matter for time.
struct Weights {
    form: Form,
    rows: usize,
    columns: usize,
    group_size: usize,
    value_bytes: usize,
    bytes: usize,
    values: Vec<u8>,
    scales: Vec<u16>,
    zero_points: Vec<u8>,
}

impl Weights {
    fn new(form: Form, rows: usize, columns: usize, group_size: usize, least_bytes: usize) -> Self {
        let sizes = match form {
            Form::Int4 => int4_bytes(rows, columns, group_size, true),
            Form::Int8 => int8_bytes(rows, columns, group_size),
        };
        let sizes = sizes.expect("the bench's shapes fit");
        let value_bytes = sizes.values.0 as usize;
        let copies = least_bytes.div_ceil(value_bytes);
        Self {
            form,
            rows,
            columns,
            group_size,
            value_bytes,
            bytes: sizes.total().0 as usize,
            // One line more than needed, to start the first copy at a multiple of 64.
            values: (0..copies * value_bytes + 64).map(|i| (i * 31) as u8).collect(),
            scales: vec![HalfType::F16.from_f32(0.01); copies * sizes.scales.0 as usize / 2],
            zero_points: vec![0x79; copies * sizes.zero_points.0 as usize],
        }
    }

    fn copies(&self) -> usize {
        self.values.len() / self.value_bytes
    }

    fn matrix(&self, copy: usize) -> Matrix<'_> {
        let start = self.values.as_ptr().align_offset(64);
        let copies = self.copies();
        let values = &self.values[start + copy * self.value_bytes..][..self.value_bytes];
        let scales = &self.scales[copy * self.scales.len() / copies..][..self.scales.len() / copies];
        let zero_points = &self.zero_points[copy * self.zero_points.len() / copies..];
        let zero_points = &zero_points[..self.zero_points.len() / copies];
        let (rows, columns, group_size) = (self.rows, self.columns, self.group_size);
        match self.form {
            Form::Int4 => Matrix::Int4(
                Int4Matrix::new(rows, columns, group_size, HalfType::F16, values, scales, Some(zero_points))
                    .expect("the parts have the sizes that were asked for"),
            ),
            Form::Int8 => Matrix::Int8(
                Int8Matrix::new(rows, columns, group_size, values, scales)
                    .expect("the parts have the sizes that were asked for"),
            ),
        }
    }
}

/// Best bandwidth of reading a few MiB out of many, all threads together, in bytes a second.
fn read_bandwidth(pool: &Pool, buffer: &[u8]) -> f64 {
    const PIECE: usize = 16 << 20;
    let isa = InstructionSet::detect();
    let mut best = Duration::MAX;
    for piece in buffer.chunks_exact(PIECE).cycle().take(4 * buffer.len() / PIECE) {
        let start = Instant::now();
        pool.split(piece.len(), 64 << 10, &|part| {
            black_box(roofline::read(isa, &piece[part]));
        });
        best = best.min(start.elapsed());
    }
    PIECE as f64 / best.as_secs_f64()
}

/// Best rate of 8-bit dot products, all threads together, in multiply-adds a second.
fn int8_rate(pool: &Pool) -> Option<f64> {
    const ROUNDS: u64 = 200_000;
    let isa = InstructionSet::detect();
    let products = roofline::multiply_int8(isa, 1)? * ROUNDS * pool.threads() as u64;
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        pool.split(pool.threads(), 1, &|_| {
            roofline::multiply_int8(isa, ROUNDS);
        });
        best = best.min(start.elapsed());
    }
    Some(products as f64 / best.as_secs_f64())
}

/// Measures one product and returns the best time of a call in seconds.
fn measure(
    group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    pool: &Pool,
    weights: &Weights,
    tokens: usize,
) -> f64 {
    let isa = InstructionSet::detect();
    let x: Vec<f32> = (0..tokens * weights.columns).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let mut out = vec![0.0f32; tokens * weights.rows];
    let mut workspace = vec![0u8; workspace_bytes(tokens, weights.columns, weights.group_size).0 as usize];
    let best = Cell::new(f64::MAX);
    let mut copy = 0;
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut all = Duration::ZERO;
            for _ in 0..iterations {
                copy = (copy + 1) % weights.copies();
                let matrix = weights.matrix(copy);
                let start = Instant::now();
                let mut projections = [Projection { matrix, out: &mut out, store: Store::Overwrite }];
                forward(pool, isa, Precision::Fast, &x, tokens, &mut projections, &mut workspace)
                    .expect("the bench's shapes fit");
                let time = start.elapsed();
                best.set(best.get().min(time.as_secs_f64()));
                all += time;
            }
            all
        });
    });
    best.get()
}

/// Rows and columns of the products of Qwen3-4B and Qwen3.5-4B: queries (with their gates 8192, as `in_proj_qkv`), keys or
/// values, `o_proj` or `out_proj`, the MLPs' ways in and back. `in_proj_z` is as the queries, `in_proj_a` and `b` are tiny.
const SHAPES: [(usize, usize); 8] = [
    (4096, 2560),
    (8192, 2560),
    (1024, 2560),
    (2560, 4096),
    (9728, 2560),
    (2560, 9728),
    (9216, 2560),
    (2560, 9216),
];

/// All shapes in groups of 128, and one in groups of 32.
fn int4_shapes() -> impl Iterator<Item = (Form, usize, usize, usize)> {
    let usual = SHAPES.map(|(rows, columns)| (Form::Int4, rows, columns, GROUP_SIZE));
    usual.into_iter().chain([(Form::Int4, 9728, 2560, 32)])
}

/// One token: every weight is read once.
fn decode(criterion: &mut Criterion) {
    let pool = Pool::new(Pool::default_threads()).expect("threads start");
    let buffer = vec![1u8; COLD_BYTES];
    let mut group = criterion.benchmark_group("decode");
    let tables = [Form::Int4, Form::Int8].map(|form| (form, 248_320, 2560, GROUP_SIZE));
    for (form, rows, columns, group_size) in int4_shapes().chain(tables) {
        let weights = Weights::new(form, rows, columns, group_size, COLD_BYTES);
        let bits = if matches!(form, Form::Int4) { 4 } else { 8 };
        let name = format!("int{bits} {rows}x{columns} g{group_size}");
        group.throughput(Throughput::Bytes(weights.bytes as u64));
        let before = read_bandwidth(&pool, &buffer);
        let seconds = measure(&mut group, &name, &pool, &weights, 1);
        let bound = before.max(read_bandwidth(&pool, &buffer));
        let rate = weights.bytes as f64 / seconds;
        println!(
            "{name}: {:.1} us, {:.1} GB/s of {:.1} GB/s read, {:.0} %",
            seconds * 1e6,
            rate / 1e9,
            bound / 1e9,
            100.0 * rate / bound
        );
    }
    group.finish();
}

/// 256 tokens: every weight is multiplied 256 times.
fn prefill(criterion: &mut Criterion) {
    const TOKENS: usize = 256;
    let pool = Pool::new(Pool::default_threads()).expect("threads start");
    let mut group = criterion.benchmark_group("prefill");
    group.sample_size(10);
    for (form, rows, columns, group_size) in int4_shapes().chain([(Form::Int8, 8192, 2560, GROUP_SIZE)]) {
        let weights = Weights::new(form, rows, columns, group_size, 1);
        let bits = if matches!(form, Form::Int4) { 4 } else { 8 };
        let name = format!("int{bits} {rows}x{columns} g{group_size}, {TOKENS} tokens");
        let products = (rows * columns * TOKENS) as f64;
        group.throughput(Throughput::Elements(products as u64));
        let before = int8_rate(&pool);
        let seconds = measure(&mut group, &name, &pool, &weights, TOKENS);
        let rate = products / seconds;
        // What a model of 3.6 G weights in such matrices would do, if it did nothing else.
        let tokens_per_second = rate / 3.6e9;
        print!(
            "{name}: {:.2} ms, {:.3} TMAC/s, {tokens_per_second:.0} tok/s at 3.6 G weights",
            seconds * 1e3,
            rate / 1e12
        );
        match before.zip(int8_rate(&pool)).map(|(before, after)| before.max(after)) {
            Some(bound) => {
                println!(", {:.0} % of {:.3} TMAC/s in registers", 100.0 * rate / bound, bound / 1e12)
            }
            None => println!(),
        }
    }
    group.finish();
}

criterion_group!(
    name = products;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    targets = decode, prefill
);
criterion_main!(products);
