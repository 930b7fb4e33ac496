//! Verdicts over records: the worst trial decides, and what was not measured never passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use harness::record::{
    BudgetLimit, BudgetRecord, BudgetSubject, Disturbance, DisturbanceCause, EnvironmentRecord, Outcome,
    Reading, Run, TrialRecord,
};
use harness::verdict::evidence::LowerBounds;
use harness::verdict::{ExitCode, RunVerdict, Word, judge, table};
use ledger::plan::Growth;
use ledger::{BufferClass, Bytes, Lifetime, Phase, PlannedBuffer, Tokens};
use proptest::prelude::*;
use sample_run::{Fate, Model, budget, for_each_trial, run, run_of, set_peak};

fn one_cell() -> Run {
    run_of(&[(Model::Qwen35, 4096, Fate::Completes)])
}

fn with(mut run: Run, budgets: Vec<BudgetRecord>) -> Run {
    run.record.budgets = budgets;
    run
}

fn total(limit: Bytes) -> BudgetRecord {
    budget("total", &[], BudgetSubject::Total, BudgetLimit::Bytes(limit))
}

/// The exact peak of the worst trial.
fn peak(run: &Run) -> Bytes {
    run.trials.iter().filter_map(|trial| trial.record.peak_resident()).max().unwrap()
}

fn word_of(verdict: &RunVerdict, label: &str) -> Word {
    verdict.cells.iter().find(|cell| cell.label == label).unwrap_or_else(|| panic!("no cell {label}")).word
}

#[test]
fn the_sample_run_is_judged_cell_by_cell() {
    let verdict = judge(&run());
    let words: Vec<(Word, &str)> =
        verdict.cells.iter().map(|cell| (cell.word, cell.label.as_str())).collect();
    assert_eq!(
        words,
        [
            (Word::Oom, "qwen3.5-4b, maxInputLen 8192"),
            (Word::Timeout, "qwen3.5-4b, maxInputLen 1024"),
            (Word::Fail, "qwen3-4b, maxInputLen 8192"),
            (Word::Pass, "qwen3-4b, maxInputLen 4096"),
            (Word::Pass, "qwen3.5-4b, maxInputLen 4096"),
            (Word::Pass, "qwen3-4b, maxInputLen 1024"),
        ]
    );
    assert_eq!((verdict.word, verdict.exit_code), (Word::Oom, ExitCode::Incomplete));
    assert!(verdict.cells[3].resumed);
    assert!(
        verdict
            .cells
            .iter()
            .filter(|cell| cell.word == Word::Pass)
            .all(|cell| { cell.plan_mismatch_bytes == Reading::Measured(Bytes::ZERO) })
    );
}

#[test]
fn the_terminal_table() {
    insta::assert_snapshot!(table(&judge(&run())));
}

#[test]
fn a_value_at_its_limit_is_within_it_and_a_byte_more_is_not() {
    let run = one_cell();
    let limit = peak(&run);
    assert_eq!(judge(&with(run.clone(), vec![total(limit)])).word, Word::Pass);
    let over = judge(&with(run, vec![total(Bytes(limit.0 - 1))]));
    assert_eq!((over.word, over.exit_code), (Word::Fail, ExitCode::BudgetFailed));
    let result = &over.cells[0].budgets[0];
    assert_eq!(result.margin_bytes, Some(-1));
    assert!(result.reason.as_deref().unwrap().starts_with("over by 1 B; "));
    assert!(result.responsible.is_some());
}

#[test]
fn the_worst_trial_decides() {
    let mut run = with(one_cell(), vec![]);
    run.record.budgets = vec![total(peak(&run))];
    let worse = peak(&run) + Bytes(4096);
    for number in 0..run.trials.len() {
        let mut run = run.clone();
        set_peak(&mut run.trials[number], Phase::Decode, Reading::Measured(worse));
        let verdict = judge(&run);
        assert_eq!(verdict.word, Word::Fail);
        assert_eq!(verdict.cells[0].budgets[0].trial, Some(number as u32));
    }
}

#[test]
fn a_missing_reading_is_never_a_pass() {
    let generous = vec![total(Bytes::gib(100))];
    let mut run = with(one_cell(), generous);
    assert_eq!(judge(&run).word, Word::Pass);
    set_peak(
        &mut run.trials[1],
        Phase::Prefill,
        Reading::Unavailable("clear_refs is not writable".to_owned()),
    );
    let verdict = judge(&run);
    assert_eq!((verdict.word, verdict.exit_code), (Word::Inconclusive, ExitCode::Inconclusive));
    assert!(verdict.cells[0].reason.as_deref().unwrap().contains("clear_refs is not writable"));

    run.record.budgets = vec![total(Bytes::mib(1))];
    assert_eq!(judge(&run).word, Word::Fail, "what was measured already exceeds the limit");
}

