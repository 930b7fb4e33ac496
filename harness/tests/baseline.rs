//! Runs held against a baseline: what grew is named, what scatters is not called growth, and conditions are never mixed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use harness::baseline::{Baseline, LockState, status, unfit};
use harness::record::{
    Allowance, EnvironmentRecord, Gate, GateMetric, PairRecord, PairSide, Reading, RecordedTrial, Run,
};
use harness::scenario::Condition;
use harness::verdict::relative::{Metric, compare_runs, comparison_table};
use harness::verdict::{Comparison, ExitCode, RunVerdict, Word, judge, table};
use ledger::{BufferClass, Bytes, LedgerEntry, Lifetime, MemoryKind, Millis, Phase, PlannedBuffer, Role};
use sample_run::{Fate, Model, for_each_trial, run_of};

const CELLS: [(Model, u32, Fate); 2] =
    [(Model::Qwen3, 1024, Fate::Completes), (Model::Qwen35, 4096, Fate::Completes)];

/// A run of two cells that is within its budgets, or has none.
fn within(budgets: bool) -> Run {
    let mut run = run_of(&CELLS);
    if !budgets {
        run.record.budgets.clear();
    }
    run.record.exit_code = Some(0);
    run
}

fn baseline_of(run: &Run) -> Baseline {
    let mut baseline = Baseline::new("orin".to_owned());
    assert_eq!(baseline.take_up(run), run.record.cells.len());
    baseline
}

fn against(mut run: Run, baseline: Baseline) -> RunVerdict {
    run.baseline = Some(baseline);
    judge(&run)
}

fn comparison<'a>(verdict: &'a RunVerdict, label: &str) -> &'a Comparison {
    let cell = verdict.cells.iter().find(|cell| cell.label == label).unwrap();
    cell.comparison.as_ref().unwrap()
}

/// A buffer of `bytes` in `rollback`, planned, allocated and held, in every trial of the hybrid cell.
fn plant(run: &mut Run, bytes: Bytes) {
    for_each_trial(run, |trial| {
        if trial.record.cell.model == Model::Qwen35.name() {
            plant_in(trial, bytes);
        }
    });
}

fn plant_in(trial: &mut RecordedTrial, bytes: Bytes) {
    let plan = trial.record.plan.as_mut().unwrap();
    let buffer = PlannedBuffer {
        role: Role::Target,
        class: BufferClass::Rollback,
        layer: None,
        name: "updates".to_owned(),
        bytes,
        lifetime: Lifetime::Resident,
        growth: None,
        ..plan.buffers.last().unwrap().clone()
    };
    let Reading::Measured(ledger) = &mut trial.record.ledger else { unreachable!() };
    ledger.entries.push(LedgerEntry {
        key: buffer.key(),
        role: Role::Target,
        class: BufferClass::Rollback,
        layer: None,
        memory: MemoryKind::Host,
        now: Bytes::ZERO,
        peak: bytes,
        reserved: bytes,
    });
    plan.buffers.push(buffer);
    for phase in trial.record.phases.iter_mut().filter(|phase| phase.phase != Phase::Idle) {
        if let Reading::Measured(peak) = &mut phase.peak_resident_bytes {
            *peak += bytes;
        }
        if let Reading::Measured(resident) = &mut phase.end.resident {
            resident.anonymous_bytes += bytes;
        }
        if let Reading::Measured(classes) = &mut phase.end.by_class_bytes {
            classes.insert(BufferClass::Rollback, bytes);
        }
    }
}

#[test]
fn the_same_run_again_is_a_pass_even_without_a_budget() {
    let verdict = against(within(false), baseline_of(&within(false)));
    assert_eq!((verdict.word, verdict.exit_code), (Word::Pass, ExitCode::Pass), "{}", table(&verdict));
    assert!(verdict.compared.contains("2 of 2 cells, held against the baseline of orin"));
    let found = comparison(&verdict, "qwen3-4b, maxInputLen 1024");
    assert!(found.buffers.is_empty() && found.declared.is_some());
    let note = "memory that was measured: 2 trials against 2: what scatters is judged from 5 on";
    assert_eq!(found.notes, [note], "what two trials cannot tell is said");
}

