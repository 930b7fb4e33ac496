//! The same trials on a device: a card with memory of its own, which the driver counts by process, and a board on which
//! host and device share their memory and nobody but the target counts.

use harness::record::{
    BudgetLimit, BudgetRecord, BudgetSubject, DeviceReading, DeviceSample, DeviceSeries, PhaseRecord,
    Reading, RecordedTrial, ResidentMemory, Run, Sample,
};
use ledger::{
    BufferClass, Bytes, DeviceReport, LedgerSnapshot, MemoryKind, MemoryPlan, Micros, Phase, PhasePeak,
    Tokens,
};

use super::{Fate, Model, budget, run_of};

/// Where the model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// A card with memory of its own.
    Card,
    /// Host and device are the same chips.
    Unified,
}

/// What code, libraries and heap of a process with a driver in it take.
pub const PROGRAM: Bytes = Bytes::mib(182);
/// What the driver takes on the device.
pub const CONTEXT: Bytes = Bytes::mib(418);
/// What the card uses beyond context and buffers.
pub const STRAY: Bytes = Bytes::mib(6);
const NO_LIBRARY: &str = "no GPU: the NVIDIA management library is not installed";

/// Three cells on `board`, the longest of which is over its budgets.
pub fn run_on(board: Board) -> Run {
    let cells = [
        (Model::Qwen3, 1024, Fate::Completes),
        (Model::Qwen35, 4096, Fate::Completes),
        (Model::Qwen3, 8192, Fate::Completes),
    ];
    let mut run = run_of(&cells);
    run.trials.iter_mut().for_each(|trial| move_to(board, trial));
    for cell in &mut run.record.cells {
        cell.settings.insert("device".to_owned(), "cuda".to_owned());
    }
    let of = |id: &str, subject, mib: u64, why: &str| BudgetRecord {
        why: why.to_owned(),
        ..budget(id, &[], subject, BudgetLimit::Bytes(Bytes::mib(mib)))
    };
    run.record.budgets = match board {
        Board::Card => vec![
            of("program", BudgetSubject::Total, 260, "the card is there to hold the model"),
            of("card", BudgetSubject::Device, 3500, "leaves room for a second model"),
        ],
        Board::Unified => {
            vec![of("board", BudgetSubject::HostAndDevice, 3600, "leaves room for a camera on an 8 GB board")]
        }
    };
    run.record.machine.as_mut().unwrap().gpus = match board {
        Board::Card => Reading::Measured(vec!["NVIDIA H100 80GB HBM3".to_owned()]),
        Board::Unified => Reading::Unavailable(NO_LIBRARY.to_owned()),
    };
    run
}

fn move_to(board: Board, trial: &mut RecordedTrial) {
    let record = &mut trial.record;
    let plan = record.plan.as_mut().unwrap();
    let on_device = |class: BufferClass| class != BufferClass::Logits;
    for buffer in plan.buffers.iter_mut().filter(|buffer| on_device(buffer.class)) {
        buffer.memory = MemoryKind::Device;
    }
    let longest = record.requests.iter().map(|request| (request.prompt_tokens, request.completion_tokens));
    let (prompt, output) = longest.max_by_key(|(prompt, output)| prompt.0 + output.0).unwrap();
    let Reading::Measured(ledger) = &mut record.ledger else { unreachable!() };
    move_ledger(ledger, plan, prompt, Tokens(prompt.0 + output.0));

    let loaded_us = record.phases.iter().find(|phase| phase.phase == Phase::Load).unwrap().started_us;
    let Reading::Measured(series) = &mut trial.series else { unreachable!() };
    let taken_by_others = Bytes::gib(3);
    let mut readings = Vec::new();
    for sample in &mut series.samples {
        let held = move_sample(sample, loaded_us);
        readings.push(DeviceSample { at: sample.at, used: Some(held), taken: Some(held + taken_by_others) });
    }
    let series = DeviceSeries { samples: readings };
    for phase in &mut record.phases {
        let within = |at: Micros| (phase.started_us..=phase.ended_us).contains(&at);
        let samples = trial.series.measured().unwrap().samples.iter().filter(|sample| within(sample.at));
        let highest = samples.filter_map(Sample::resident).max();
        move_phase(board, phase, highest);
    }
    trial.device_series = match board {
        Board::Card => Reading::Measured(series),
        Board::Unified => Reading::Unavailable("no GPU was read over time".to_owned()),
    };
}