#[test]
fn a_class_that_was_not_attributed_is_inconclusive() {
    let kv = budget("kv", &[], BudgetSubject::Class(BufferClass::KvCache), BudgetLimit::Bytes(Bytes::gib(9)));
    let unknown =
        budget("unknown", &[], BudgetSubject::Class(BufferClass::Unaccounted), BudgetLimit::Share(0.5));
    let mut run = with(one_cell(), vec![kv, unknown]);
    assert_eq!(judge(&run).word, Word::Pass);
    for_each_trial(&mut run, |trial| {
        trial.record.phases[3].end.by_class_bytes =
            Reading::Unavailable("the target has no ledger".to_owned());
        trial.record.phases[3].end.unaccounted_bytes =
            Reading::Unavailable("the target has no ledger".to_owned());
    });
    let words: Vec<Word> = judge(&run).cells[0].budgets.iter().map(|result| result.word).collect();
    assert_eq!(words, [Word::Inconclusive, Word::Inconclusive]);
}

#[test]
fn claimed_but_not_resident_counts_like_resident_but_not_claimed() {
    let unknown =
        budget("unknown", &[], BudgetSubject::Class(BufferClass::Unaccounted), BudgetLimit::Share(0.03));
    let mut run = with(one_cell(), vec![unknown]);
    run.trials[0].record.phases[3].end.unaccounted_bytes = Reading::Measured(-(200 << 20));
    assert_eq!(judge(&run).word, Word::Fail);
}

#[test]
fn missing_trials_are_incomplete() {
    let mut run = with(one_cell(), vec![total(Bytes::gib(100))]);
    run.trials.pop();
    let verdict = judge(&run);
    assert_eq!((verdict.word, verdict.exit_code), (Word::Incomplete, ExitCode::Incomplete));
    assert_eq!(verdict.cells[0].budgets[0].word, Word::Inconclusive);
    run.trials.clear();
    let verdict = judge(&run);
    assert_eq!(verdict.word, Word::Incomplete);
    assert_eq!(verdict.cells[0].peak_resident_bytes.measured(), None);
}

#[test]
fn a_run_without_cells_is_no_pass() {
    let verdict = judge(&run_of(&[]));
    assert_eq!(verdict.exit_code, ExitCode::Inconclusive);
}

#[test]
fn a_budget_that_is_for_no_cell_is_reported_and_no_pass() {
    let stray =
        budget("stray", &[("model", "qwen9")], BudgetSubject::Total, BudgetLimit::Bytes(Bytes::gib(9)));
    let verdict = judge(&with(one_cell(), vec![total(Bytes::gib(100)), stray]));
    assert_eq!((verdict.word, verdict.exit_code), (Word::Inconclusive, ExitCode::Inconclusive));
    assert!(verdict.problems[0].contains("stray") && verdict.headline.contains("1 budget was never judged"));
}

#[test]
fn a_budget_that_makes_no_sense_is_reported_and_no_pass() {
    let nonsense = BudgetRecord { fail: None, ..total(Bytes(1)) };
    let verdict = judge(&with(one_cell(), vec![nonsense]));
    assert_eq!(verdict.exit_code, ExitCode::Inconclusive);
    assert!(verdict.problems[0].contains("has no limit"));
}

#[test]
fn without_budgets_the_run_says_that_nothing_was_compared() {
    let verdict = judge(&with(one_cell(), vec![]));
    assert_eq!((verdict.word, verdict.exit_code), (Word::NoBudget, ExitCode::Pass));
    assert!(verdict.compared.starts_with("No budget was compared"));
}

#[test]
fn outcomes_outrank_budgets() {
    let mut run = with(one_cell(), vec![total(Bytes::mib(1))]);
    for (outcome, word) in [
        (Outcome::Crashed { phase: Phase::Load, signal: Some(11), exit_code: None }, Word::Crash),
        (Outcome::Failed { phase: Phase::Decode, message: "503".to_owned() }, Word::Failed),
        (Outcome::Interrupted, Word::Interrupted),
        (sample_run::outcome(Fate::RunsOutOfMemory), Word::Oom),
        (sample_run::outcome(Fate::Hangs), Word::Timeout),
    ] {
        run.trials[0].record.outcome = outcome;
        let verdict = judge(&run);
        assert_eq!((verdict.word, verdict.exit_code), (word, ExitCode::Incomplete));
        assert_eq!(verdict.cells[0].budgets[0].word, Word::Fail, "the budget is judged all the same");
    }
}

