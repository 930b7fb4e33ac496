//! Engines that come and go leave nothing behind. One test alone in its program, because what is resident is a process's:
//! no other may allocate beside it.

use std::path::Path;

use ledger::{Bytes, MemoryKind, Reading, Tokens};
use runtime::backend::cpu::CpuDevice;
use runtime::backend::cuda::CudaDevice;
use runtime::backend::nvml::Gpu;
use runtime::backend::{Backend, resolve};
use runtime::checkpoint::{SyntheticCheckpoint, SyntheticOptions, SyntheticQuantization};
use runtime::config::{LayerKind, ModelConfig};
use runtime::engine::{Engine, Flow};
use runtime::engine_dir::{BuildFlow, BuildOptions, EngineDir, build};
use runtime::plan::{Device, DeviceChoice, RuntimeOptions};

const CYCLES: usize = 200;

/// Cycles after which arenas of the allocator, stacks of threads and caches of a driver are what they will be.
const SETTLED: usize = 40;

/// What the heap may scatter. An engine of the test holds [`SMALLEST`] at least, so that one left behind shows.
const SCATTER: Bytes = Bytes::mib(1);

/// See [`SCATTER`].
const SMALLEST: Bytes = Bytes::mib(4);

const VOCABULARY: usize = 4096;

/// A hybrid of four layers in `folder`.
fn built(folder: &Path) -> EngineDir {
    let mut config = ModelConfig::published("Qwen3.5-0.8B").expect("published");
    (config.hidden_size, config.intermediate_size, config.vocab_size) = (512, 1024, VOCABULARY);
    let linear = LayerKind::LinearAttention;
    config.layers = vec![linear, linear, linear, LayerKind::FullAttention];
    config.mtp_layers = 0;
    let quantization = SyntheticQuantization::Int4 { group_size: 128, zero_points: true };
    let source = SyntheticOptions { seed: 3, quantization, mtp: false };
    let source = SyntheticCheckpoint::new("cycles", config, source).expect("a model");
    let path = folder.join("engine");
    build(&source, &BuildOptions::default(), &path, 2, &mut |_| BuildFlow::Continue).expect("writable");
    EngineDir::open(&path).expect("just built")
}

/// Loads an engine, reads a prompt in several chunks, writes some tokens, and lets go of everything.
fn cycle<B: Backend>(directory: &EngineDir, device: Device) {
    let mut options = RuntimeOptions::new(Tokens(256), 2);
    (options.device, options.gdn_prefill_max_seq) = (device, Tokens(64));
    let engine = Engine::<B>::load(directory, &options).expect("it loads");
    let memory = if device == Device::Cpu { MemoryKind::Host } else { MemoryKind::Device };
    let held: Bytes = engine.ledger().snapshot().by_class_in(memory).into_values().sum();
    assert!(held >= SMALLEST, "{held} would hide in what the heap scatters");
    let mut sequence = engine.open_sequence().expect("it opens");
    let ids: Vec<u32> = (0..150).map(|place| place * 131 % VOCABULARY as u32).collect();
    assert_eq!(engine.prefill(&mut sequence, &ids, &mut || Flow::Continue).expect("it reads"), ids.len());
    for token in 0..4 {
        engine.decode(&mut sequence, token).expect("it writes");
    }
    assert!(engine.logits(&sequence).iter().all(|score| score.is_finite()));
}

fn resident() -> Bytes {
    runtime::memory::resident().expect("a process knows itself")
}

fn come_and_go<B: Backend>(directory: &EngineDir, device: Device) {
    (0..SETTLED).for_each(|_| cycle::<B>(directory, device));
    let before = resident();
    (SETTLED..CYCLES).for_each(|_| cycle::<B>(directory, device));
    let after = resident();
    assert!(
        after <= before + SCATTER,
        "{device}: {before} are resident after {SETTLED} cycles, {after} after {CYCLES}"
    );
    println!("{device}: {before} are resident after {SETTLED} cycles, {after} after {CYCLES}");
}

#[test]
fn engines_come_and_go_and_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = built(folder.path());
    come_and_go::<CpuDevice>(&directory, Device::Cpu);

    let device = match resolve(DeviceChoice::Cuda(0)) {
        Ok(device) => device,
        Err(reason) => return println!("skipped on a GPU: {reason}"),
    };
    let gpu = Gpu::probe();
    let idle = gpu.taken();
    come_and_go::<CudaDevice>(&directory, device);
    match (idle, gpu.taken()) {
        (Reading::Measured(idle), Reading::Measured(now)) => {
            assert!(
                now <= idle,
                "{idle} were taken on the GPU before the first cycle, {now} are behind the last"
            );
            println!("{idle} were taken on the GPU before the first cycle, {now} are behind the last");
        }
        (Reading::Unavailable(why), _) | (_, Reading::Unavailable(why)) => {
            println!("the GPU's memory was not held against it: {why}")
        }
    }
}