#[test]
fn a_planted_buffer_is_named_with_a_budget_and_without() {
    let mut planted = within(false);
    plant(&mut planted, Bytes::mib(64));
    let verdict = against(planted.clone(), baseline_of(&within(false)));
    assert_eq!((verdict.word, verdict.exit_code), (Word::Regression, ExitCode::Regression));
    let shown = table(&verdict);
    assert!(shown.contains("FAIL (regression)"), "{shown}");
    assert!(shown.contains("target/rollback/updates is new and takes 64.0 MiB"), "{shown}");
    assert!(shown.contains("exit code 3 (regression)"), "{shown}");
    let found = comparison(&verdict, "qwen3.5-4b, maxInputLen 4096");
    assert_eq!(found.buffers.len(), 1);
    assert_eq!(found.buffers[0].class, BufferClass::Rollback);
    assert_eq!(found.buffers[0].growth_bytes(), 64 << 20);
    assert_eq!(verdict.cells[1].word, Word::Pass, "the other cell did not change");

    planted.record.budgets = within(true).record.budgets;
    let budget = planted.record.budgets.iter_mut().find(|budget| budget.id == "qwen3.5-on-the-edge").unwrap();
    let before = within(true).trials.iter().filter_map(|trial| trial.record.peak_resident()).max().unwrap();
    budget.fail = Some(harness::record::BudgetLimit::Bytes(before + Bytes::mib(8)));
    budget.warn = None;
    let verdict = against(planted, baseline_of(&within(false)));
    assert_eq!(verdict.exit_code, ExitCode::BudgetFailed, "a budget comes first");
    assert!(table(&verdict).contains("target/rollback/updates"), "the baseline still names the buffer");
}

#[test]
fn growth_of_planned_bytes_is_found_to_the_byte_and_in_every_buffer() {
    let before = baseline_of(&within(false));
    for bytes in [Bytes(1), Bytes::mib(8)] {
        let buffers = within(false).trials[0].record.plan.as_ref().unwrap().buffers.len();
        for at in (0..buffers).step_by(7) {
            let mut run = within(false);
            let mut key = String::new();
            for_each_trial(&mut run, |trial| {
                if trial.record.cell.model == Model::Qwen3.name() {
                    let buffer = &mut trial.record.plan.as_mut().unwrap().buffers[at];
                    buffer.bytes += bytes;
                    key = buffer.key();
                }
            });
            let verdict = against(run, before.clone());
            assert_eq!(verdict.exit_code, ExitCode::Regression, "{bytes} in {key}");
            let found = comparison(&verdict, "qwen3-4b, maxInputLen 1024");
            assert_eq!(found.buffers[0].buffer, key);
            assert_eq!(found.buffers[0].growth_bytes(), bytes.0 as i64);
        }
    }
}

#[test]
fn less_than_planned_is_an_improvement_past_a_page() {
    let mut tighter = within(false);
    plant(&mut tighter, Bytes::mib(64));
    let before = baseline_of(&tighter);
    let verdict = against(within(false), before);
    assert_eq!((verdict.word, verdict.exit_code), (Word::Improved, ExitCode::Pass));
    assert!(table(&verdict).contains("target/rollback/updates is gone and took 64.0 MiB"));
}

