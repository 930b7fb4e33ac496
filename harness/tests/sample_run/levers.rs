//! A run of levers that never happened: for each model a base cell, and cells that each turn one knob, with what the plan
//! promises and what came of it.

use harness::record::{
    BudgetRecord, CellId, CellRecord, LeverRecord, Outcome, Reading, RecordedTrial, Run, Speculation,
    TrialFile,
};
use ledger::{Bytes, Millis, Phase};

use super::{Fate, Model, cell, run_of, trial};

/// The prompt limit of every base cell.
const LENGTH: u32 = 4096;

/// Axes and their base values.
const BASES: [(&str, &str); 4] =
    [("maxInputLen", "4096"), ("mtp", "false"), ("weightStreamingBudget", "unset"), ("lmHead", "int8")];

/// A cell that turns one knob, or none.
#[derive(Debug, Clone)]
pub struct Tried {
    pub model: Model,
    /// Values other than the base.
    pub values: Vec<(&'static str, &'static str)>,
    /// What the plan promises, in MiB.
    pub planned: i64,
    /// What came of it, in MiB.
    pub measured: i64,
    /// Decoded tokens per second.
    pub decode: f64,
    /// Rounds of drafting, and drafts that were accepted.
    pub rounds: Option<(u64, u64)>,
    pub outcome: Outcome,
}

/// A cell that runs to its end.
pub fn tried(
    model: Model,
    values: &[(&'static str, &'static str)],
    (planned, measured): (i64, i64),
    decode: f64,
) -> Tried {
    Tried {
        model,
        values: values.to_vec(),
        planned,
        measured,
        decode,
        rounds: None,
        outcome: Outcome::Completed,
    }
}

/// A run of these cells, without budgets, in which every axis is a lever.
pub fn lever_run(cells: &[Tried]) -> Run {
    let mut run = run_of(&[]);
    run.record.bases = BASES.map(|(axis, base)| (axis.to_owned(), base.to_owned())).into();
    run.record.levers = BASES.map(|(axis, base)| LeverRecord::of_axis(axis, base)).into();
    // A lever that no cell tries is a test of its own.
    run.record
        .levers
        .retain(|lever| cells.iter().any(|cell| cell.values.iter().any(|(axis, _)| *axis == lever.axis)));
    run.record.budgets = Vec::<BudgetRecord>::new();
    run.record.trials_per_cell = 1;
    run.record.cells = cells.iter().enumerate().map(|(at, tried)| cell_of(at, tried)).collect();
    let files = run.record.cells.iter().map(|cell| TrialFile::new(&cell.id, 0));
    run.record.trials = files.collect();
    run.record.resumed_from = None;
    run.trials =
        cells.iter().zip(&run.record.cells).map(|(tried, cell)| trial_of(tried, cell.clone())).collect();
    run
}

fn cell_of(at: usize, tried: &Tried) -> CellRecord {
    let own = |axis: &str| tried.values.iter().find(|(name, _)| *name == axis).map(|(_, value)| *value);
    let mut axes = vec![("model".to_owned(), tried.model.name().to_owned())];
    axes.extend(BASES.map(|(axis, base)| (axis.to_owned(), own(axis).unwrap_or(base).to_owned())));
    CellRecord {
        id: CellId(format!("{:012x}", 0xce11_0000_0000_u64 + at as u64)),
        axes,
        ..cell(tried.model, LENGTH)
    }
}

fn trial_of(tried: &Tried, cell: CellRecord) -> RecordedTrial {
    let mut trial = trial(tried.model, LENGTH, 0, Fate::Completes);
    trial.record.cell = cell;
    trial.record.outcome = tried.outcome.clone();
    let shift = |bytes: Bytes, mib: i64| Bytes(bytes.0.saturating_add_signed(mib << 20));
    let plan = trial.record.plan.as_mut().unwrap();
    let table = plan.buffers.iter_mut().find(|buffer| buffer.name == "model.embed_tokens.weight").unwrap();
    table.bytes = shift(table.bytes, tried.planned);
    let key = table.key();
    let Reading::Measured(ledger) = &mut trial.record.ledger else { unreachable!() };
    let entry = ledger.entries.iter_mut().find(|entry| entry.key == key).unwrap();
    entry.peak = shift(entry.peak, tried.planned);
    for phase in trial.record.phases.iter_mut().filter(|phase| phase.phase != Phase::Idle) {
        if let Reading::Measured(peak) = &mut phase.peak_resident_bytes {
            *peak = shift(*peak, tried.measured);
        }
        if let Reading::Measured(resident) = &mut phase.end.resident {
            resident.anonymous_bytes = shift(resident.anonymous_bytes, tried.measured);
        }
        if let Reading::Measured(classes) = &mut phase.end.by_class_bytes {
            let table = classes.get_mut(&ledger::BufferClass::WeightsLmHead).unwrap();
            *table = shift(*table, tried.measured);
        }
    }
    let Reading::Measured(series) = &mut trial.series else { unreachable!() };
    for sample in &mut series.samples {
        sample.anonymous = sample.anonymous.map(|bytes| {
            let loaded = bytes > Bytes::gib(1);
            if loaded { shift(bytes, tried.measured) } else { bytes }
        });
    }
    for request in &mut trial.record.requests {
        if request.completion_tokens.0 > 1 {
            request.time_per_output_token_ms = Reading::Measured(Millis(1000.0 / tried.decode));
            request.speculation = tried.rounds.map(|(rounds, accepted)| Speculation {
                round_count: rounds,
                drafted: rounds * 3,
                accepted,
                acceptance_length: None,
            });
        }
    }
    trial
}