/// What a tick saw in host memory alone, and what the device held then.
fn move_sample(sample: &mut Sample, loaded: Micros) -> Bytes {
    let before = sample.resident().unwrap();
    let file = sample.file.unwrap();
    if sample.at < loaded {
        return Bytes::ZERO;
    }
    sample.anonymous = Some(PROGRAM - file + Bytes(before.0 % 150_000));
    before.saturating_sub(Bytes::mib(18)) + CONTEXT
}

fn move_phase(board: Board, phase: &mut PhaseRecord, highest: Option<Bytes>) {
    phase.end.gpu_bytes = match (board, phase.phase) {
        (Board::Unified, _) => Reading::Unavailable(NO_LIBRARY.to_owned()),
        (Board::Card, Phase::Unload) => Reading::Unavailable("the process was gone".to_owned()),
        (Board::Card, _) => Reading::Measured(Bytes::ZERO),
    };
    let Reading::Measured(by_class) = &mut phase.end.by_class_bytes else { return };
    if phase.phase == Phase::Idle {
        return;
    }
    let logits = by_class.get(&BufferClass::Logits).copied().unwrap_or_default();
    by_class.insert(BufferClass::Program, PROGRAM);
    let mut on_device = by_class.clone();
    on_device.retain(|class, _| !matches!(class, BufferClass::Program | BufferClass::Logits));
    let buffers: Bytes = on_device.values().copied().sum();
    on_device.insert(BufferClass::DeviceContext, CONTEXT);
    by_class.insert(BufferClass::DeviceContext, CONTEXT);

    let stray = Bytes(phase.end.unaccounted_bytes.measured().unwrap().unsigned_abs());
    let resident = PROGRAM + logits + stray;
    let file = Bytes::mib(9);
    phase.end.resident = Reading::Measured(ResidentMemory {
        anonymous_bytes: resident - file,
        file_bytes: file,
        shared_bytes: Bytes::ZERO,
    });
    phase.end.proportional_bytes = Reading::Measured(resident - Bytes::mib(3));
    phase.peak_resident_bytes = Reading::Measured(highest.unwrap_or_default().max(resident));
    let used = Reading::Measured(CONTEXT + buffers + STRAY);
    let silent = || Reading::Unavailable(NO_LIBRARY.to_owned());
    let (name, architecture, total, by_process) = match board {
        Board::Card => ("NVIDIA H100 80GB HBM3", "sm_90", Bytes::mib(81_559), used),
        Board::Unified => ("Orin", "sm_87", Bytes::mib(7_607), silent()),
    };
    let free_at_start = total - Bytes::gib(3) - CONTEXT;
    let report = DeviceReport {
        name: name.to_owned(),
        architecture: architecture.to_owned(),
        driver: "CUDA 13.0".to_owned(),
        unified: board == Board::Unified,
        total,
        free_at_start,
        free_now: free_at_start.saturating_sub(buffers + STRAY),
        context: CONTEXT,
        driver_on_host: Bytes::ZERO,
        buffers,
        used_by_process: Reading::default(),
        unaccounted: Reading::default(),
    };
    phase.end.gpu_bytes = by_process.clone();
    phase.end.device =
        Some(DeviceReading { report: report.witnessed(by_process), by_class_bytes: on_device });
}

fn move_ledger(ledger: &mut LedgerSnapshot, plan: &MemoryPlan, prompt: Tokens, context: Tokens) {
    for (entry, buffer) in ledger.entries.iter_mut().zip(&plan.buffers) {
        entry.memory = buffer.memory;
    }
    let peak = |phase, memory| {
        let context = if phase == Phase::Prefill { prompt } else { context };
        let by_class = plan.in_memory(memory).by_class(phase, context);
        PhasePeak { phase, memory, total: by_class.values().copied().sum(), by_class }
    };
    ledger.phases = [Phase::Load, Phase::Prefill, Phase::Decode, Phase::Settle]
        .into_iter()
        .flat_map(|phase| [peak(phase, MemoryKind::Host), peak(phase, MemoryKind::Device)])
        .collect();
}
