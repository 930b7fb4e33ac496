//! Whole models on the CPU: reading a prompt, writing tokens behind a short and behind a long context, each turn beside the
//! bandwidth that reading alone gets in the same minute.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SWEEP_ENGINE` | the engine's directory |
//! | `SWEEP_THREADS` | worker threads; as many as the process may use |
//! | `SWEEP_TURNS` | repetitions; 3 |
//! | `SWEEP_DEPTH` | tokens of the long context; 3968, 0 for none |
//! | `SWEEP_SHORT` | 0 to leave out the prompt and the short context |
//! | `SWEEP_MTP` | drafts of a round, 1 to 7, instead of the turns: rounds beside plain decoding |
//! | `SWEEP_FIXED` | tokens of a prompt that is read once, and half as many written behind it, without any clock: for counting instructions |
//! | `SWEEP_BANDWIDTH` | if set: the bandwidth of reading, and nothing else |
//! | `SWEEP_OPERATORS` | if set: the time of each operator, instead of the turns |
//!
//! One line a figure, name and value, so that a script can read them.

mod clock;

use std::hint::black_box;
use std::time::{Duration, Instant};

use ledger::Tokens;
use runtime::backend::Backend;
use runtime::backend::cpu::{CpuDevice, InstructionSet, Observed, Pool, roofline};
use runtime::config::{LayerKind, ModelConfig};
use runtime::engine::{Drafts, Engine, Flow, Sequence, Turn};
use runtime::engine_dir::{EngineDir, SegmentRecord};
use runtime::generate::sample::{Sampler, Sampling};
use runtime::model::shapes::{attention_shape, delta_shape};
use runtime::ops::attention::BLOCK_TOKENS;
use runtime::plan::RuntimeOptions;

use clock::{Clock, Shares};

type Failure = Box<dyn std::error::Error>;

/// Tokens of the prompt whose reading is timed.
const PROMPT: usize = 512;

/// Tokens that are written in a turn.
const STEPS: usize = 64;

/// Tokens before the first one that counts.
const WARM_STEPS: usize = 3;

/// Bytes that no cache holds, read to learn the bandwidth.
const COLD_BYTES: usize = 256 << 20;

fn main() -> Result<(), Failure> {
    let threads = setting("SWEEP_THREADS", Pool::default_threads());
    if std::env::var_os("SWEEP_BANDWIDTH").is_some() {
        println!("read_GB/s {:.2}", bandwidth(&Pool::new(threads)?, &vec![1; COLD_BYTES]) / 1e9);
        return Ok(());
    }
    let Some(path) = std::env::var_os("SWEEP_ENGINE") else {
        println!("skipped: SWEEP_ENGINE names no engine");
        return Ok(());
    };
    let depth = setting("SWEEP_DEPTH", 3968);
    let directory = EngineDir::open(path.as_ref())?;
    let longest = depth.max(PROMPT) + STEPS + WARM_STEPS;
    let mut options = RuntimeOptions::new(Tokens(longest as u32), threads);
    options.max_kv_cache_capacity = Tokens(longest.next_multiple_of(BLOCK_TOKENS) as u32);
    if std::env::var_os("SWEEP_OPERATORS").is_some() {
        return operators(&Engine::load(&directory, &options)?, depth);
    }
    let fixed = setting("SWEEP_FIXED", 0);
    if fixed > 0 {
        let engine = Engine::<CpuDevice>::load(&directory, &options)?;
        let (mut sequence, token, _) = read(&engine, fixed)?;
        return write(&engine, &mut sequence, token, fixed / 2).map(drop);
    }
    let drafts = setting("SWEEP_MTP", 0);
    if drafts > 0 {
        options.mtp = true;
        options.max_verify_tree_size = drafts as u32 + 1;
        return rounds(&Engine::load(&directory, &options)?, drafts, setting("SWEEP_TURNS", 3));
    }
    let short_too = setting("SWEEP_SHORT", 1) > 0;
    let engine = Engine::load(&directory, &options)?;
    let bench = Bench { engine, directory: &directory, depth, short_too, threads };
    bench.turns(setting("SWEEP_TURNS", 3))
}

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn prompt(config: &ModelConfig, tokens: usize) -> Vec<u32> {
    let vocabulary = config.vocab_size.min(100_000) as u32;
    (0..tokens as u32).map(|token| token.wrapping_mul(2_654_435_761) % vocabulary).collect()
}