#[test]
fn other_conditions_are_never_compared() {
    let facts = |mode: &str| {
        let facts = [("power_mode".to_owned(), Reading::Measured(mode.to_owned()))];
        Some(EnvironmentRecord::new(facts.into()))
    };
    let mut slow = within(false);
    for_each_trial(&mut slow, |trial| trial.record.environment = facts("15W"));
    let mut fast = within(false);
    for_each_trial(&mut fast, |trial| trial.record.environment = facts("MAXN"));
    plant(&mut fast, Bytes::mib(64));
    let verdict = against(fast, baseline_of(&slow));
    assert_eq!((verdict.word, verdict.exit_code), (Word::Incomparable, ExitCode::Incomparable));
    let found = comparison(&verdict, "qwen3-4b, maxInputLen 1024");
    assert_eq!(found.differences, ["machine.power_mode was 15W and is MAXN"]);
    assert!(found.buffers.is_empty() && found.shifts.is_empty());

    // Another prompt is another measurement, too.
    let mut longer = within(false);
    for_each_trial(&mut longer, |trial| {
        trial.record.requests.iter_mut().for_each(|request| request.prompt_tokens.0 += 1);
    });
    let verdict = against(longer, baseline_of(&within(false)));
    assert_eq!(verdict.exit_code, ExitCode::Incomparable);
    assert!(comparison(&verdict, "qwen3-4b, maxInputLen 1024").differences[0].starts_with("phases was "));
}

#[test]
fn a_cell_that_the_baseline_does_not_have_decides_nothing() {
    let mut before = baseline_of(&within(false));
    before.scenarios.get_mut("quick").unwrap().retain(|key, _| key.starts_with("qwen3-4b"));
    let verdict = against(within(false), before.clone());
    let found = comparison(&verdict, "qwen3.5-4b, maxInputLen 4096");
    assert_eq!(found.word, None);
    assert_eq!(found.notes, ["the baseline does not have this cell"]);
    let word = |label: &str| verdict.cells.iter().find(|cell| cell.label == label).unwrap().word;
    assert_eq!(word("qwen3.5-4b, maxInputLen 4096"), Word::NoBudget);
    assert_eq!(word("qwen3-4b, maxInputLen 1024"), Word::Pass);
    let states: Vec<LockState> =
        status(&before, &within(false)).into_iter().map(|status| status.state).collect();
    assert_eq!(states, [LockState::Locked, LockState::Missing]);
}

#[test]
fn status_tells_stale_and_other_conditions_and_gone_apart() {
    let before = baseline_of(&within(false));
    let mut run = within(false);
    plant(&mut run, Bytes::mib(8));
    for_each_trial(&mut run, |trial| {
        if trial.record.cell.model == Model::Qwen3.name() {
            trial.record.requests[0].prompt_tokens.0 += 1;
        }
    });
    let states: Vec<LockState> = status(&before, &run).into_iter().map(|status| status.state).collect();
    assert!(matches!(states[0], LockState::OtherFingerprint { .. }), "{states:?}");
    assert_eq!(states[1], LockState::Stale { buffers: 1 });
    let mut fewer = within(false);
    fewer.record.cells.truncate(1);
    assert_eq!(status(&before, &fewer)[1].state, LockState::Gone);
    fewer.record.chosen = true;
    assert_eq!(status(&before, &fewer).len(), 1, "what was not asked for is not gone");
}

#[test]
fn a_run_that_failed_or_did_not_end_is_unfit() {
    let good = within(true);
    assert_eq!(unfit(&good, &judge(&good)), None);
    let mut stopped = within(true);
    stopped.record.exit_code = Some(130);
    assert!(unfit(&stopped, &judge(&stopped)).unwrap().0[0].contains("did not come to its end"));
    let mut failed = run_of(&[(Model::Qwen3, 1024, Fate::RunsOutOfMemory)]);
    failed.record.exit_code = Some(5);
    assert!(unfit(&failed, &judge(&failed)).unwrap().0[0].contains("OOM"));
}

