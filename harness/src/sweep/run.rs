//! The loop over cells and trials.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ledger::Phase;

use super::bench::Bench;
use super::resume::{Earlier, unfinished};
use super::shard::divide;
use crate::clock::wall_clock;
use crate::doctor::{Diagnosis, DiskCheck, NeedState, check_needs};
use crate::engines::{CACHE, Engine, EngineError, EngineErrorKind, EngineProvider, Progress, engine_of};
use crate::interrupt::Interrupt;
use crate::probe::{Gpu, LiveMemory, SystemRoot, environment, machine_card};
use crate::record::{
    CellElsewhere, CellRecord, ExcludedCell, FORMAT_VERSION, LeverRecord, Outcome, RunFolder, RunRecord,
    Shard, ShardRecord, TrialRecord,
};
use crate::scenario::{BuildOptions, Cell, Condition, Expansion, ModelForm, Scenario, hex_sha256};
use crate::target::{Target, unanswerable};
use crate::trial::TrialError;

/// Told what happens, for a screen.
pub trait Observer: Progress {
    /// The run begins; some of its trials may have been done by an earlier one.
    fn run_begins(&self, folder: &Path, cells: usize, trials: u32, resumed_from: Option<&str>);
    /// Trials of a cell begin, of number `at` of `of`; a cell may begin again.
    fn cell_begins(&self, cell: &Cell, at: usize, of: usize);
    /// A trial enters a phase, in which `live` shows what is resident.
    fn phase_begins(&self, phase: Phase, live: &LiveMemory);
    /// A trial is over; `taken_over` where an earlier run has done it.
    fn trial_ends(&self, record: &TrialRecord, taken_over: bool);
}

/// What is to be run, and with what.
pub struct Sweep<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Names of cells, or their ids, or the beginnings of ids. Empty: every cell.
    pub only: &'a [String],
    /// The part of the cells that this machine runs. `None`: all of them.
    pub shard: Option<Shard>,
    /// Where run folders go.
    pub runs: &'a Path,
    /// True where nothing is taken over from an earlier run.
    pub fresh: bool,
    /// Makes engines.
    pub engines: &'a dyn EngineProvider,
    /// What runs them, by the target's name in the scenario.
    pub targets: &'a [(String, Box<dyn Target>)],
    /// Starts the process that outlives this one, see [`crate::target::Guardian`]. `None`: nobody does.
    pub guardian: Option<Command>,
    /// Where the machine's own files are; those of the target's processes are in the `/proc` of this one.
    pub machine: &'a SystemRoot,
    /// Whether someone asks to stop.
    pub interrupt: &'a Interrupt,
    /// Told what happens.
    pub observer: &'a dyn Observer,
}

/// A run that has gone through its cells, or was stopped. It has no exit code yet.
#[derive(Debug)]
pub struct SweepEnd {
    /// The run.
    pub folder: RunFolder,
    /// True where it was stopped before its last trial.
    pub interrupted: bool,
}

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A cell that was asked for does not exist.
    #[error("there is no cell `{id}` in the scenario {scenario}")]
    UnknownCell {
        /// What was asked for.
        id: String,
        /// The scenario's name.
        scenario: String,
    },
    /// The cells cannot be divided among machines.
    #[error("divide the scenario {scenario} into shards: {source}")]
    Indivisible {
        /// The scenario's name.
        scenario: String,
        /// Which cell, and why.
        source: EngineError,
    },
    /// A target cannot do what a cell asks for.
    #[error("cell {cell} of the scenario {scenario}: {why}")]
    Unanswerable {
        /// The cell's id.
        cell: String,
        /// The scenario's name.
        scenario: String,
        /// What it cannot do, and why.
        why: String,
    },
    /// This machine cannot run a cell.
    #[error("cell {cell} of the scenario {scenario}: {why}")]
    Refused {
        /// The cell's id.
        cell: String,
        /// The scenario's name.
        scenario: String,
        /// What is missing here.
        why: String,
    },
    /// The machine is not what the scenario asks for.
    #[error("this machine is not what the scenario {scenario} needs: {unmet}")]
    Needs {
        /// The scenario's name.
        scenario: String,
        /// Every demand that is not met, and what is there instead.
        unmet: String,
    },
    /// The run folder cannot be written.
    #[error("write the run folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// This program cannot be read, so that its runs cannot be told from those of another one.
    #[error("read this program's own file: {0}")]
    Program(io::Error),
    /// The machine does not say what it is.
    #[error("describe this machine: {0}")]
    Machine(String),
    /// A trial could not be recorded.
    #[error(transparent)]
    Trial(#[from] TrialError),
}