#[test]
fn trials_of_two_environments_are_not_compared_without_a_word() {
    let mut run = with(one_cell(), vec![total(Bytes::gib(100))]);
    let of = |mode: &str| {
        let facts = [("power_mode".to_owned(), Reading::Measured(mode.to_owned()))];
        Some(EnvironmentRecord::new(facts.into()))
    };
    run.trials[0].record.environment = of("15W");
    run.trials[1].record.environment = of("15W");
    assert_eq!(judge(&run).word, Word::Pass);
    run.trials[1].record.environment = of("MAXN");
    let verdict = judge(&run);
    assert_eq!((verdict.word, verdict.exit_code), (Word::Inconclusive, ExitCode::Incomparable));
    assert!(verdict.problems[0].contains("(power_mode: 15W and MAXN)"), "{:?}", verdict.problems);
    assert!(table(&verdict).contains("power_mode: 15W and MAXN"));
}

/// A peak that the sampler alone saw, while its process ended.
fn ends_unwatched(run: &mut Run, peak: Bytes, blind_for: u64) {
    let trial = &mut run.trials[0];
    set_peak(trial, Phase::Unload, Reading::Measured(peak));
    let unload = trial.record.phases.last().unwrap().clone();
    let Reading::Measured(series) = &mut trial.series else { unreachable!() };
    let blind = unload.started_us.0..unload.started_us.0 + blind_for;
    series.samples.retain(|sample| !blind.contains(&sample.at.0));
}

#[test]
fn a_lower_bound_fails_above_a_budget_and_passes_nothing_below_it() {
    let limit = Bytes::gib(100);
    let mut watched = with(one_cell(), vec![total(limit)]);
    ends_unwatched(&mut watched, Bytes::gib(1), 30_000);
    assert_eq!(judge(&watched).word, Word::Pass, "30 ms are no gap");
    assert_eq!(judge(&watched).cells[0].peak_lower_bounds, LowerBounds::default());

    let mut under = with(one_cell(), vec![total(limit)]);
    ends_unwatched(&mut under, Bytes::gib(99), 80_000);
    let verdict = judge(&under);
    assert_eq!((verdict.word, verdict.exit_code), (Word::Inconclusive, ExitCode::Inconclusive));
    let reason = verdict.cells[0].reason.as_deref().unwrap();
    assert!(
        reason.contains("trial 0, unload: the peak is a lower bound: the sampler saw nothing"),
        "{reason}"
    );
    let shown = table(&verdict);
    assert!(shown.contains("≥ 101376.0") && shown.contains("of unload is a lower bound"), "{shown}");
    let csv = String::from_utf8(harness::report::csv::cells(&verdict).unwrap()).unwrap();
    assert!(csv.contains(",0,true,true,,cortex-a78ae,"), "{csv}");

    let mut over = with(one_cell(), vec![total(limit)]);
    ends_unwatched(&mut over, limit + Bytes(1), 80_000);
    assert_eq!(judge(&over).word, Word::Fail, "at least this much is too much");
}

#[test]
fn what_came_and_went_between_two_samples_is_named() {
    let named = |run: &Run| {
        let doubts = judge(run).cells[0].doubts.clone();
        doubts.into_iter().filter(|doubt| doubt.contains("came and went")).collect::<Vec<_>>()
    };
    let mut run = with(one_cell(), vec![total(Bytes::gib(100))]);
    assert_eq!(named(&run), Vec::<String>::new(), "what the ledger knows has an owner");
    let settle = run.trials[0].record.phases.iter().find(|phase| phase.phase == Phase::Settle).unwrap();
    let high = *settle.peak_resident_bytes.measured().unwrap() + Bytes::mib(900);
    set_peak(&mut run.trials[0], Phase::Settle, Reading::Measured(high));
    let doubts = named(&run);
    assert_eq!(doubts.len(), 1, "{doubts:?}");
    assert!(doubts[0].starts_with("trial 0: in settle "), "{doubts:?}");
    assert!(
        doubts[0].ends_with("fell between two samples; the kernel's high-water mark saw it"),
        "{doubts:?}"
    );
}

fn throttled() -> Disturbance {
    let cause = DisturbanceCause::Throttled { counter: "oc3".to_owned(), events: 3 };
    Disturbance { phase: Phase::Decode, cause }
}