#[test]
fn the_file_is_the_same_for_the_same_run_and_shows_one_buffer_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("boards").join("orin.json");
    let before = baseline_of(&within(false));
    before.write(&path).unwrap();
    assert_eq!(Baseline::read(&path).unwrap(), before);
    let mut other_order = within(false);
    other_order.record.cells.reverse();
    assert_eq!(baseline_of(&other_order).text().unwrap(), before.text().unwrap());

    let mut planted = within(false);
    plant(&mut planted, Bytes::mib(64));
    let lines = |baseline: &Baseline| -> Vec<String> {
        String::from_utf8(baseline.text().unwrap()).unwrap().lines().map(str::to_owned).collect()
    };
    let (was, is) = (lines(&before), lines(&baseline_of(&planted)));
    let new: Vec<&String> = is.iter().filter(|line| !was.contains(line)).collect();
    assert!(new.iter().any(|line| line.trim() == "\"target/rollback/updates\": 67108864,"), "{new:#?}");
    assert!(new.len() < 20, "only what changed differs: {new:#?}");

    std::fs::write(&path, "{\"format_version\": 99, \"board\": \"x\", \"scenarios\": {}}").unwrap();
    assert!(Baseline::read(&path).unwrap_err().to_string().contains("use a newer sweep"));
}

/// A run of one cell with `count` trials, whose peaks and times are what `change` makes of them.
fn trials(count: u32, change: impl Fn(u32, &mut RecordedTrial)) -> Run {
    let mut run = run_of(&[(Model::Qwen35, 4096, Fate::Completes)]);
    run.record.budgets.clear();
    run.record.trials_per_cell = count;
    let first = run.trials[0].clone();
    run.trials = (0..count)
        .map(|number| {
            let mut trial = first.clone();
            trial.record.trial = number;
            change(number, &mut trial);
            trial
        })
        .collect();
    run
}

fn move_peaks(trial: &mut RecordedTrial, bytes: i64) {
    for phase in &mut trial.record.phases {
        if let Reading::Measured(peak) = &mut phase.peak_resident_bytes {
            *peak = Bytes(peak.0.saturating_add_signed(bytes));
        }
    }
}

fn shift_of(comparison: &Comparison, metric: Metric) -> &harness::verdict::Shift {
    comparison.shifts.iter().find(|shift| shift.metric == metric).unwrap()
}

#[test]
fn resident_memory_is_judged_by_its_scatter() {
    let noise = |number: u32| i64::from(number * 7 % 5) * (2 << 20);
    let before = trials(6, |number, trial| move_peaks(trial, noise(number)));
    let same = trials(6, |number, trial| move_peaks(trial, noise(number + 3)));
    let more = trials(6, |number, trial| move_peaks(trial, noise(number) + (200 << 20)));
    let decode = Metric::PeakResident(Phase::Decode);

    let found = compare_runs(&before, &same);
    assert_eq!((found.word, found.exit_code), (Word::Pass, ExitCode::Pass));
    let found = compare_runs(&before, &more);
    assert_eq!((found.word, found.exit_code), (Word::Regression, ExitCode::Regression));
    let shift = shift_of(&found.cells[0].comparison, decode);
    assert_eq!(shift.shift, f64::from(200 << 20), "the estimate is exact where the scatter is the same");
    assert!(shift.adjusted_p.unwrap() <= 0.05);
    let found = compare_runs(&more, &before);
    assert_eq!((found.word, found.exit_code), (Word::Improved, ExitCode::Pass));

    let few = |run: &Run| {
        let mut run = run.clone();
        run.trials.truncate(1);
        run
    };
    let found = compare_runs(&few(&before), &few(&more));
    assert_eq!(found.word, Word::Pass, "one trial cannot tell, and planned bytes are the same");
    assert_eq!(shift_of(&found.cells[0].comparison, decode).word, None);
    assert!(found.cells[0].comparison.notes[0].contains("judged from 5 on"));
}

