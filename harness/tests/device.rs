//! Device memory in verdicts: what counts, who counts it, and that unified memory counts once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use harness::record::{BudgetSubject, Reading, Run};
use harness::report::csv;
use harness::verdict::{CellVerdict, Word, device, judge, table};
use ledger::{BufferClass, Bytes, CountedBy, MemoryKind, Phase};
use sample_run::device::{Board, CONTEXT, PROGRAM, STRAY, run_on};
use sample_run::for_each_trial;

fn cell<'a>(cells: &'a [CellVerdict], label: &str) -> &'a CellVerdict {
    cells.iter().find(|cell| cell.label.contains(label)).unwrap()
}

fn word_of(run: &Run, label: &str, budget: &str) -> (Word, String) {
    let verdict = judge(run);
    let result = cell(&verdict.cells, label).budgets.iter().find(|result| result.id == budget).unwrap();
    (result.word, result.reason.clone().unwrap_or_default())
}

#[test]
fn a_card_is_counted_by_process_and_adds_up() {
    let run = run_on(Board::Card);
    for trial in &run.trials {
        for phase in trial.record.phases.iter().filter(|phase| phase.end.device.is_some()) {
            let edge = device::DeviceEdge::of(phase).unwrap();
            let classes: Bytes = phase.end.device.as_ref().unwrap().by_class_bytes.values().copied().sum();
            assert_eq!(edge.counted_by, CountedBy::Process);
            assert_eq!(edge.used_bytes, classes + STRAY);
            assert_eq!(edge.unaccounted_bytes, Reading::Measured(STRAY.0 as i64));
            let host: Bytes = phase.end.host_classes().measured().unwrap().values().copied().sum();
            let resident = phase.end.resident.measured().unwrap().total();
            let unaccounted = *phase.end.unaccounted_bytes.measured().unwrap();
            assert_eq!(resident.signed_difference(host), unaccounted, "{}", phase.phase);
        }
    }
}

#[test]
fn the_peak_of_a_card_is_the_most_that_anyone_saw() {
    let mut run = run_on(Board::Card);
    let trial = &mut run.trials[0];
    let (phase, peak) = device::peak(trial).unwrap();
    let Reading::Measured(series) = &mut trial.device_series else { unreachable!() };
    let prefill = trial.record.phases.iter().find(|phase| phase.phase == Phase::Prefill).unwrap();
    let inside = series.samples.iter_mut().find(|sample| sample.at > prefill.started_us).unwrap();
    inside.used = Some(peak + Bytes::mib(100));
    assert_eq!(device::peak(trial), Some((Phase::Prefill, peak + Bytes::mib(100))));
    // Without a series the ledger's own peak and the context are a lower bound.
    trial.device_series = Reading::Unavailable("no GPU was read over time".to_owned());
    let ledger = trial.record.ledger.measured().unwrap();
    let held = ledger.at_peak_in(MemoryKind::Device, phase).unwrap().total;
    assert!(device::peak(trial).unwrap().1 >= held + CONTEXT);
}

#[test]
fn a_device_peak_that_nobody_watched_at_an_edge_is_a_lower_bound() {
    let mut run = run_on(Board::Card);
    let trial = &mut run.trials[0];
    let decode = trial.record.phases.iter().find(|phase| phase.phase == Phase::Decode).unwrap().clone();
    let Reading::Measured(series) = &mut trial.device_series else { unreachable!() };
    series.samples.retain(|sample| sample.at.0.abs_diff(decode.ended_us.0) > 60_000);
    assert_eq!(device::lower_bound(trial, &decode), None, "the target's ledger knows it");
    trial.record.ledger = Reading::Unavailable("it does not say".to_owned());
    let why = device::lower_bound(trial, &decode).unwrap();
    assert!(why.contains("within 50 ms of an edge"), "{why}");
    let prefill = trial.record.phases.iter().find(|phase| phase.phase == Phase::Prefill).unwrap();
    assert!(device::peak_in(trial, prefill).measured().is_some());
    let number = trial.record.trial;
    let label = trial.record.cell.axes[0].1.clone();
    let verdict = judge(&run);
    let said = format!("trial {number}: the device peak of decode is a lower bound: {why}");
    assert!(cell(&verdict.cells, &label).doubts.contains(&said), "{:?}", verdict.cells[0].doubts);
}

#[test]
fn each_memory_has_its_own_mark_of_a_lower_bound() {
    let shown = |run: &Run| {
        let verdict = judge(run);
        let lines = table(&verdict);
        let line = lines.lines().find(|line| line.contains("1024")).unwrap().to_owned();
        (cell(&verdict.cells, "1024").peak_lower_bounds.clone(), line)
    };
    let mut run = run_on(Board::Card);
    let (bounds, line) = shown(&run);
    assert!(!bounds.in_host() && !bounds.on_device() && !line.contains('≥'), "{line}");
    for_each_trial(&mut run, |trial| {
        trial.record.ledger = Reading::Unavailable("it does not say".to_owned());
    });
    for trial in &mut run.trials {
        trial.device_series = Reading::Unavailable("no GPU was read over time".to_owned());
    }
    let (bounds, line) = shown(&run);
    assert!(!bounds.in_host() && bounds.on_device());
    assert_eq!(line.matches('≥').count(), 1, "of the device alone: {line}");
    let table = String::from_utf8(csv::cells(&judge(&run)).unwrap()).unwrap();
    assert!(table.lines().skip(1).all(|line| line.contains(",false,false,true,cortex-a78ae,")), "{table}");
}

