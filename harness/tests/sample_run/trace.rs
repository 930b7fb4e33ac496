//! What a trial of such a model would leave behind: phases, ledgers, requests and a 10 ms series.

use std::collections::BTreeMap;
use std::fmt::Write;

use harness::record::{
    DeviceSeries, EdgeReading, FORMAT_VERSION, Outcome, PhaseRecord, ProbeCard, ProbeScope, Reading,
    RecordedTrial, RequestRecord, ResidentMemory, Sample, SamplerHealth, Series, TrialRecord,
};
use ledger::{
    BufferClass, Bytes, LedgerEntry, LedgerSnapshot, MemoryKind, MemoryPlan, Micros, Millis, Phase,
    PhasePeak, Tokens,
};

use super::Model;

/// What becomes of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Completes,
    Resumed,
    Hangs,
    RunsOutOfMemory,
    ProbesMissing,
}

const OUTPUT: Tokens = Tokens(64);
const PROGRAM: Bytes = Bytes(11 * 1024 * 1024 + 4096 * 77);

pub fn outcome(fate: Fate) -> Outcome {
    match fate {
        Fate::Completes | Fate::Resumed | Fate::ProbesMissing => Outcome::Completed,
        Fate::Hangs => Outcome::TimedOut { phase: Phase::Decode, limit_ms: Millis(30_000.0) },
        Fate::RunsOutOfMemory => Outcome::OutOfMemory {
            phase: Phase::Prefill,
            evidence: "memory.events counts 1 oom_kill; the target ended with signal 9".to_owned(),
        },
    }
}

pub fn trial(model: Model, max_input_len: u32, number: u32, fate: Fate) -> RecordedTrial {
    let plan = model.plan(max_input_len);
    let prompt = Tokens(max_input_len - 64);
    let mut noise = Noise(u64::from(max_input_len) * 31 + u64::from(number) * 7 + model as u64);
    let mut phases = Vec::new();
    let mut samples = Vec::new();
    let mut clock = 0_u64;
    let last = match fate {
        Fate::Hangs => Phase::Decode,
        Fate::RunsOutOfMemory => Phase::Prefill,
        _ => Phase::Unload,
    };
    for phase in Phase::ALL {
        let context = match phase {
            Phase::Prefill => prompt,
            Phase::Decode => Tokens(prompt.0 + OUTPUT.0),
            _ => Tokens(0),
        };
        let length = duration_us(phase, max_input_len, fate);
        let before = samples.last().and_then(Sample::resident).unwrap_or(PROGRAM);
        let planned = plan.by_class(phase, context);
        let unowned = if phase == Phase::Idle { 200 << 10 } else { 5 << 20 };
        let unaccounted = Bytes(noise.up_to(unowned) & !4095);
        let held = planned.values().copied().sum::<Bytes>() + PROGRAM + unaccounted;
        let started = clock;
        let ticks = length / 10_000;
        let mut peak = Bytes::ZERO;
        for tick in 0..ticks {
            let level = level(phase, before, held, tick as f64 / ticks as f64);
            let spike = if phase == Phase::Load && tick == ticks / 2 { Bytes::mib(48) } else { Bytes::ZERO };
            let total = Bytes((level + noise.up_to(160_000) as f64) as u64) + spike;
            peak = peak.max(total);
            let file = Bytes(9 << 20).min(total);
            samples.push(Sample {
                at: Micros(clock + noise.up_to(400)),
                anonymous: Some(total - file),
                file: Some(file),
                shared: Some(Bytes::ZERO),
                swapped: Some(Bytes::ZERO),
                available: Some(Bytes::mib(14_000).saturating_sub(total)),
                co_residents: None,
            });
            clock += 10_000;
        }
        let mut by_class = planned;
        by_class.insert(BufferClass::Program, PROGRAM);
        phases.push(PhaseRecord {
            phase,
            started_us: Micros(started),
            ended_us: Micros(clock),
            peak_resident_bytes: peak_reading(phase, peak.max(held)),
            end: edge(phase, held, unaccounted, by_class, fate, phase == last && last != Phase::Unload),
            co_residents: Vec::new(),
        });
        if phase == last {
            break;
        }
    }
    if fate == Fate::ProbesMissing {
        // The sampler was held up for 120 ms while prefill began.
        let blind = phases[2].started_us.0.saturating_sub(50_000)..phases[2].started_us.0 + 70_000;
        samples.retain(|sample| !blind.contains(&sample.at.0));
    }
    let requests = requests(model, prompt, last, number);
    let record = TrialRecord {
        format_version: FORMAT_VERSION,
        cell: super::cell(model, max_input_len),
        trial: number,
        started_at: format!("2026-05-27T09:3{number}:00Z"),
        outcome: outcome(fate),
        log_tail: log_tail(fate),
        ledger: Reading::Measured(ledger(&plan, Tokens(prompt.0 + OUTPUT.0))),
        phases,
        requests,
        sampler: health(&samples),
        plan: Some(plan),
        probes: probes(fate),
        warnings: Vec::new(),
        disturbances: Vec::new(),
        floor: None,
        environment: None,
        target: None,
        cgroup: None,
        quality: None,
        resumed_from: (fate == Fate::Resumed).then(|| "2026-05-26T21-02-11Z".to_owned()),
    };
    RecordedTrial {
        record,
        series: Reading::Measured(Series { samples }),
        device_series: Reading::Unavailable("no GPU was read over time".to_owned()),
    }
}