/// Reads `tokens` of a prompt into a new sequence; returns the first token behind it and the time.
fn read<B: Backend>(engine: &Engine<B>, tokens: usize) -> Result<(Sequence<B>, u32, Duration), Failure> {
    let ids = prompt(engine.config(), tokens);
    let mut sequence = engine.open_sequence()?;
    let start = Instant::now();
    engine.prefill(&mut sequence, &ids, &mut || Flow::Continue)?;
    let token = engine.sample(&sequence, &mut Sampler::new(Sampling::GREEDY))?;
    Ok((sequence, token, start.elapsed()))
}

/// Writes `steps` tokens behind `token`; returns the last one and the time.
fn write<B: Backend>(
    engine: &Engine<B>,
    sequence: &mut Sequence<B>,
    mut token: u32,
    steps: usize,
) -> Result<(u32, Duration), Failure> {
    let mut sampler = Sampler::new(Sampling::GREEDY);
    let start = Instant::now();
    for _ in 0..steps {
        let turn = Turn { sequence, token, drafts: Drafts::Given(&[]), sampler: &mut sampler };
        token = engine.round(&mut [turn])?[0].emitted[0];
    }
    Ok((token, start.elapsed()))
}

struct Bench<'a> {
    engine: Engine<CpuDevice>,
    directory: &'a EngineDir,
    depth: usize,
    short_too: bool,
    threads: usize,
}

impl Bench<'_> {
    fn turns(&self, turns: usize) -> Result<(), Failure> {
        // Unmeasured: the first pass brings the weights into memory.
        drop(read(&self.engine, PROMPT)?);
        let pool = Pool::new(self.threads)?;
        // Made once the peak is known, which is that of the model alone.
        let mut cold = Vec::new();
        for _ in 0..turns {
            if self.depth > 0 {
                self.deep(&pool, &mut cold)?;
            }
            if self.short_too {
                self.short(&pool, &mut cold)?;
            }
        }
        Ok(())
    }

    fn short(&self, pool: &Pool, cold: &mut Vec<u8>) -> Result<(), Failure> {
        let (sequence, _, took) = read(&self.engine, PROMPT)?;
        drop(sequence);
        println!("prefill_{PROMPT} {:.2}", PROMPT as f64 / took.as_secs_f64());
        let (mut sequence, token, _) = read(&self.engine, 1)?;
        self.written("decode", &mut sequence, token, pool, cold)
    }

    fn deep(&self, pool: &Pool, cold: &mut Vec<u8>) -> Result<(), Failure> {
        let (mut sequence, token, took) = read(&self.engine, self.depth)?;
        println!("prefill_{} {:.2}", self.depth, self.depth as f64 / took.as_secs_f64());
        self.written(&format!("decode_at_{}", self.depth), &mut sequence, token, pool, cold)
    }

    /// Times tokens between two measurements of the bandwidth.
    fn written(
        &self,
        name: &str,
        sequence: &mut Sequence<CpuDevice>,
        token: u32,
        pool: &Pool,
        cold: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let (token, _) = write(&self.engine, sequence, token, WARM_STEPS)?;
        if cold.is_empty() {
            println!("peak_resident_MiB {:.1}", peak_resident()? / 1024.0);
            cold.resize(COLD_BYTES, 1);
        }
        let bytes = token_bytes(
            self.engine.config(),
            &self.directory.manifest().segments,
            self.engine.options(),
            sequence.length() + STEPS / 2,
        );
        let before = bandwidth(pool, cold);
        let (_, took) = write(&self.engine, sequence, token, STEPS)?;
        let limit = (before + bandwidth(pool, cold)) / 2.0;
        let each = took.as_secs_f64() / STEPS as f64;
        let rate = bytes / each;
        println!("{name} {:.3}", 1.0 / each);
        println!("{name}_MB_a_token {:.1}", bytes / 1e6);
        println!("{name}_GB/s {:.2}", rate / 1e9);
        println!("{name}_read_GB/s {:.2}", limit / 1e9);
        println!("{name}_share_% {:.1}", 100.0 * rate / limit);
        Ok(())
    }
}

