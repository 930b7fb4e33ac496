//! A GPU beside its own limit, measured in one run: what its memory gives to a kernel that only reads; what projections of each
//! shape of a model get of that; and whole models, reading prompts and writing tokens one by one. Medians of several turns.
//!
//! `SWEEP_ENGINE` names the engine, `SWEEP_CHUNK` the tokens of a prefill chunk (512), `SWEEP_KERNELS` a folder with cubins, or
//! `SWEEP_PROGRAM` a `sweep` that compiles them.

use std::time::{Duration, Instant};

use ledger::{Bytes, MemoryKind, Tokens};
use runtime::backend::Backend;
use runtime::backend::cuda::{self, CudaDevice, CudaWeight};
use runtime::engine::{Drafts, Engine, Flow, Turn, plan_of};
use runtime::engine_dir::EngineDir;
use runtime::generate::sample::{Sampler, Sampling};
use runtime::memory::Allocator;
use runtime::model::operators::{Operators, Projection, Tensor};
use runtime::ops::Store;
use runtime::plan::{Device, RuntimeOptions};

const TURNS: usize = 5;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let Some(path) = std::env::var_os("SWEEP_ENGINE") else {
        println!("skipped: SWEEP_ENGINE names no engine");
        return Ok(());
    };
    if let Err(reason) = cuda::probe(0) {
        println!("skipped: {reason}");
        return Ok(());
    }
    let chunk = std::env::var("SWEEP_CHUNK").ok().and_then(|text| text.parse().ok()).unwrap_or(512);
    let directory = EngineDir::open(path.as_ref())?;
    let mut options = RuntimeOptions::new(Tokens(4096), 1);
    options.max_kv_cache_capacity = Tokens(4096 + 256);
    options.gdn_prefill_max_seq = Tokens(chunk);
    options.device = Device::Cuda { ordinal: 0 };
    if std::env::var_os("SWEEP_SHAPES").is_some() {
        shapes(&directory, &options)?;
    }
    models(&directory, &options)?;
    if std::env::var_os("SWEEP_MTP").is_some() {
        options.mtp = true;
        drafts(&directory, &options)?;
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn time(mut body: impl FnMut() -> Result<(), Failure>) -> Result<Duration, Failure> {
    // Twice unmeasured: the second time makes the graph.
    body()?;
    body()?;
    let turn = |_| {
        let start = Instant::now();
        body().map(|()| start.elapsed())
    };
    Ok(median((0..4 * TURNS).map(turn).collect::<Result<_, _>>()?))
}

/// What reading alone gets, and projections of every shape.
fn shapes(directory: &EngineDir, options: &RuntimeOptions) -> Result<(), Failure> {
    let plan = plan_of(directory, options);
    let allocator = Allocator::new(&plan);
    let (device, weights) = CudaDevice::load(directory, options, None, &plan, &allocator)?;
    let first = &weights[0].1;
    let all = Bytes(2 << 30);
    let took = time(|| {
        device.read_weights(first, all.0);
        Ok(device.check()?)
    })?;
    let limit = all.0 as f64 / took.as_secs_f64() / 1e9;
    println!("reading alone: {limit:.0} GB/s");
    let workspace = |name: &str| -> Result<_, Failure> {
        let mut buffer = device.reserve(&format!("target/prefill_workspace/{name}"))?;
        buffer.commit(512 << 10)?;
        Ok(buffer)
    };
    let (x, mut scratch) = (workspace("hidden")?, device.allocate("target/prefill_workspace/scratch")?);
    let mut outs = [workspace("first")?, workspace("second")?];
    let records: Vec<_> = directory.manifest().segments.iter().flat_map(|segment| &segment.tensors).collect();
    for names in [
        &["linear_attn.in_proj_qkv", "linear_attn.in_proj_z"][..],
        &["linear_attn.in_proj_qkv"],
        &["linear_attn.out_proj"],
        &["self_attn.q_proj"],
        &["self_attn.k_proj"],
        &["self_attn.o_proj"],
        &["mlp.gate_proj", "mlp.up_proj"],
        &["mlp.down_proj"],
        &["embed_tokens"],
    ] {
        let of = |name: &str| -> Vec<(&CudaWeight, u64)> {
            let found = weights.iter().filter(|(it, _)| it.ends_with(name) && !it.starts_with("mtp"));
            found
                .filter_map(|(it, weight)| {
                    let record = records.iter().find(|record| record.name == *it)?;
                    Some((weight, record.bytes.0))
                })
                .collect()
        };
        let chosen: Vec<_> = names.iter().map(|name| of(name)).collect();
        let layers = chosen[0].len();
        let bytes: u64 = chosen.iter().flatten().map(|(_, bytes)| bytes).sum();
        if layers == 0 {
            continue;
        }
        if names[0] == "embed_tokens" {
            outs[0].commit(1 << 20)?;
        }
        let rounds = (32 / layers).max(1);
        let took = time(|| {
            for layer in (0..layers).cycle().take(rounds * layers) {
                let pairs = chosen.iter().zip(&mut outs);
                let mut projections: Vec<_> = pairs
                    .map(|(of, out)| Projection { weight: of[layer].0, out, store: Store::Overwrite })
                    .collect();
                device.linear(&x, 1, &mut projections, &mut scratch);
            }
            Ok(device.check()?)
        })?;
        let rate = (bytes * rounds as u64) as f64 / took.as_secs_f64() / 1e9;
        let each = took.as_secs_f64() / (rounds * layers) as f64 * 1e6;
        println!("{:60} {each:7.2} us  {rate:6.0} GB/s  {:5.1} %", names.join(" + "), rate / limit * 100.0);
    }
    Ok(())
}

/// Tokens in rounds of three drafts.
fn drafts(directory: &EngineDir, options: &RuntimeOptions) -> Result<(), Failure> {
    let engine = Engine::<CudaDevice>::load(directory, options)?;
    let mut sequence = engine.open_sequence()?;
    let mut sampler = Sampler::new(Sampling::GREEDY);
    engine.prefill(&mut sequence, &[1], &mut || Flow::Continue)?;
    let mut token = engine.sample(&sequence, &mut sampler)?;
    let (mut start, mut rounds, mut tokens) = (Instant::now(), 0, 0);
    for step in 0..64 {
        if step == 8 {
            (start, rounds, tokens) = (Instant::now(), 0, 0);
        }
        let drafts = Drafts::Head(3);
        let turn = Turn { sequence: &mut sequence, token, drafts, sampler: &mut sampler };
        let round = &engine.round(&mut [turn])?[0];
        token = round.emitted.last().copied().unwrap_or(token);
        (rounds, tokens) = (rounds + 1, tokens + round.emitted.len());
    }
    let each = start.elapsed().as_secs_f64() / f64::from(rounds);
    println!(
        "rounds of 3 drafts: {:.3} ms, {:.2} tokens each: {:.1} tok/s",
        each * 1e3,
        tokens as f64 / f64::from(rounds),
        tokens as f64 / f64::from(rounds) / each
    );
    Ok(())
}

/// Prompts and tokens of a whole model.
fn models(directory: &EngineDir, options: &RuntimeOptions) -> Result<(), Failure> {
    let start = Instant::now();
    let engine = Engine::<CudaDevice>::load(directory, options)?;
    println!("loaded in {:.2} s", start.elapsed().as_secs_f64());
    let vocabulary = engine.vocabulary_size() as u32;
    let prompt = |tokens: usize| -> Vec<u32> {
        (0..tokens as u32).map(|token| token.wrapping_mul(2_654_435_761) % vocabulary.min(100_000)).collect()
    };
    // Under a profiler once is enough.
    let (lengths, turns) = match std::env::var_os("SWEEP_PROFILE") {
        Some(_) => (&[512][..], 0),
        None => (&[1, 512, 4096][..], TURNS),
    };
    for &tokens in lengths {
        let ids = prompt(tokens);
        let (mut reading, mut writing) = (Vec::new(), Vec::new());
        for turn in 0..=turns {
            let mut sequence = engine.open_sequence()?;
            let mut sampler = Sampler::new(Sampling::GREEDY);
            let start = Instant::now();
            engine.prefill(&mut sequence, &ids, &mut || Flow::Continue)?;
            let mut token = engine.sample(&sequence, &mut sampler)?;
            let read = start.elapsed();
            let steps = if turns == 0 { 1 } else { 64 };
            // The first ones make the graph.
            let mut start = Instant::now();
            for step in 0..steps + 3 {
                if step == 3 {
                    start = Instant::now();
                }
                let drafts = Drafts::Given(&[]);
                let turn = Turn { sequence: &mut sequence, token, drafts, sampler: &mut sampler };
                token = engine.round(&mut [turn])?[0].emitted[0];
            }
            if turn > 0 || turns == 0 {
                reading.push(read);
                writing.push(start.elapsed() / steps);
            }
        }
        let (read, write) = (median(reading), median(writing));
        println!(
            "prefill {tokens:5}: {:9.0} tok/s ({:.2} ms)   decode behind it: {:6.1} tok/s ({:.3} ms)",
            tokens as f64 / read.as_secs_f64(),
            read.as_secs_f64() * 1e3,
            1.0 / write.as_secs_f64(),
            write.as_secs_f64() * 1e3
        );
    }
    let held = engine.ledger().snapshot();
    let resident = std::fs::read_to_string("/proc/self/status")?;
    let resident = resident.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    let device: Bytes =
        held.entries.iter().filter(|entry| entry.memory == MemoryKind::Device).map(|entry| entry.peak).sum();
    println!("device buffers, each at its peak: {device}; {resident}");
    if let Some(witness) = engine.device_witness() {
        println!("{}", serde_json::to_string(&witness.report())?);
    }
    Ok(())
}