#[test]
fn a_disturbed_trial_neither_passes_nor_fails() {
    for limit in [Bytes::mib(1), Bytes::gib(100)] {
        let mut run = with(one_cell(), vec![total(limit)]);
        for_each_trial(&mut run, |trial| trial.record.disturbances = vec![throttled()]);
        let verdict = judge(&run);
        assert_eq!(
            (verdict.word, verdict.exit_code),
            (Word::Inconclusive, ExitCode::Inconclusive),
            "{limit}"
        );
        let cell = &verdict.cells[0];
        assert_eq!(cell.budgets[0].word, Word::Inconclusive);
        let said = "trial 0 is inconclusive: the machine slowed itself down in decode: oc3 counted 3 more";
        assert_eq!(cell.reason.as_deref(), Some(said));
        assert!(cell.doubts.iter().any(|doubt| doubt == said), "{:?}", cell.doubts);
        assert!(table(&verdict).contains(said));
        assert_eq!(cell.inconclusive_trials.len(), 2);
        let csv = String::from_utf8(harness::report::csv::cells(&verdict).unwrap()).unwrap();
        assert!(csv.contains(said) && csv.contains(",2,false,false,,cortex-a78ae,"), "{csv}");
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(json["cells"][0]["inconclusive_trials"][1]["word"], "INCONCLUSIVE");
    }
}

#[test]
fn a_disturbed_trial_does_not_hide_one_that_is_over_budget() {
    let mut run = with(one_cell(), vec![total(Bytes::mib(1))]);
    run.trials[0].record.disturbances = vec![throttled()];
    let verdict = judge(&run);
    assert_eq!((verdict.word, verdict.exit_code), (Word::Fail, ExitCode::BudgetFailed));
    assert_eq!(verdict.cells[0].budgets[0].trial, Some(1), "held against the one that nothing disturbed");
    run.record.budgets = vec![total(Bytes::gib(100))];
    assert_eq!(judge(&run).word, Word::Inconclusive, "one that passed does not speak for the other");
    run.record.budgets.clear();
    assert_eq!(judge(&run).word, Word::Inconclusive, "without a budget, too");
}

#[test]
fn a_target_that_gave_up_has_the_last_word() {
    let mut run = with(one_cell(), vec![total(Bytes::mib(1))]);
    let record = &mut run.trials[0].record;
    record.outcome = Outcome::Crashed { phase: Phase::Idle, signal: None, exit_code: Some(6) };
    record.log_tail = ["starting", "error: no driver ", ""].map(str::to_owned).to_vec();
    let reason = judge(&run).cells[0].reason.clone().expect("there is one");
    assert!(reason.contains("exited in idle with code 6: error: no driver"), "{reason}");
    run.trials[0].record.log_tail.clear();
    let reason = judge(&run).cells[0].reason.clone().expect("there is one");
    assert!(reason.contains("exited in idle with code 6"), "{reason}");
}

#[test]
fn swapped_pages_make_a_pass_inconclusive_only_where_they_could_decide() {
    let mut run = one_cell();
    let limit = peak(&run) + Bytes::mib(10);
    run.record.budgets = vec![total(limit)];
    run.trials[0].record.phases[2].end.swap_bytes = Reading::Measured(Bytes::mib(5));
    run.trials[1].record.phases[2].end.swap_bytes = Reading::Measured(Bytes::ZERO);
    assert_eq!(judge(&run).word, Word::Pass);
    run.trials[0].record.phases[2].end.swap_bytes = Reading::Measured(Bytes::mib(500));
    assert_eq!(judge(&run).word, Word::Inconclusive);
}

#[test]
fn a_margin_thinner_than_the_scatter_is_a_warning() {
    let mut run = one_cell();
    run.record.trials_per_cell = 4;
    let base = peak(&run);
    run.trials =
        (0..4).map(|number| sample_run::trial(Model::Qwen35, 4096, number, Fate::Completes)).collect();
    for (trial, above) in run.trials.iter_mut().zip([40, 60, 80, 100]) {
        set_peak(trial, Phase::Decode, Reading::Measured(base + Bytes::mib(above)));
    }
    run.record.budgets = vec![total(base + Bytes::mib(100))];
    assert_eq!(judge(&run).word, Word::Warn);
    run.record.budgets = vec![total(base + Bytes::mib(100 + 3 * 40))];
    assert_eq!(judge(&run).word, Word::Pass);
}

#[test]
fn a_gap_over_a_phase_edge_makes_the_series_a_lower_bound() {
    let verdict = judge(&run());
    let cell = verdict.cells.iter().find(|cell| cell.label == "qwen3.5-4b, maxInputLen 4096").unwrap();
    assert!(cell.doubts.iter().any(|doubt| doubt.contains("lower bound")), "{:?}", cell.doubts);
    assert_eq!(word_of(&verdict, "qwen3.5-4b, maxInputLen 4096"), Word::Pass, "the high-water mark is exact");
}