fn duration_us(phase: Phase, max_input_len: u32, fate: Fate) -> u64 {
    match phase {
        Phase::Idle => 300_000,
        Phase::Load => 1_600_000,
        Phase::Prefill => u64::from(max_input_len) * 1_100,
        Phase::Decode if fate == Fate::Hangs => 30_000_000,
        Phase::Decode => 7_400_000,
        Phase::Settle => 1_000_000,
        Phase::Unload => 150_000,
    }
}

/// Resident memory at `part` (0 to 1) of a phase that starts at `before` and holds `held`.
fn level(phase: Phase, before: Bytes, held: Bytes, part: f64) -> f64 {
    let (from, to) = (before.0 as f64, held.0 as f64);
    match phase {
        Phase::Load | Phase::Prefill => from + (to - from) * (part * 1.15).min(1.0),
        _ => from + (to - from) * (part * 20.0).min(1.0),
    }
}

fn peak_reading(phase: Phase, peak: Bytes) -> Reading<Bytes> {
    match phase {
        Phase::Unload => Reading::Unavailable("the process was gone".to_owned()),
        _ => Reading::Measured(peak),
    }
}

fn edge(
    phase: Phase,
    held: Bytes,
    unaccounted: Bytes,
    by_class: BTreeMap<BufferClass, Bytes>,
    fate: Fate,
    died: bool,
) -> EdgeReading {
    fn unavailable<T>(why: &str) -> Reading<T> {
        Reading::Unavailable(why.to_owned())
    }
    let gpu_bytes = unavailable("no GPU: libcuda.so.1 was not found");
    if phase == Phase::Unload || died {
        return EdgeReading {
            resident: unavailable("the process was gone"),
            proportional_bytes: unavailable("the process was gone"),
            by_class_bytes: unavailable("the process was gone"),
            unaccounted_bytes: unavailable("the process was gone"),
            gpu_bytes,
            device: None,
            device_class_bytes: Default::default(),
            swap_bytes: unavailable("the process was gone"),
            conditions: Default::default(),
            mem_available_bytes: Reading::Measured(Bytes::mib(14_000)),
        };
    }
    let file = Bytes(9 << 20);
    EdgeReading {
        resident: Reading::Measured(ResidentMemory {
            anonymous_bytes: held - file,
            file_bytes: file,
            shared_bytes: Bytes::ZERO,
        }),
        proportional_bytes: match fate {
            Fate::ProbesMissing => unavailable("smaps_rollup is not readable: permission denied"),
            _ => Reading::Measured(held - Bytes(3 << 20)),
        },
        by_class_bytes: Reading::Measured(by_class),
        unaccounted_bytes: Reading::Measured(unaccounted.0 as i64),
        gpu_bytes,
        device: None,
        device_class_bytes: Default::default(),
        swap_bytes: Reading::Measured(Bytes::ZERO),
        conditions: Default::default(),
        mem_available_bytes: Reading::Measured(Bytes::mib(14_000).saturating_sub(held)),
    }
}

fn ledger(plan: &MemoryPlan, context: Tokens) -> LedgerSnapshot {
    let entries = plan.buffers.iter().map(|buffer| {
        let committed = buffer
            .growth
            .map_or(buffer.bytes, |growth| growth.committed(context, buffer.page).min(buffer.bytes));
        LedgerEntry {
            key: buffer.key(),
            role: buffer.role,
            class: buffer.class,
            layer: buffer.layer,
            memory: buffer.memory,
            now: Bytes::ZERO,
            peak: committed,
            reserved: buffer.bytes,
        }
    });
    let phases = [Phase::Load, Phase::Prefill, Phase::Decode, Phase::Settle].map(|phase| PhasePeak {
        phase,
        memory: MemoryKind::Host,
        total: plan.total_in(phase, context),
        by_class: plan.by_class(phase, context),
    });
    LedgerSnapshot { entries: entries.collect(), peak_total: plan.peak(context), phases: phases.into() }
}