/// What a cell runs, and what its quality is held against.
pub(super) struct CellEngine {
    pub(super) engine: Engine,
    /// The same checkpoint with everything as it is stored there, or why it cannot be built. `None` where nobody asks, and where an
    /// engine is all there is.
    pub(super) reference: Option<Result<PathBuf, String>>,
}

impl Sweep<'_> {
    pub(super) fn target_of(&self, cell: &Cell) -> Option<&dyn Target> {
        let found = self.targets.iter().find(|(name, _)| *name == cell.target);
        found.map(|(_, target)| target.as_ref())
    }

    pub(super) fn engine_of(&self, cell: &Cell) -> Result<CellEngine, EngineError> {
        let engine = self.tried_engine(cell)?;
        let given = self.scenario.quality_of(cell).map(|quality| quality.reference.as_ref());
        let source = match (given, &cell.form) {
            (Some(Some(given)), _) => Some(given),
            (Some(None), ModelForm::Builtin(source)) if !source.is_engine() => Some(source),
            _ => None,
        };
        let reference = match source {
            Some(source) => match self.engines.ensure(source, &BuildOptions::exact(), self.observer) {
                Err(error) if error.kind == EngineErrorKind::Interrupted => return Err(error),
                built => Some(built.map(|engine| engine.folder).map_err(|error| error.to_string())),
            },
            None => None,
        };
        Ok(CellEngine { engine, reference })
    }

    fn tried_engine(&self, cell: &Cell) -> Result<Engine, EngineError> {
        match (&cell.form, engine_of(&cell.form)) {
            (_, Some(found)) => found,
            (ModelForm::Builtin(source), None) => self.engines.ensure(source, &cell.build, self.observer),
            (other, None) => Err(EngineError {
                what: format!("nothing reads {}", other.describe()),
                hint: None,
                kind: EngineErrorKind::Environment,
            }),
        }
    }
}

/// What of a scenario is to be run.
pub(super) struct Part {
    pub(super) cells: Vec<Cell>,
    pub(super) excluded: Vec<ExcludedCell>,
    /// Cells that other shards run.
    elsewhere: Vec<CellElsewhere>,
}

/// The cells that are to be run, each checked for a target that can run it here.
pub(super) fn checked_cells(sweep: &Sweep<'_>) -> Result<Part, SweepError> {
    let Expansion { cells, excluded } = sweep.scenario.expand();
    let cells = chosen(cells, sweep.only, sweep.scenario)?;
    let (cells, elsewhere) = match sweep.shard {
        None => (cells, Vec::new()),
        Some(shard) => own_and_elsewhere(sweep, cells, shard)?,
    };
    for cell in &cells {
        let (id, scenario) = (cell.id.0.clone(), sweep.scenario.name.clone());
        let Some(target) = sweep.target_of(cell) else {
            let why = format!("nothing runs the target {}", cell.target);
            return Err(SweepError::Refused { cell: id, scenario, why });
        };
        if let Some(why) = unanswerable(target, cell, |name| sweep.scenario.is_varied(name)) {
            return Err(SweepError::Unanswerable { cell: id, scenario, why });
        }
        if let Some(why) = target.refusal(cell) {
            return Err(SweepError::Refused { cell: id, scenario, why });
        }
    }
    check_machine(sweep.scenario, sweep.machine)?;
    Ok(Part { cells, excluded, elsewhere })
}

