//! One trial, without a sweep around it.

use std::sync::Arc;

use harness::engines::Engine;
use harness::interrupt::Interrupt;
use harness::probe::{Gpu, SystemRoot};
use harness::record::{TrialFile, TrialPaths, TrialRecord};
use harness::scenario::Scenario;
use harness::target::Target;
use harness::trial::{RunFloor, TrialPlan, run_trial};
use ledger::Phase;

/// A trial that has ended. Its files go with this value.
pub struct FirstTrial {
    pub record: TrialRecord,
    pub paths: TrialPaths,
    _folder: tempfile::TempDir,
}

/// The engine of a target that reads none.
pub fn no_engine() -> Engine {
    Engine { folder: "nowhere".into(), vocab_size: 1000, kept: None }
}

/// Runs the scenario's first cell on `target`, on a machine whose own files are at `machine`.
pub fn first_trial(
    scenario: &Scenario,
    target: &dyn Target,
    engine: &Engine,
    machine: &SystemRoot,
    entered: &mut dyn FnMut(Phase),
) -> FirstTrial {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in ["trials", "samples", "logs"] {
        std::fs::create_dir(folder.path().join(kind)).expect("writable");
    }
    let cell = &scenario.expand().cells[0];
    let paths = TrialPaths::of(folder.path(), &TrialFile::new(&cell.id, 0));
    let plan = TrialPlan {
        scenario,
        cell,
        trial: 0,
        engine,
        reference: None,
        target,
        paths: &paths,
        machine,
        gpu: &Arc::new(Gpu::Absent("no GPU: this is a test".to_owned())),
        interrupt: &Interrupt::never(),
    };
    let record = run_trial(plan, &mut RunFloor::default(), None, &mut |phase, _| entered(phase))
        .expect("the harness itself works");
    FirstTrial { record, paths, _folder: folder }
}
