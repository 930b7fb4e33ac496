//! Budgets on growth, leaks and drift, and cells that are known not to run to their end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use harness::record::{
    BudgetLimit, BudgetRecord, BudgetSubject, Expectation, ExpectedOutcome, GrowthOf, GrowthPer, Outcome,
    Reading, Run, Sample,
};
use harness::scenario::Condition;
use harness::verdict::budget::Limit;
use harness::verdict::{BudgetResult, ExitCode, Word, judge};
use ledger::{BufferClass, Bytes, Micros, Phase};
use sample_run::{Fate, Model, budget, for_each_trial, run_of};

fn growth(class: BufferClass, per: GrowthPer, each: u64) -> BudgetRecord {
    let subject = BudgetSubject::Growth { of: GrowthOf::Class(class), per };
    budget("law", &[], subject, BudgetLimit::Bytes(Bytes(each)))
}

/// Results of the only budget, by the cell's label.
fn held(mut run: Run, budget: BudgetRecord) -> Vec<(String, BudgetResult)> {
    run.record.budgets = vec![budget];
    let cells = judge(&run).cells;
    let mut results: Vec<_> = cells
        .into_iter()
        .flat_map(|cell| cell.budgets.into_iter().map(move |it| (cell.label.clone(), it)))
        .collect();
    results.sort_by(|a, b| a.0.cmp(&b.0));
    results
}

fn lengths(fate: Fate) -> Run {
    run_of(&[
        (Model::Qwen3, 1024, fate),
        (Model::Qwen3, 4096, Fate::Completes),
        (Model::Qwen3, 8192, Fate::Completes),
    ])
}

#[test]
fn a_token_of_an_axis_takes_what_the_law_says() {
    // Keys and values of 36 layers, 8 heads of 128, in 16 bits.
    let law = 36 * 4096;
    let words = |each: u64| {
        let results =
            held(lengths(Fate::Completes), growth(BufferClass::KvCache, GrowthPer::MaxInputLen, each));
        results.into_iter().map(|(label, result)| (label, result.word)).collect::<Vec<_>>()
    };
    let both =
        |word| ["4096", "8192"].map(|length| (format!("qwen3-4b, maxInputLen {length}"), word)).to_vec();
    assert_eq!(words(law), both(Word::Pass), "the smallest cell is what the others are held against");
    assert_eq!(words(law - 1), both(Word::Fail));
    let results =
        held(lengths(Fate::Completes), growth(BufferClass::KvCache, GrowthPer::MaxInputLen, law - 1));
    let first = &results[0].1;
    assert_eq!(first.reason.as_deref(), Some("grew by 432.0 MiB, 147456 B a token; 147455 B are allowed"));
    assert_eq!(first.fail, Some(Limit::Bytes(Bytes((law - 1) * 3072))), "what it comes to over 3072 tokens");
    assert_eq!(first.margin_bytes, Some(-3072));
    let state =
        held(lengths(Fate::Completes), growth(BufferClass::PrefillWorkspace, GrowthPer::MaxInputLen, 0));
    assert!(state.iter().all(|(_, result)| result.word == Word::Pass), "{state:?}");

    let blind =
        held(lengths(Fate::RunsOutOfMemory), growth(BufferClass::KvCache, GrowthPer::MaxInputLen, law));
    assert_eq!(blind[0].1.word, Word::Inconclusive, "the base did not run to its end");
    let mut alone = run_of(&[(Model::Qwen3, 1024, Fate::Completes)]);
    alone.record.budgets = vec![growth(BufferClass::KvCache, GrowthPer::MaxInputLen, law)];
    let verdict = judge(&alone);
    assert_eq!(verdict.exit_code, ExitCode::Inconclusive, "nothing was compared");
    assert!(
        verdict.problems.iter().any(|problem| problem.contains("never judged")),
        "{:?}",
        verdict.problems
    );
}

#[test]
fn a_token_of_context_takes_what_the_law_says() {
    let run = || run_of(&[(Model::Qwen35, 4096, Fate::Completes)]);
    let word = |class, each| held(run(), growth(class, GrowthPer::Context, each))[0].1.word;
    // Eight layers of attention; the last block of 64 tokens is not full.
    let law = 8 * 4096;
    assert_eq!(word(BufferClass::KvCache, law + law / 50), Word::Pass);
    assert_eq!(word(BufferClass::KvCache, law - 1), Word::Fail);
    assert_eq!(word(BufferClass::WeightsLinear, 0), Word::Pass);
    let mut blind = run();
    for_each_trial(&mut blind, |trial| {
        for phase in &mut trial.record.phases {
            phase.end.by_class_bytes = Reading::Unavailable("the ledger was not read".to_owned());
        }
    });
    let result = held(blind, growth(BufferClass::KvCache, GrowthPer::Context, law * 2)).remove(0).1;
    assert_eq!(result.word, Word::Inconclusive, "{result:?}");
    assert!(result.reason.unwrap().contains("the ledger was not read"));
}