#[test]
fn budgets_on_a_card_hold_each_memory_by_itself() {
    let run = run_on(Board::Card);
    assert_eq!(word_of(&run, "8192", "program").0, Word::Pass);
    let (word, reason) = word_of(&run, "8192", "card");
    assert_eq!(word, Word::Fail);
    assert!(reason.contains("weights.linear holds"), "{reason}");
    assert_eq!(word_of(&run, "1024", "card").0, Word::Pass);
}

#[test]
fn unified_memory_counts_once_and_says_that_the_ledger_alone_counts() {
    let run = run_on(Board::Unified);
    let verdict = judge(&run);
    let cell = cell(&verdict.cells, "1024");
    let device = cell.device.as_ref().unwrap();
    assert!(device.is_unified());
    let trial = run.trials_of(&cell.cell).find(|trial| Some(trial.record.trial) == cell.worst_trial).unwrap();
    let held = *device.held_peak_bytes.measured().unwrap();
    let device_peak = *device.peak_bytes.measured().unwrap();
    let resident = trial.record.peak_resident().unwrap();
    assert!(held <= resident + device_peak && held > device_peak + PROGRAM, "{held}");
    assert_eq!(word_of(&run, "8192", "board").0, Word::Fail);
    assert_eq!(word_of(&run, "1024", "board").0, Word::Pass);
    assert!(cell.doubts.iter().any(|doubt| doubt.contains("by the target's ledger stand in")));
    assert!(
        cell.edges
            .iter()
            .flat_map(|edge| &edge.device)
            .all(|edge| edge.unaccounted_bytes.measured().is_none())
    );
}

#[test]
fn what_nobody_counts_is_no_pass() {
    let mut run = run_on(Board::Card);
    for_each_trial(&mut run, |trial| {
        trial.device_series = Reading::Unavailable("no GPU was read over time".to_owned());
        trial.record.ledger = Reading::Unavailable("404".to_owned());
        for phase in &mut trial.record.phases {
            phase.end.device = None;
            phase.end.gpu_bytes = Reading::Unavailable("no library".to_owned());
        }
    });
    run.record.budgets[0].subject = BudgetSubject::HostAndDevice;
    let (word, reason) = word_of(&run, "1024", "program");
    assert_eq!(word, Word::Inconclusive);
    assert!(reason.contains("nothing tells whether it holds device memory: no library"), "{reason}");
    assert_eq!(word_of(&run, "1024", "card").0, Word::Inconclusive);
}

#[test]
fn a_target_that_says_nothing_is_counted_by_the_driver() {
    let mut run = run_on(Board::Card);
    for_each_trial(&mut run, |trial| {
        trial.record.ledger = Reading::Unavailable("404".to_owned());
        for phase in &mut trial.record.phases {
            phase.end.device = None;
            phase.end.by_class_bytes = Reading::Unavailable("404".to_owned());
        }
    });
    let verdict = judge(&run);
    let cell = cell(&verdict.cells, "8192");
    assert_eq!(cell.device.as_ref().unwrap().report, None);
    assert_eq!(word_of(&run, "8192", "card").0, Word::Fail);
}

#[test]
fn two_counts_of_one_process_that_differ_are_a_doubt() {
    let mut run = run_on(Board::Card);
    for_each_trial(&mut run, |trial| {
        let edge = &mut trial.record.phases[2].end;
        edge.gpu_bytes = edge.gpu_bytes.clone().map(|bytes| bytes + Bytes::mib(64));
    });
    let verdict = judge(&run);
    let doubts = &cell(&verdict.cells, "1024").doubts;
    assert!(doubts.iter().any(|doubt| doubt.contains("asked from without")), "{doubts:?}");
}

#[test]
fn classes_and_their_share_are_of_host_and_device() {
    let mut run = run_on(Board::Card);
    run.record.budgets[0].subject = BudgetSubject::Class(BufferClass::DeviceContext);
    let (word, reason) = word_of(&run, "1024", "program");
    assert_eq!(word, Word::Fail);
    assert!(reason.contains("device_context holds 418.0 MiB"), "{reason}");
    let share = *cell(&judge(&run).cells, "1024").worst_unaccounted_share.measured().unwrap();
    assert!(share > 0.0 && share < 0.01, "{share}");
}

#[test]
fn the_table_of_cells_on_a_card() {
    insta::assert_snapshot!(String::from_utf8(csv::cells(&judge(&run_on(Board::Card))).unwrap()).unwrap());
}

#[test]
fn the_terminal_table_on_a_card() {
    insta::assert_snapshot!(table(&judge(&run_on(Board::Card))));
}
