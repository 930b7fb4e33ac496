//! What one trial leaves to the next: the machine's floor, and who ends targets when the harness is killed.

use std::io;
use std::process::Command;
use std::sync::Arc;

use ledger::Phase;

use super::run::{CellEngine, Sweep, SweepError};
use crate::clock::wall_clock;
use crate::probe::{Gpu, LiveMemory};
use crate::record::{Journal, Outcome, RunFolder, TrialEvent, TrialFile, TrialPaths, TrialRecord};
use crate::scenario::Cell;
use crate::target::{Guardian, Target};
use crate::trial::{RunFloor, TrialPlan, run_trial};

/// Where trials run.
pub(super) struct Bench {
    gpu: Arc<Gpu>,
    floor: RunFloor,
    guardian: Option<Guardian>,
}

impl Bench {
    /// Before the first trial. `guardian` starts the process that outlives this one, see [`Guardian`].
    pub(super) fn new(guardian: Option<Command>, gpu: Arc<Gpu>) -> Bench {
        let guardian = guardian.and_then(|command| Guardian::start(command).ok());
        Bench { gpu, floor: RunFloor::default(), guardian }
    }

    /// Runs one trial of a cell on `target` and writes it into `run`. Without an engine, that is the whole record.
    pub(super) fn trial(
        &mut self,
        sweep: &Sweep<'_>,
        run: &mut RunFolder,
        (cell, trial): (&Cell, u32),
        engine: &Result<CellEngine, String>,
        target: &dyn Target,
    ) -> Result<Outcome, SweepError> {
        let folder = run.path().to_owned();
        let unwritable = |source| SweepError::Folder { folder: folder.clone(), source };
        let paths = run.begin_trial(TrialFile::new(&cell.id, trial)).map_err(unwritable)?;
        let record = match engine {
            Ok(CellEngine { engine, reference }) => {
                let plan = TrialPlan {
                    scenario: sweep.scenario,
                    cell,
                    trial,
                    engine,
                    reference: reference.as_ref(),
                    target,
                    paths: &paths,
                    machine: sweep.machine,
                    gpu: &self.gpu,
                    interrupt: sweep.interrupt,
                };
                let entered = &mut |phase, live: &LiveMemory| sweep.observer.phase_begins(phase, live);
                run_trial(plan, &mut self.floor, self.guardian.as_mut(), entered)?
            }
            Err(why) => no_engine(&paths, cell, trial, why).map_err(unwritable)?,
        };
        run.end_trial(&paths, &record).map_err(unwritable)?;
        sweep.observer.trial_ends(&record, false);
        Ok(record.outcome)
    }
}

/// A trial that could not begin, because there is no engine for it.
fn no_engine(paths: &TrialPaths, cell: &Cell, trial: u32, why: &str) -> io::Result<TrialRecord> {
    let mut journal = Journal::create(&paths.journal, cell.record(), trial, wall_clock())?;
    let outcome = Outcome::Failed { phase: Phase::Load, message: format!("there is no engine: {why}") };
    journal.append(TrialEvent::Ended { outcome, log_tail: Vec::new() })?;
    Ok(journal.record().clone())
}
