//! Which cells of a run are locked.

use serde::Serialize;

use super::{Baseline, cell_key, locked_cell};
use crate::record::{CellRecord, Run};

/// How a cell stands to the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LockState {
    /// Declared as locked, measured under the same conditions.
    Locked,
    /// Declared otherwise than locked: so many buffers differ.
    Stale {
        /// How many.
        buffers: usize,
    },
    /// The baseline does not have it.
    Missing,
    /// It was measured under other conditions.
    OtherFingerprint {
        /// Each field that differs, with both values.
        differences: Vec<String>,
    },
    /// The baseline has it, and the run has no finished trial of it.
    NotMeasured,
    /// The baseline has it, and the scenario has not.
    Gone,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellStatus {
    /// Model and axis values.
    pub cell: String,
    /// How it stands.
    pub state: LockState,
}

/// Every cell of `run` and, where it has all of its scenario's cells, every further one of the baseline, by name.
pub fn status(baseline: &Baseline, run: &Run) -> Vec<CellStatus> {
    let scenario = &run.record.scenario.name;
    let mut cells: Vec<CellStatus> = run
        .record
        .cells
        .iter()
        .map(|cell| CellStatus { cell: cell_key(cell), state: state_of(baseline, run, cell) })
        .collect();
    let gone = baseline.scenarios.get(scenario).into_iter().flatten();
    let is_whole = !run.record.chosen && run.record.shard.is_none();
    let gone = gone.filter(|(key, _)| is_whole && cells.iter().all(|cell| cell.cell != **key));
    let gone: Vec<CellStatus> =
        gone.map(|(key, _)| CellStatus { cell: key.clone(), state: LockState::Gone }).collect();
    cells.extend(gone);
    cells.sort_by(|one, other| one.cell.cmp(&other.cell));
    cells
}

fn state_of(baseline: &Baseline, run: &Run, cell: &CellRecord) -> LockState {
    let Some(locked) = baseline.cell(&run.record.scenario.name, &cell_key(cell)) else {
        return LockState::Missing;
    };
    let Some(now) = locked_cell(run, cell) else { return LockState::NotMeasured };
    let differences = locked.fingerprint.differences(&now.fingerprint);
    if !differences.is_empty() {
        return LockState::OtherFingerprint { differences };
    }
    let mut names: Vec<&String> = locked.declared_bytes.keys().chain(now.declared_bytes.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differs = |name: &&&String| locked.declared_bytes.get(**name) != now.declared_bytes.get(**name);
    match names.iter().filter(differs).count() {
        0 => LockState::Locked,
        buffers => LockState::Stale { buffers },
    }
}
