//! The report over a run on disk.

mod sample_run;

use std::fs;
use std::path::Path;

use harness::record::{Reading, Run};
use harness::report;
use sample_run::{run, run_of, six_cells, write};

fn written(run: &Run, folder: &Path) -> String {
    write(run, folder);
    let outputs = report::write(folder).unwrap();
    fs::read_to_string(outputs.html).unwrap()
}

#[test]
fn a_run_reads_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = run();
    write(&run, folder.path());
    let read = Run::load(folder.path()).unwrap();
    assert_eq!(read.record, run.record);
    assert_eq!(read.unreadable, []);
    assert_eq!(read.trials.len(), run.trials.len());
    for (read, written) in read.trials.iter().zip(&run.trials) {
        // `assert!`, for the two sides are too long to print.
        assert!(read.series == written.series);
        assert!(read.record.phases == written.record.phases && read.record.plan == written.record.plan);
        assert!(read.record.ledger == written.record.ledger && read.record.outcome == written.record.outcome);
    }
}

/// Writes the sample run where `SWEEP_SAMPLE_REPORT` says, for eyes.
#[test]
fn peek() {
    let Ok(folder) = std::env::var("SWEEP_SAMPLE_REPORT") else { return };
    written(&run(), Path::new(&folder));
}