/// A run whose settle phase lasts 10 s, in which `each` MiB a second come.
fn settling(each: f64) -> Run {
    let mut run = run_of(&[(Model::Qwen35, 4096, Fate::Completes)]);
    for trial in &mut run.trials {
        let at = trial.record.phases.iter().position(|phase| phase.phase == Phase::Settle).unwrap();
        trial.record.phases.truncate(at + 1);
        let settle = &mut trial.record.phases[at];
        let start = settle.started_us.0;
        settle.ended_us = Micros(start + 10_000_000);
        let Reading::Measured(series) = &mut trial.series else { panic!("a series") };
        series.samples.retain(|sample| sample.at.0 < start);
        let last = *series.samples.last().unwrap();
        series.samples.extend((0..1000).map(|tick| Sample {
            at: Micros(start + tick * 10_000),
            anonymous: last.anonymous.map(|bytes| Bytes(bytes.0 + (each * tick as f64 * 10_485.76) as u64)),
            ..last
        }));
    }
    run
}

#[test]
fn a_leak_is_held_against_its_rate_and_a_short_look_clears_nothing() {
    let result = |each: f64, mib_a_minute: u64| {
        let limit = BudgetLimit::Bytes(Bytes::mib(mib_a_minute));
        held(settling(each), budget("leak", &[], BudgetSubject::Leak, limit)).remove(0).1
    };
    assert_eq!(result(1.0, 59).word, Word::Fail);
    assert_eq!(result(1.0, 61).word, Word::Pass);
    assert_eq!(result(0.0, 30).word, Word::Pass);
    let short = result(0.0, 1);
    assert_eq!(short.word, Word::Inconclusive);
    assert!(short.reason.as_ref().is_some_and(|why| why.contains("watch 7 times as long")), "{short:?}");
    let unseen = run_of(&[(Model::Qwen35, 4096, Fate::Completes)]);
    let limit = BudgetLimit::Bytes(Bytes::gib(1));
    for subject in [BudgetSubject::Leak, BudgetSubject::Drift] {
        let result = held(unseen.clone(), budget("unseen", &[], subject, limit)).remove(0).1;
        assert_eq!(result.word, Word::Inconclusive, "{result:?}");
    }
}

/// A cell whose trials end as `outcomes` say, with what is expected of it.
fn expected(outcome: ExpectedOutcome, until: &str, outcomes: [Outcome; 2]) -> (Word, ExitCode, String) {
    let mut run = run_of(&[(Model::Qwen35, 4096, Fate::Completes)]);
    for (trial, outcome) in run.trials.iter_mut().zip(outcomes) {
        trial.record.outcome = outcome;
    }
    let cell = run.record.cells[0].clone();
    run.record.budgets.retain(|budget| cell.matches(&budget.when));
    run.record.expectations = vec![Expectation {
        outcome,
        when: Condition::equal([("model".to_owned(), "qwen3.5-4b".to_owned())]),
        until: until.to_owned(),
        why: "a small board".to_owned(),
    }];
    let verdict = judge(&run);
    (verdict.word, verdict.exit_code, verdict.cells[0].reason.clone().unwrap_or_default())
}

#[test]
fn an_expected_failure_is_none_until_its_day_and_a_survivor_is_a_finding() {
    let oom = || Outcome::OutOfMemory { phase: Phase::Load, evidence: "killed".to_owned() };
    let crash = || Outcome::Crashed { phase: Phase::Load, signal: Some(11), exit_code: None };
    let told = |until: &str, outcomes| expected(ExpectedOutcome::Oom, until, outcomes);

    // The run is of 2026-05-27.
    let (word, code, reason) = told("2026-05-27", [oom(), oom()]);
    assert_eq!((word, code), (Word::Expected, ExitCode::Pass));
    assert_eq!(reason, "OOM as expected until 2026-05-27: a small board");
    let (word, code, reason) = told("2026-05-26", [oom(), oom()]);
    assert_eq!((word, code), (Word::Oom, ExitCode::Incomplete));
    assert!(reason.contains("expected to until 2026-05-26, which has passed"), "{reason}");
    let (word, code, reason) = told("2026-06-01", [Outcome::Completed, Outcome::Completed]);
    assert_eq!((word, code), (Word::Warn, ExitCode::Pass));
    assert!(reason.contains("remove the expectation"), "{reason}");
    let (word, _, reason) = told("2026-05-26", [Outcome::Completed, Outcome::Completed]);
    assert_eq!(word, Word::Warn);
    assert!(reason.contains("does not come any more"), "{reason}");
    let (word, _, reason) = told("2026-06-01", [oom(), Outcome::Completed]);
    assert_eq!(word, Word::Warn, "{reason}");
    assert!(reason.contains("1 of 2 trials ran to their end"), "{reason}");
    let (word, code, _) = told("2026-06-01", [oom(), crash()]);
    assert_eq!((word, code), (Word::Crash, ExitCode::Incomplete), "what nobody expected");
    let (word, ..) = expected(ExpectedOutcome::Crash, "2026-06-01", [crash(), crash()]);
    assert_eq!(word, Word::Expected);
}