/// The cells of `shard`, and those of all others.
fn own_and_elsewhere(
    sweep: &Sweep<'_>,
    cells: Vec<Cell>,
    shard: Shard,
) -> Result<(Vec<Cell>, Vec<CellElsewhere>), SweepError> {
    let shards = divide(sweep.scenario, &cells, sweep.engines, shard)
        .map_err(|source| SweepError::Indivisible { scenario: sweep.scenario.name.clone(), source })?;
    let (mut own, mut elsewhere) = (Vec::new(), Vec::new());
    for (place, (cell, of_cell)) in cells.into_iter().zip(shards).enumerate() {
        match of_cell == shard {
            true => own.push(cell),
            false => elsewhere.push(CellElsewhere { place, shard: of_cell, cell: cell.record() }),
        }
    }
    Ok((own, elsewhere))
}

/// Runs the scenario. What a target or an engine does wrong is part of the record; an error means that there is none.
pub fn run(mut sweep: Sweep<'_>) -> Result<SweepEnd, SweepError> {
    let Part { cells, excluded, elsewhere } = checked_cells(&sweep)?;
    let program_sha256 = program_sha256().map_err(SweepError::Program)?;
    let name = &sweep.scenario.name;
    let here = environment(sweep.machine);
    let mut earlier = match sweep.fresh {
        true => None,
        false => unfinished(sweep.runs, name, sweep.shard, &program_sha256, &here),
    };
    let gpu = Arc::new(Gpu::probe());
    let unmade = |source| SweepError::Folder { folder: sweep.runs.to_owned(), source };
    let folder = RunFolder::make(sweep.runs).map_err(unmade)?;
    let resumed_from = earlier.as_ref().map(Earlier::name);
    let shard = sweep.shard.map(|shard| ShardRecord { shard, environment: here, elsewhere });
    let record = RunRecord { resumed_from, shard, ..head(&sweep, &cells, excluded, program_sha256, &gpu)? };
    let unwritable = |source| SweepError::Folder { folder: folder.clone(), source };
    let mut run = RunFolder::begin(folder.clone(), record).map_err(unwritable)?;
    let resumed_from = run.record().resumed_from.clone();
    sweep.observer.run_begins(&folder, cells.len(), sweep.scenario.trials, resumed_from.as_deref());
    let mut bench = Bench::new(sweep.guardian.take(), gpu);
    let mut engines: Vec<Option<Result<CellEngine, String>>> = cells.iter().map(|_| None).collect();
    let mut before = None;
    for (at, trial) in sweep.scenario.visits(&cells) {
        let (cell, engine) = (&cells[at], &mut engines[at]);
        if before.replace(at) != Some(at) {
            sweep.observer.cell_begins(cell, at + 1, cells.len());
        }
        let Some(target) = sweep.target_of(cell) else { continue };
        if let Some((from, done)) = earlier.as_mut().and_then(|earlier| earlier.take(&cell.id, trial)) {
            sweep.observer.trial_ends(&done, true);
            run.take_over(&from, done).map_err(unwritable)?;
            continue;
        }
        if engine.is_none() && !sweep.interrupt.is_asked() {
            match sweep.engine_of(cell) {
                Ok(ready) => *engine = Some(Ok(ready)),
                Err(error) if error.kind == EngineErrorKind::Interrupted => {}
                Err(error) => *engine = Some(Err(error.to_string())),
            }
        }
        let Some(engine) = engine.as_ref().filter(|_| !sweep.interrupt.is_asked()) else {
            return Ok(SweepEnd { folder: run, interrupted: true });
        };
        let outcome = bench.trial(&sweep, &mut run, (cell, trial), engine, target)?;
        if outcome == Outcome::Interrupted {
            return Ok(SweepEnd { folder: run, interrupted: true });
        }
    }
    Ok(SweepEnd { folder: run, interrupted: false })
}

