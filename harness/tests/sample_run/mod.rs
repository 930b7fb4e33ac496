//! A run that never happened, with the sizes that the real models would have: two models at three lengths, of which
//! one is over its budget, one runs out of memory, one hangs, and one has probes missing.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the builder")]

pub mod device;
pub mod levers;
mod model;
mod trace;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use harness::record::{
    BudgetLimit, BudgetRecord, BudgetSubject, CellId, CellRecord, ExcludedCell, FORMAT_VERSION, MachineCard,
    Outcome, Reading, RecordedTrial, Run, RunRecord, ScenarioRecord, TrialFile,
};
use harness::scenario::Condition;
use ledger::{BufferClass, Bytes, Phase};

pub use model::Model;
pub use trace::{Fate, trial};

/// Trials of each cell.
pub const TRIALS: u32 = 2;

/// The six cells, each with what becomes of its second trial.
pub fn six_cells() -> Vec<(Model, u32, Fate)> {
    vec![
        (Model::Qwen3, 1024, Fate::Completes),
        (Model::Qwen3, 4096, Fate::Resumed),
        (Model::Qwen3, 8192, Fate::Completes),
        (Model::Qwen35, 1024, Fate::Hangs),
        (Model::Qwen35, 4096, Fate::ProbesMissing),
        (Model::Qwen35, 8192, Fate::RunsOutOfMemory),
    ]
}

pub fn cell(model: Model, max_input_len: u32) -> CellRecord {
    let length = max_input_len.to_string();
    let settings = [("maxInputLen", length.as_str()), ("gdnPrefillMaxSeq", "256"), ("maxBatchSize", "1")];
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    CellRecord {
        id: CellId(format!("{:08x}{max_input_len:08x}", 0x51ab_3e77_u32.rotate_left(model as u32 * 7))),
        model: model.name().to_owned(),
        name: None,
        axes: vec![("maxInputLen".to_owned(), length.clone())],
        settings: own(&settings),
        build: own(&[("linears", "int4-g128"), ("lmHead", "int8")]),
        source: format!("synthetic {}, seed 1", model.name()),
        synthetic_weights: true,
        target: "builtin".to_owned(),
    }
}

/// A budget of the scenario.
pub fn budget(id: &str, when: &[(&str, &str)], subject: BudgetSubject, fail: BudgetLimit) -> BudgetRecord {
    BudgetRecord {
        id: id.to_owned(),
        when: Condition::equal(when.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))),
        subject,
        phase: None,
        warn: None,
        fail: Some(fail),
        why: "set by this test".to_owned(),
    }
}

/// The run of all six cells, in memory.
pub fn run() -> Run {
    run_of(&six_cells())
}

/// A run of the given cells, in memory.
pub fn run_of(cells: &[(Model, u32, Fate)]) -> Run {
    let mut trials: Vec<RecordedTrial> = Vec::new();
    for number in 0..TRIALS {
        for (model, max_input_len, fate) in cells {
            let fate = if number == 1 { *fate } else { Fate::Completes };
            trials.push(trial(*model, *max_input_len, number, fate));
        }
    }
    let total = |id: &str, model: &str, mib: u64, why: &str| BudgetRecord {
        why: why.to_owned(),
        warn: Some(BudgetLimit::Bytes(Bytes::mib(mib - 60))),
        ..budget(id, &[("model", model)], BudgetSubject::Total, BudgetLimit::Bytes(Bytes::mib(mib)))
    };
    let files =
        trials.iter().map(|trial| TrialFile::new(&trial.record.cell.id, trial.record.trial)).collect();
    let record = RunRecord {
        format_version: FORMAT_VERSION,
        program_version: "0.1.0".to_owned(),
        program_sha256: String::new(),
        scenario: ScenarioRecord {
            name: "quick".to_owned(),
            why: "Both 4B models at three input lengths, small enough for a coffee break.".to_owned(),
            sha256: "5f2c7be8f1a0".to_owned(),
            text: SCENARIO.to_owned(),
            file: Some("scenarios/quick.yaml".to_owned()),
        },
        started_at: "2026-05-27T09:30:00Z".to_owned(),
        finished_at: Some("2026-05-27T09:34:10Z".to_owned()),
        machine: Some(machine()),
        cells: cells.iter().map(|(model, length, _)| cell(*model, *length)).collect(),
        excluded: vec![ExcludedCell {
            axes: vec![("model".to_owned(), "qwen3-4b".to_owned()), ("mtp".to_owned(), "true".to_owned())],
            why: "no draft head in this checkpoint".to_owned(),
        }],
        chosen: false,
        bases: Vec::new(),
        levers: Vec::new(),
        trials_per_cell: TRIALS,
        budgets: vec![
            total("qwen3-on-the-edge", "qwen3-4b", 2900, "leaves room for speech on an 8 GB board"),
            total("qwen3.5-on-the-edge", "qwen3.5-4b", 2720, "leaves room for speech on an 8 GB board"),
            BudgetRecord {
                warn: Some(BudgetLimit::Share(0.02)),
                why: "what nobody owns, nobody can cut".to_owned(),
                ..budget(
                    "unknown",
                    &[],
                    BudgetSubject::Class(BufferClass::Unaccounted),
                    BudgetLimit::Share(0.03),
                )
            },
            BudgetRecord {
                why: "constant per sequence, whatever the length".to_owned(),
                ..budget(
                    "state",
                    &[("model", "qwen3.5-4b")],
                    BudgetSubject::Class(BufferClass::RecurrentState),
                    BudgetLimit::Bytes(Bytes::mib(64)),
                )
            },
        ],
        quality_budgets: Vec::new(),
        gates: Vec::new(),
        expectations: Vec::new(),
        trials: files,
        pair: None,
        shard: None,
        merged: Vec::new(),
        resumed_from: Some("2026-05-26T21-02-11Z".to_owned()),
        exit_code: None,
    };
    Run {
        folder: PathBuf::from("reports/runs/quick"),
        account: None,
        baseline: None,
        record,
        trials,
        unreadable: Vec::new(),
    }
}