#[test]
fn plan_and_ledger_must_agree_to_the_byte() {
    let mut run = with(one_cell(), vec![total(Bytes::gib(100))]);
    let Reading::Measured(ledger) = &mut run.trials[0].record.ledger else { unreachable!() };
    ledger.entries[0].peak += Bytes(1);
    ledger.entries[1].peak = ledger.entries[1].peak - Bytes(1);
    let verdict = judge(&run);
    assert_eq!(
        verdict.cells[0].plan_mismatch_bytes,
        Reading::Measured(Bytes(2)),
        "one does not cancel another"
    );
    assert_eq!(verdict.word, Word::Warn);
}

#[test]
fn what_belongs_to_further_sequences_may_be_there_or_not() {
    let mut run = with(one_cell(), vec![total(Bytes::gib(100))]);
    let TrialRecord { plan: Some(plan), ledger: Reading::Measured(ledger), .. } = &mut run.trials[0].record
    else {
        unreachable!()
    };
    // As with `maxBatchSize: 4`: a second sequence has buffers of its own, and the buffers of a step have room for four.
    let state = plan.buffers.iter().find(|buffer| buffer.class == BufferClass::RecurrentState).unwrap();
    let (first, second) = (state.key(), PlannedBuffer { sequence: 1, ..state.clone() });
    let logits = plan.buffers.iter_mut().find(|buffer| buffer.class == BufferClass::Logits).unwrap();
    logits.lifetime = Lifetime::PerStep;
    let step = logits.bytes.round_up(4096);
    logits.growth = Some(Growth { tokens: Tokens(1), bytes: step });
    logits.bytes = Bytes(step.0 * 4);
    ledger.entries.iter_mut().find(|entry| entry.key == logits.key()).unwrap().peak = step;
    let mut entry = ledger.entries.iter().find(|entry| entry.key == first).unwrap().clone();
    entry.key = second.key();
    let one_more = second.bytes + Bytes(1);
    plan.buffers.push(second);
    assert_eq!(judge(&run).cells[0].plan_mismatch_bytes, Reading::Measured(Bytes::ZERO));

    let Reading::Measured(ledger) = &mut run.trials[0].record.ledger else { unreachable!() };
    ledger.entries.push(entry.clone());
    assert_eq!(judge(&run).cells[0].plan_mismatch_bytes, Reading::Measured(Bytes::ZERO));
    let Reading::Measured(ledger) = &mut run.trials[0].record.ledger else { unreachable!() };
    ledger.entries.last_mut().unwrap().peak = one_more;
    assert_eq!(judge(&run).cells[0].plan_mismatch_bytes, Reading::Measured(Bytes(1)));
}

#[test]
fn a_class_over_its_plan_is_named() {
    let mut run = one_cell();
    let planted = Bytes::mib(64);
    for_each_trial(&mut run, |trial| {
        let phase = &mut trial.record.phases[3];
        let Reading::Measured(classes) = &mut phase.end.by_class_bytes else { unreachable!() };
        *classes.get_mut(&BufferClass::ConvState).unwrap() += planted;
        let high = phase.peak_resident_bytes.measured().copied().unwrap() + planted + Bytes::mib(64);
        phase.peak_resident_bytes = Reading::Measured(high);
    });
    run.record.budgets = vec![total(Bytes(peak(&run).0 - (8 << 20)))];
    let verdict = judge(&run);
    let responsible = verdict.cells[0].budgets[0].responsible.clone().unwrap();
    assert_eq!(responsible.class, BufferClass::ConvState);
    assert_eq!(responsible.over_plan_bytes, Some(planted.0 as i64));
}

proptest! {
    /// Whatever the peaks are: a pass means that every trial is within the limit, to the byte.
    #[test]
    fn a_pass_means_within_the_limit(first in 1_u64..1 << 40, second in 1_u64..1 << 40, limit in 1_u64..1 << 40) {
        let mut run = with(one_cell(), vec![total(Bytes(limit))]);
        for (trial, peak) in run.trials.iter_mut().zip([first, second]) {
            for phase in &mut trial.record.phases {
                phase.peak_resident_bytes = Reading::Measured(Bytes(peak));
            }
        }
        let word = judge(&run).word;
        prop_assert_eq!(word == Word::Fail, first.max(second) > limit);
        prop_assert_eq!(word == Word::Pass, first.max(second) <= limit);
    }
}