/// Bytes that a token must move: every matrix, the keys and values of `context` tokens, the states read and written.
fn token_bytes(
    config: &ModelConfig,
    segments: &[SegmentRecord],
    options: &RuntimeOptions,
    context: usize,
) -> f64 {
    let tensors = segments.iter().flat_map(|segment| &segment.tensors);
    let is_read = |name: &str| {
        !name.starts_with("mtp") && (config.tie_word_embeddings || !name.starts_with("embed_tokens"))
    };
    let weights: u64 = tensors.filter(|it| is_read(&it.name)).map(|it| it.bytes.0).sum();
    let layers = config.count(LayerKind::FullAttention);
    let block = attention_shape(&config.attention).cache_block_bytes(options.kv_cache_type, layers);
    let cache = block as f64 / BLOCK_TOKENS as f64 * context as f64;
    let states = config.linear_attention.as_ref().map_or(0, |linear| {
        let shape = delta_shape(linear);
        let window = (linear.conv_kernel - 1) * linear.conv_channels();
        let floats = shape.value_heads * shape.key_dim * shape.value_dim + window;
        2 * floats * size_of::<f32>() * config.count(LayerKind::LinearAttention)
    });
    weights as f64 + cache + states as f64
}

/// What all threads together read out of memory in a second: the mean over one pass, for a token takes what there is, too.
fn bandwidth(pool: &Pool, cold: &[u8]) -> f64 {
    let isa = InstructionSet::detect();
    let start = Instant::now();
    for piece in cold.chunks_exact(16 << 20) {
        pool.split(piece.len(), 64 << 10, &|part| {
            black_box(roofline::read(isa, &piece[part]));
        });
    }
    cold.len() as f64 / start.elapsed().as_secs_f64()
}

/// The most memory that the process has had, in KiB.
fn peak_resident() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

/// Rounds of `drafts` drafts and plain decoding, in turns.
fn rounds(engine: &Engine<CpuDevice>, drafts: usize, turns: usize) -> Result<(), Failure> {
    for _ in 0..turns {
        let (mut sequence, mut token, _) = read(engine, 1)?;
        let (mut all, mut tokens, mut count) = (Duration::ZERO, 0, 0);
        while tokens < STEPS {
            let start = Instant::now();
            let mut sampler = Sampler::new(Sampling::GREEDY);
            let drafts = Drafts::Head(drafts);
            let turn = Turn { sequence: &mut sequence, token, drafts, sampler: &mut sampler };
            let round = &engine.round(&mut [turn])?[0];
            token = round.emitted.last().copied().unwrap_or(token);
            // The first rounds have nothing to draft from and bring the head into memory.
            count += 1;
            if count > WARM_STEPS {
                all += start.elapsed();
                tokens += round.emitted.len();
            }
        }
        drop(sequence);
        let length = tokens as f64 / (count - WARM_STEPS) as f64;
        let rate = tokens as f64 / all.as_secs_f64();
        let (mut sequence, token, _) = read(engine, 1)?;
        let (token, _) = write(engine, &mut sequence, token, WARM_STEPS)?;
        let (_, took) = write(engine, &mut sequence, token, STEPS)?;
        let plain = STEPS as f64 / took.as_secs_f64();
        println!("acceptance_length {length:.2}");
        println!("mtp_{drafts} {rate:.2}");
        println!("plain {plain:.2}");
        println!("mtp_{drafts}_to_plain {:.2}", rate / plain);
    }
    Ok(())
}

/// Where the time goes: a prompt, tokens behind a short context, tokens behind a long one.
fn operators(engine: &Engine<Observed<Clock>>, depth: usize) -> Result<(), Failure> {
    drop(read(engine, PROMPT)?);
    engine.device().observer().take();
    let (mut sequence, token, took) = read(engine, PROMPT)?;
    print_shares(&format!("prefill of {PROMPT}, a token"), engine.device().observer().take(), took, PROMPT);
    let (token, _) = write(engine, &mut sequence, token, WARM_STEPS)?;
    engine.device().observer().take();
    let (_, took) = write(engine, &mut sequence, token, STEPS)?;
    print_shares(&format!("decode behind {PROMPT}, a token"), engine.device().observer().take(), took, STEPS);
    drop(sequence);
    if depth > 0 {
        let (mut sequence, token, _) = read(engine, depth)?;
        engine.device().observer().take();
        let (_, took) = write(engine, &mut sequence, token, STEPS)?;
        print_shares(
            &format!("decode behind {depth}, a token"),
            engine.device().observer().take(),
            took,
            STEPS,
        );
    }
    Ok(())
}

fn print_shares(title: &str, shares: Shares, all: Duration, tokens: usize) {
    let each = |time: Duration| time.as_secs_f64() * 1e6 / tokens as f64;
    println!("{title}: {:.1} us", each(all));
    let named: Duration = shares.iter().map(|(_, time)| *time).sum();
    for (name, time) in shares.into_iter().chain([("between operators", all.saturating_sub(named))]) {
        let share = 100.0 * time.as_secs_f64() / all.as_secs_f64();
        println!("  {name:26} {:9.1} us  {share:5.1} %", each(time));
    }
}
