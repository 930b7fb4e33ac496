//! Two builds side by side: for each cell, pairs of trials in the order A B B A A B …, so that what drifts meanwhile moves
//! both builds alike.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bench::Bench;
use super::run::{Part, Sweep, SweepEnd, SweepError, checked_cells, head, program_sha256};
use crate::engines::EngineErrorKind;
use crate::probe::Gpu;
use crate::record::{Outcome, PairRecord, PairSide, RunFolder, RunRecord};
use crate::scenario::{Cell, hex_sha256};
use crate::target::{NamedTargets, Target};

/// One of the two builds.
pub struct Build {
    /// What runs its targets, by their names in the scenario.
    pub targets: NamedTargets,
    /// SHA-256 of its program file.
    pub sha256: String,
}

impl Build {
    /// The build in the file `program`, whose targets are `targets`.
    pub fn new(program: &Path, targets: NamedTargets) -> io::Result<Build> {
        Ok(Build { sha256: hex_sha256(&std::fs::read(program)?), targets })
    }

    fn target_of(&self, cell: &Cell) -> Option<&dyn Target> {
        self.targets.iter().find(|(name, _)| *name == cell.target).map(|(_, target)| target.as_ref())
    }
}

/// What is to be run.
pub struct PairedSweep<'a> {
    /// The scenario, and everything that is the same for both; its targets are those of `builds[0]`.
    pub sweep: Sweep<'a>,
    /// A, which B is held against, and B.
    pub builds: [&'a Build; 2],
    /// Pairs of each cell.
    pub pairs: u32,
}

/// Two runs that have gone through their cells, or were stopped.
#[derive(Debug)]
pub struct PairedEnd {
    /// A and B.
    pub runs: [SweepEnd; 2],
}

/// Runs the scenario with both builds, each into a run folder of its own. The scenario's own number of trials does not matter.
pub fn run_paired(mut paired: PairedSweep<'_>) -> Result<PairedEnd, SweepError> {
    let Part { cells, excluded, .. } = checked_cells(&paired.sweep)?;
    let guardian = paired.sweep.guardian.take();
    let sweep = &paired.sweep;
    let program = program_sha256().map_err(SweepError::Program)?;
    let gpu = Arc::new(Gpu::probe());
    let unmade = |source| SweepError::Folder { folder: sweep.runs.to_owned(), source };
    let folders =
        [RunFolder::make(sweep.runs).map_err(unmade)?, RunFolder::make(sweep.runs).map_err(unmade)?];
    let id = folders[0].file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let begin = |at: usize, side: PairSide| {
        let record = RunRecord {
            trials_per_cell: paired.pairs,
            pair: Some(PairRecord { id: id.clone(), side, build_sha256: paired.builds[at].sha256.clone() }),
            ..head(sweep, &cells, excluded.clone(), program.clone(), &gpu)?
        };
        RunFolder::begin(folders[at].clone(), record).map_err(unwritable(&folders[at]))
    };
    let mut runs = [begin(0, PairSide::A)?, begin(1, PairSide::B)?];
    sweep.observer.run_begins(&folders[1], cells.len(), paired.pairs.saturating_mul(2), None);

    let mut bench = Bench::new(guardian, gpu);
    for (at, cell) in cells.iter().enumerate() {
        sweep.observer.cell_begins(cell, at + 1, cells.len());
        let engine = match sweep.engine_of(cell) {
            Ok(engine) => Ok(engine),
            Err(error) if error.kind == EngineErrorKind::Interrupted => return Ok(ended(runs, true)),
            Err(error) => Err(error.to_string()),
        };
        for pair in 0..paired.pairs {
            let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                if sweep.interrupt.is_asked() {
                    return Ok(ended(runs, true));
                }
                let Some(target) = paired.builds[side].target_of(cell) else { continue };
                let outcome = bench.trial(sweep, &mut runs[side], (cell, pair), &engine, target)?;
                if outcome == Outcome::Interrupted {
                    return Ok(ended(runs, true));
                }
            }
        }
    }
    Ok(ended(runs, false))
}

fn ended([a, b]: [RunFolder; 2], interrupted: bool) -> PairedEnd {
    PairedEnd { runs: [a, b].map(|folder| SweepEnd { folder, interrupted }) }
}

fn unwritable(folder: &Path) -> impl Fn(io::Error) -> SweepError + use<> {
    let folder: PathBuf = folder.to_owned();
    move |source| SweepError::Folder { folder: folder.clone(), source }
}