fn machine() -> MachineCard {
    MachineCard {
        cpu: "Cortex-A78AE".to_owned(),
        cores: 8,
        memory_bytes: Bytes::mib(15_656),
        swap_bytes: Bytes::ZERO,
        kernel: "5.15.148-tegra".to_owned(),
        system: "Ubuntu 22.04".to_owned(),
        architecture: "aarch64".to_owned(),
        page_bytes: Bytes::kib(4),
        gpus: Reading::Unavailable("no GPU: the driver library is absent".to_owned()),
    }
}

const SCENARIO: &str = "name: quick\nwhy: Both 4B models at three input lengths, small enough for a coffee break.\n\
models:\n  qwen3-4b: {synthetic: Qwen3-4B, seed: 1}\n  qwen3.5-4b: {synthetic: Qwen3.5-4B, seed: 1}\n\
axes:\n  maxInputLen: [1024, 4096, 8192]\ntrials: 2\nbudgets:\n  - id: qwen3-on-the-edge\n    total: {fail: 2900 MiB}\n\
  - id: qwen3.5-on-the-edge\n    total: {fail: 2720 MiB}\n";

/// Puts a run on disk, in the form that a sweep leaves behind.
pub fn write(run: &Run, folder: &Path) {
    for name in ["trials", "samples"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("run.json"), serde_json::to_vec_pretty(&run.record).unwrap()).unwrap();
    for trial in &run.trials {
        let stem = TrialFile::new(&trial.record.cell.id, trial.record.trial).stem;
        let json = serde_json::to_vec(&trial.record).unwrap();
        fs::write(folder.join("trials").join(format!("{stem}.json")), json).unwrap();
        if let Reading::Measured(series) = &trial.series {
            fs::write(folder.join("samples").join(format!("{stem}.csv")), trace::csv(series)).unwrap();
        }
        if let Reading::Measured(series) = &trial.device_series {
            let path = folder.join("samples").join(format!("{stem}.gpu.csv"));
            fs::write(path, trace::device_csv(series)).unwrap();
        }
    }
}

/// Changes every trial of `run`.
pub fn for_each_trial(run: &mut Run, change: impl FnMut(&mut RecordedTrial)) {
    run.trials.iter_mut().for_each(change);
}

/// Sets the exact peak of one phase of a trial.
pub fn set_peak(trial: &mut RecordedTrial, phase: Phase, peak: Reading<Bytes>) {
    let record = trial.record.phases.iter_mut().find(|record| record.phase == phase).unwrap();
    record.peak_resident_bytes = peak;
}

/// Classes as a map.
pub fn classes(pairs: &[(BufferClass, Bytes)]) -> BTreeMap<BufferClass, Bytes> {
    pairs.iter().copied().collect()
}

/// How a trial of this fate ends.
pub fn outcome(fate: Fate) -> Outcome {
    trace::outcome(fate)
}