/// What `run.json` says before the first trial.
pub(super) fn head(
    sweep: &Sweep<'_>,
    cells: &[Cell],
    excluded: Vec<ExcludedCell>,
    program_sha256: String,
    gpu: &Gpu,
) -> Result<RunRecord, SweepError> {
    let (budgets, gates) = (sweep.scenario.budgets.iter(), sweep.scenario.gates.iter());
    let quality = sweep.scenario.quality.iter().flat_map(|quality| &quality.budgets);
    let expectations = sweep.scenario.expectations.iter();
    let is_for_some =
        |when: &Condition| sweep.only.is_empty() || cells.iter().any(|cell| cell.record().matches(when));
    Ok(RunRecord {
        format_version: FORMAT_VERSION,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        program_sha256,
        scenario: sweep.scenario.record(),
        started_at: wall_clock(),
        finished_at: None,
        machine: Some(machine_card(gpu).map_err(|error| SweepError::Machine(error.to_string()))?),
        cells: cells.iter().map(Cell::record).collect(),
        chosen: !sweep.only.is_empty(),
        excluded,
        bases: sweep.scenario.bases(),
        levers: levers(sweep.scenario, sweep.only, cells),
        trials_per_cell: sweep.scenario.trials,
        // A run of chosen cells is not judged by budgets for the others.
        budgets: budgets.filter(|budget| is_for_some(&budget.when)).cloned().collect(),
        quality_budgets: quality.filter(|budget| is_for_some(&budget.when)).cloned().collect(),
        gates: gates.filter(|gate| is_for_some(&gate.when)).cloned().collect(),
        expectations: expectations.filter(|expectation| is_for_some(&expectation.when)).cloned().collect(),
        trials: Vec::new(),
        pair: None,
        shard: None,
        merged: Vec::new(),
        resumed_from: None,
        exit_code: None,
    })
}

/// Refuses a machine that is not what the scenario needs, before anything is written.
fn check_machine(scenario: &Scenario, machine: &SystemRoot) -> Result<(), SweepError> {
    if scenario.needs.is_empty() {
        return Ok(());
    }
    let diagnosis = Diagnosis::of(machine, Path::new(CACHE), DiskCheck::Space);
    let states = check_needs(&scenario.needs, &diagnosis);
    let unmet: Vec<String> = states.iter().filter(|state| !state.met).map(NeedState::line).collect();
    match unmet.as_slice() {
        [] => Ok(()),
        unmet => Err(SweepError::Needs { scenario: scenario.name.clone(), unmet: unmet.join("; ") }),
    }
}

/// The levers that these cells can say something about: a run of chosen cells is not judged by the others.
fn levers(scenario: &Scenario, only: &[String], cells: &[Cell]) -> Vec<LeverRecord> {
    let bases = scenario.bases();
    let records: Vec<CellRecord> = cells.iter().map(Cell::record).collect();
    let is_tried = |lever: &&LeverRecord| {
        let mut tried = records.iter().filter(|cell| lever.is_tried_by(cell, &bases));
        tried.any(|cell| records.iter().any(|base| lever.is_base_of(base, cell)))
    };
    scenario.levers.iter().filter(|lever| only.is_empty() || is_tried(lever)).cloned().collect()
}

fn chosen(cells: Vec<Cell>, only: &[String], scenario: &Scenario) -> Result<Vec<Cell>, SweepError> {
    for id in only {
        if id.is_empty() || !cells.iter().any(|cell| is_meant(cell, id)) {
            return Err(SweepError::UnknownCell { id: id.clone(), scenario: scenario.name.clone() });
        }
    }
    let wanted = |cell: &Cell| only.is_empty() || only.iter().any(|id| is_meant(cell, id));
    Ok(cells.into_iter().filter(wanted).collect())
}

/// True where `text` is the cell's name, or the beginning of its id.
fn is_meant(cell: &Cell, text: &str) -> bool {
    cell.id.0.starts_with(text) || cell.name.as_ref().is_some_and(|name| name.name == text)
}

pub(super) fn program_sha256() -> io::Result<String> {
    Ok(hex_sha256(&std::fs::read(std::env::current_exe()?)?))
}