#[test]
fn times_are_judged_from_pairs_alone() {
    let slower = |factor: f64| {
        move |number: u32, trial: &mut RecordedTrial| {
            // What drifts moves both of a pair.
            let drift = 1.0 + 0.01 * f64::from(number);
            let own = 1.0 + 0.002 * f64::from(number * 5 % 3);
            for request in &mut trial.record.requests {
                if let Reading::Measured(Millis(time)) = &mut request.time_per_output_token_ms {
                    *time *= drift * own * factor;
                }
            }
        }
    };
    let pair = |mut run: Run, side| {
        let id = "20260131T235959.123Z".to_owned();
        run.record.pair = Some(PairRecord { id, side, build_sha256: String::new() });
        run
    };
    let (before, after) = (trials(10, slower(1.0)), trials(10, slower(1.05)));
    let unpaired = compare_runs(&before, &after);
    assert_eq!(unpaired.word, Word::Pass);
    assert_eq!(shift_of(&unpaired.cells[0].comparison, Metric::TimePerOutputToken).word, None);

    let paired = compare_runs(&pair(before.clone(), PairSide::A), &pair(after.clone(), PairSide::B));
    assert_eq!((paired.word, paired.exit_code), (Word::Regression, ExitCode::Regression));
    let shift = shift_of(&paired.cells[0].comparison, Metric::TimePerOutputToken);
    assert!((shift.shift - 0.05).abs() < 1e-9, "{shift:?}");
    let shown = comparison_table(&paired);
    assert!(shown.contains("time per output token") && shown.contains("+5.0 %"), "{shown}");

    let nine = |run: &Run| {
        let mut run = run.clone();
        run.trials.truncate(9);
        run
    };
    let few = compare_runs(&pair(nine(&before), PairSide::A), &pair(nine(&after), PairSide::B));
    assert_eq!(shift_of(&few.cells[0].comparison, Metric::TimePerOutputToken).word, None);
}

#[test]
fn nothing_in_common_is_no_pass() {
    let one = trials(5, |_, _| {});
    let mut other = within(false);
    other.record.cells.truncate(1);
    let found = compare_runs(&one, &other);
    assert_eq!((found.word, found.exit_code), (Word::Incomparable, ExitCode::Incomparable));
    assert_eq!(found.gone, ["qwen3.5-4b maxInputLen=4096"]);
}

#[test]
fn a_gate_stands_in_for_the_threshold_of_its_metric() {
    let gate = |metric, allow| Gate {
        id: "agreed".to_owned(),
        when: Condition::equal([("model".to_owned(), Model::Qwen35.name().to_owned())]),
        metric,
        allow,
        why: "a feature that takes it".to_owned(),
    };
    let mut planted = within(false);
    plant(&mut planted, Bytes::mib(64));
    let judged = |gates: Vec<Gate>| {
        let mut run = planted.clone();
        run.record.gates = gates;
        against(run, baseline_of(&within(false)))
    };
    let planned = |mib| gate(GateMetric::Planned(BufferClass::Rollback), Allowance::Bytes(Bytes::mib(mib)));
    let allowed = judged(vec![planned(64)]);
    assert_eq!((allowed.word, allowed.exit_code), (Word::Pass, ExitCode::Pass), "{}", table(&allowed));
    assert!(table(&allowed).contains("allowed by agreed"));
    assert_eq!(judged(vec![planned(63)]).exit_code, ExitCode::Regression);

    let held = |mib| gate(GateMetric::Class(BufferClass::Rollback), Allowance::Bytes(Bytes::mib(mib)));
    let found = judged(vec![planned(64), held(63)]);
    assert_eq!(found.exit_code, ExitCode::Regression);
    assert!(table(&found).contains("rollback at its most"), "{}", table(&found));
    assert_eq!(judged(vec![planned(64), held(64)]).exit_code, ExitCode::Pass);

    let before = trials(6, |_, _| {});
    let mut after = trials(6, |_, trial| move_peaks(trial, 200 << 20));
    assert_eq!(compare_runs(&before, &after).exit_code, ExitCode::Regression);
    after.record.gates = vec![gate(GateMetric::Peak, Allowance::Share(0.5))];
    assert_eq!(compare_runs(&before, &after).exit_code, ExitCode::Pass);
}