fn requests(model: Model, prompt: Tokens, last: Phase, number: u32) -> Vec<RequestRecord> {
    let slower = f64::from(number) * 0.4;
    let (prefill, decode) = if model == Model::Qwen3 { (31.4 - slower, 7.9) } else { (36.2 - slower, 8.6) };
    let request = |phase, output: Tokens| {
        let first = f64::from(prompt.0) * 1000.0 / prefill;
        RequestRecord {
            sent_us: None,
            phase,
            prompt_tokens: prompt,
            completion_tokens: output,
            time_to_first_token_ms: Reading::Measured(Millis(first)),
            time_per_output_token_ms: if output.0 > 1 {
                Reading::Measured(Millis(1000.0 / decode))
            } else {
                Reading::Unavailable("one token has no time after the first".to_owned())
            },
            total_ms: Millis(first + f64::from(output.0) * 1000.0 / decode),
            speculation: None,
        }
    };
    match last {
        Phase::Prefill => Vec::new(),
        Phase::Decode => vec![request(Phase::Prefill, Tokens(1))],
        _ => vec![request(Phase::Prefill, Tokens(1)), request(Phase::Decode, OUTPUT)],
    }
}

fn health(samples: &[Sample]) -> SamplerHealth {
    let gap = |pair: &[Sample]| pair[1].at.0 - pair[0].at.0;
    let bounds = [8_000, 9_500, 10_500, 12_000, 20_000, 50_000, 1_000_000];
    let mut histogram: Vec<(Micros, u64)> = bounds.iter().map(|bound| (Micros(*bound), 0)).collect();
    for pair in samples.windows(2) {
        if let Some(bucket) = histogram.iter_mut().find(|(bound, _)| gap(pair) <= bound.0) {
            bucket.1 += 1;
        }
    }
    let longest = samples.windows(2).map(gap).max().unwrap_or(0);
    SamplerHealth {
        interval_us: Micros(10_000),
        samples: samples.len() as u64,
        missed_ticks: (longest / 10_000).saturating_sub(1),
        longest_gap_us: Micros(longest),
        interval_histogram: histogram,
        cpu_us: Micros(samples.len() as u64 * 41),
    }
}

fn probes(fate: Fate) -> Vec<ProbeCard> {
    let card = |name: &str, scope, cadence| ProbeCard {
        id: String::new(),
        name: name.to_owned(),
        scope,
        cost: String::new(),
        cadence,
    };
    let pss = match fate {
        Fate::ProbesMissing => Reading::Unavailable("permission denied".to_owned()),
        _ => Reading::Measured("at phase edges".to_owned()),
    };
    vec![
        card(
            "process memory (/proc/PID/status)",
            ProbeScope::Process,
            Reading::Measured("every 10 ms".to_owned()),
        ),
        card("proportional set (/proc/PID/smaps_rollup)", ProbeScope::Process, pss),
        card(
            "machine memory (/proc/meminfo)",
            ProbeScope::System,
            Reading::Measured("every 10 ms".to_owned()),
        ),
        card(
            "GPU memory (driver)",
            ProbeScope::Device,
            Reading::Unavailable("no GPU: libcuda.so.1 was not found".to_owned()),
        ),
    ]
}

fn log_tail(fate: Fate) -> Vec<String> {
    let mut lines =
        vec!["INFO engine mapped in 1.6 s".to_owned(), "INFO listening on 127.0.0.1:41873".to_owned()];
    match fate {
        Fate::RunsOutOfMemory => {
            lines.push("\u{1b}[31mERROR\u{1b}[0m <b>prefill</b> chunk 17 & \"more\"".to_owned())
        }
        Fate::Hangs => lines.push("WARN decode step 12 has taken 28 s".to_owned()),
        _ => {}
    }
    lines
}

pub fn csv(series: &Series) -> String {
    let mut text =
        "time_us,rss_anon_bytes,rss_file_bytes,rss_shmem_bytes,vm_swap_bytes,mem_available_bytes\n"
            .to_owned();
    let field = |value: Option<Bytes>| value.map(|bytes| bytes.0.to_string()).unwrap_or_default();
    for sample in &series.samples {
        let columns =
            [sample.anonymous, sample.file, sample.shared, sample.swapped, sample.available].map(field);
        let _ = writeln!(text, "{},{}", sample.at.0, columns.join(","));
    }
    text
}

pub fn device_csv(series: &DeviceSeries) -> String {
    let mut text = format!("{}\n", DeviceSeries::COLUMNS.join(","));
    let field = |value: Option<Bytes>| value.map(|bytes| bytes.0.to_string()).unwrap_or_default();
    for sample in &series.samples {
        let _ = writeln!(text, "{},{},{}", sample.at.0, field(sample.used), field(sample.taken));
    }
    text
}

/// A small generator, so that a run has the same noise every time.
struct Noise(u64);

impl Noise {
    fn up_to(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}
