//! Levers over records: what was promised is held against what was measured, and what was not measured never works.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use harness::record::{CellName, LeverMetric, LeverRecord, Outcome, Reading};
use harness::report;
use harness::verdict::levers::Price;
use harness::verdict::{ExitCode, LeverResult, LeverWord, RunVerdict, Word, judge, table};
use ledger::{Bytes, Phase};
use sample_run::Model::{Qwen3, Qwen35};
use sample_run::levers::{Tried, lever_run, tried};
use sample_run::write;

const MIB: i64 = 1 << 20;

fn base() -> Tried {
    tried(Qwen35, &[], (0, 0), 8.6)
}

/// Two models, and every way in which a lever can go.
fn cells() -> Vec<Tried> {
    let drafting = Tried { rounds: Some((24, 37)), ..tried(Qwen35, &[("mtp", "true")], (85, 84), 11.2) };
    let crashed = Outcome::Crashed { phase: Phase::Load, signal: Some(11), exit_code: None };
    vec![
        tried(Qwen3, &[], (0, 0), 7.9),
        tried(Qwen3, &[("maxInputLen", "8192")], (0, 0), 7.9),
        tried(Qwen3, &[("weightStreamingBudget", "1GiB")], (-360, -2), 7.8),
        tried(Qwen3, &[("lmHead", "int4")], (-184, -183), 8.3),
        base(),
        tried(Qwen35, &[("maxInputLen", "8192")], (0, 1), 8.6),
        drafting,
        tried(Qwen35, &[("weightStreamingBudget", "1GiB")], (-500, -499), 1.1),
        Tried { outcome: crashed, ..tried(Qwen35, &[("lmHead", "int4")], (-300, -300), 8.6) },
    ]
}

fn only(verdict: &RunVerdict) -> &LeverResult {
    assert_eq!(verdict.levers.len(), 1, "{:?}", verdict.levers);
    &verdict.levers[0]
}

#[test]
fn the_terminal_table() {
    insta::assert_snapshot!(table(&judge(&lever_run(&cells()))));
}

#[test]
fn a_lower_bound_is_no_value_to_take_a_difference_of() {
    let streamed = tried(Qwen35, &[("weightStreamingBudget", "1GiB")], (-500, -480), 3.6);
    let gone = || Reading::Unavailable("the target's process has ended".to_owned());
    for (metric, phase, why) in [
        (LeverMetric::Peak, Phase::Unload, "the sampler saw nothing for more than 50 ms"),
        (LeverMetric::Phase(Phase::Decode), Phase::Decode, "its process ended before the kernel's mark"),
    ] {
        let mut run = lever_run(&[base(), streamed.clone()]);
        run.record.levers.iter_mut().for_each(|lever| lever.metric = metric);
        let trial = &mut run.trials[1];
        trial.series = Reading::Unavailable("it was lost".to_owned());
        let record = trial.record.phases.iter_mut().find(|record| record.phase == phase).unwrap();
        record.peak_resident_bytes = Reading::Measured(Bytes::gib(2));
        record.end.resident = gone();
        let verdict = judge(&run);
        let lever = only(&verdict);
        assert_eq!(lever.word, LeverWord::Inconclusive, "{lever:?}");
        let reason = lever.reason.as_deref().unwrap();
        assert!(reason.contains("is a lower bound: ") && reason.contains(why), "{reason}");
        assert!(lever.measured_bytes.measured().is_none(), "{lever:?}");
        assert!(matches!(lever.price, Price::Unknown(_)));
    }
}

#[test]
fn a_lever_that_moves_what_it_promised_works_and_has_its_price() {
    let streamed = tried(Qwen35, &[("weightStreamingBudget", "1GiB")], (-500, -480), 3.6);
    let verdict = judge(&lever_run(&[base(), streamed]));
    let lever = only(&verdict);
    assert_eq!((lever.word, &lever.reason), (LeverWord::Works, &None));
    assert_eq!(lever.expected_bytes, Reading::Measured(-500 * MIB));
    assert_eq!(lever.measured_bytes, Reading::Measured(-480 * MIB));
    let Price::SavedPerLost(price) = lever.price else { panic!("{:?}", lever.price) };
    assert!((price - 96.0).abs() < 1e-6, "{price}");
    assert_eq!(lever.decode_tokens_per_second.after, Reading::Measured(1000.0 / (1000.0 / 3.6)));
    assert_eq!(verdict.exit_code, ExitCode::Pass);
    assert!(verdict.headline.ends_with("; 1 lever: 1 works"), "{}", verdict.headline);
}

#[test]
fn a_lever_that_moves_less_fails_the_run() {
    let streamed = tried(Qwen35, &[("weightStreamingBudget", "1GiB")], (-500, -2), 8.6);
    let verdict = judge(&lever_run(&[base(), streamed]));
    assert_eq!((verdict.word, verdict.exit_code), (Word::Fail, ExitCode::BudgetFailed));
    let lever = only(&verdict);
    assert_eq!(lever.word, LeverWord::Fails);
    let reason = lever.reason.as_deref().unwrap();
    assert!(reason.starts_with("it saves 2.0 of the 500.0 MiB that the plan promises"), "{reason}");
    assert!(verdict.cells.iter().all(|cell| cell.word == Word::NoBudget), "the cells themselves are fine");
}

#[test]
fn a_part_that_the_scenario_sets_decides() {
    let streamed = tried(Qwen35, &[("weightStreamingBudget", "1GiB")], (-500, -300), 8.6);
    let mut run = lever_run(&[base(), streamed]);
    assert_eq!(only(&judge(&run)).word, LeverWord::Fails);
    run.record.levers[0].works_above = 0.5;
    assert_eq!(only(&judge(&run)).word, LeverWord::Works);
}

#[test]
fn a_lever_of_which_the_plan_promises_nothing_is_inert_and_that_is_no_failure() {
    let longer = tried(Qwen35, &[("maxInputLen", "8192")], (0, 1), 8.6);
    let verdict = judge(&lever_run(&[base(), longer]));
    let lever = only(&verdict);
    assert_eq!(
        (lever.word, lever.reason.as_deref()),
        (LeverWord::Inert, Some("the plan promises no change"))
    );
    assert_eq!((verdict.exit_code, &lever.price), (ExitCode::Pass, &Price::NothingMoved));
    let taken = tried(Qwen35, &[("maxInputLen", "8192")], (0, 40), 8.6);
    let verdict = judge(&lever_run(&[base(), taken]));
    assert_eq!((only(&verdict).word, verdict.exit_code), (LeverWord::Fails, ExitCode::BudgetFailed));
}

#[test]
fn a_lever_that_costs_memory_must_not_cost_more_than_it_says() {
    for (measured, word) in [(85, LeverWord::Works), (20, LeverWord::Works), (120, LeverWord::Fails)] {
        let drafting = tried(Qwen35, &[("mtp", "true")], (85, measured), 11.2);
        assert_eq!(only(&judge(&lever_run(&[base(), drafting]))).word, word, "{measured} MiB");
    }
}

#[test]
fn without_its_base_a_lever_is_inconclusive() {
    let drafting = tried(Qwen35, &[("mtp", "true")], (85, 85), 11.2);
    let verdict = judge(&lever_run(std::slice::from_ref(&drafting)));
    let lever = only(&verdict);
    assert_eq!((lever.word, lever.base_cell.as_ref()), (LeverWord::Inconclusive, None));
    assert!(lever.reason.as_deref().unwrap().contains("mtp false"), "{:?}", lever.reason);
    assert_eq!(verdict.exit_code, ExitCode::Inconclusive);
    // The base of the other model is none of this one's.
    let others = [tried(Qwen3, &[], (0, 0), 8.0), tried(Qwen3, &[("mtp", "true")], (85, 85), 9.0), drafting];
    let mut run = lever_run(&others);
    let words: Vec<LeverWord> = judge(&run).levers.iter().map(|lever| lever.word).collect();
    assert_eq!(words, [LeverWord::Works, LeverWord::Inconclusive]);
    // Whoever chose these cells did not ask about the lever of the one without a base.
    run.record.chosen = true;
    let verdict = judge(&run);
    assert_eq!((only(&verdict).word, verdict.exit_code), (LeverWord::Works, ExitCode::Pass));
}

#[test]
fn a_cell_or_base_that_did_not_run_to_its_end_is_inconclusive() {
    let crash = Outcome::Crashed { phase: Phase::Decode, signal: Some(9), exit_code: None };
    let drafting = tried(Qwen35, &[("mtp", "true")], (85, 85), 11.2);
    for at in [0, 1] {
        let mut cells = [base(), drafting.clone()];
        cells[at].outcome = crash.clone();
        let verdict = judge(&lever_run(&cells));
        let lever = only(&verdict);
        assert_eq!(lever.word, LeverWord::Inconclusive);
        assert!(lever.reason.as_deref().unwrap().contains("signal 9"), "{:?}", lever.reason);
        assert_eq!(verdict.exit_code, ExitCode::Incomplete, "a crash says more");
    }
}

#[test]
fn what_was_not_planned_or_not_measured_is_inconclusive() {
    let drafting = tried(Qwen35, &[("mtp", "true")], (85, 85), 11.2);
    let whole = lever_run(&[base(), drafting]);
    let mut run = whole.clone();
    run.trials[0].record.plan = None;
    assert_eq!(only(&judge(&run)).word, LeverWord::Inconclusive);
    let mut run = whole.clone();
    for phase in &mut run.trials[1].record.phases {
        phase.peak_resident_bytes = Reading::Unavailable("clear_refs is not writable".to_owned());
    }
    let verdict = judge(&run);
    assert!(only(&verdict).reason.as_deref().unwrap().contains("clear_refs"));
    let mut run = whole;
    run.trials[1].record.phases[2].end.swap_bytes = Reading::Measured(Bytes::mib(50));
    assert_eq!(only(&judge(&run)).word, LeverWord::Inconclusive);
}

#[test]
fn a_lever_that_no_cell_tries_was_never_judged() {
    let mut run = lever_run(&[base()]);
    run.record.levers.push(LeverRecord::of_axis("mtp", "false"));
    let verdict = judge(&run);
    assert_eq!((verdict.exit_code, verdict.levers.len()), (ExitCode::Inconclusive, 0));
    assert!(verdict.problems[0].contains("`mtp` is tried by no cell"), "{:?}", verdict.problems);
}

#[test]
fn a_named_cell_beside_the_axes_needs_no_base() {
    let both = tried(Qwen35, &[("mtp", "true"), ("lmHead", "int4")], (-215, -215), 11.0);
    let drafting = tried(Qwen35, &[("mtp", "true")], (85, 85), 11.2);
    let mut run = lever_run(&[base(), drafting, both]);
    assert_eq!(only(&judge(&run)).value, "true", "two knobs at once say nothing about one");
    run.record.cells[2].axes.push(("kvCacheType".to_owned(), "int8".to_owned()));
    run.record.cells[2].axes[2].1 = "false".to_owned();
    run.record.cells[2].name =
        Some(CellName { name: "small".to_owned(), why: "a test".to_owned(), beside_axes: true });
    let verdict = judge(&run);
    assert!(verdict.levers.iter().all(|lever| lever.axis == "mtp"), "{:?}", verdict.levers);
    assert!(verdict.cells.iter().any(|cell| cell.label == "qwen3.5-4b, small"));
}

#[test]
fn a_lever_may_be_about_the_peak_of_one_phase() {
    let streamed = tried(Qwen35, &[("weightStreamingBudget", "1GiB")], (-500, -500), 8.6);
    let mut run = lever_run(&[base(), streamed]);
    run.record.levers[0].metric = LeverMetric::Phase(Phase::Load);
    let lever = only(&judge(&run)).clone();
    assert!(lever.label().ends_with("peak of load"), "{}", lever.label());
    assert_eq!((lever.word, lever.expected_bytes), (LeverWord::Works, Reading::Measured(-500 * MIB)));
    run.trials[1].record.phases.truncate(1);
    assert_eq!(only(&judge(&run)).word, LeverWord::Inconclusive);
}

#[test]
fn the_page_and_the_verdict_have_the_levers() {
    let folder = tempfile::tempdir().unwrap();
    let named = std::env::var_os("SWEEP_SAMPLE_LEVERS");
    let path = named.as_deref().map_or(folder.path(), std::path::Path::new);
    let mut run = lever_run(&cells());
    let name =
        CellName { name: "drafting".to_owned(), why: "what speed costs".to_owned(), beside_axes: false };
    run.record.cells[6].name = Some(name);
    let mtp = run.record.levers.iter_mut().find(|lever| lever.axis == "mtp").unwrap();
    mtp.why = Some("it must pay for itself".to_owned());
    run.trials[6].record.cell = run.record.cells[6].clone();
    write(&run, path);
    let outputs = report::write(path).unwrap();
    let html = std::fs::read_to_string(outputs.html).unwrap();
    for told in [
        "id=\"levers\"",
        "mtp</a>",
        "false → true",
        "price\" data-l",
        "Accepted",
        "tokens a round, synthetic",
        "what speed costs",
        "<dt>mtp</dt><dd>it must pay for itself</dd>",
        "drafting <small>mtp true</small>",
    ] {
        assert!(html.contains(told), "{told}");
    }
    assert_eq!(html.matches("class=\"lever\"").count(), 7);
    let verdict: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path.join("verdict.json")).unwrap()).unwrap();
    assert_eq!(verdict["format_version"], 2);
    let levers = verdict["levers"].as_array().unwrap();
    let words: Vec<&str> = levers.iter().map(|lever| lever["word"].as_str().unwrap()).collect();
    assert_eq!(words, ["inert", "fails", "works", "inert", "works", "works", "INCONCLUSIVE"]);
    let drafting = levers.iter().find(|lever| lever["axis"] == "mtp").unwrap();
    assert_eq!(drafting["expected_bytes"]["measured"], 85 * MIB);
    assert!(drafting["price"]["taken_per_gained"].as_f64().is_some_and(|price| price > 30.0 && price < 35.0));
    let csv = std::fs::read_to_string(path.join("cells.csv")).unwrap();
    assert!(
        csv.lines().any(|line| line.contains(",2.5417,,,0,false,false,,cortex-a78ae,")),
        "the acceptance length of the cell that drafted"
    );
}

#[test]
fn runs_without_levers_say_nothing_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = sample_run::run();
    write(&run, folder.path());
    let outputs = report::write(folder.path()).unwrap();
    assert!(!std::fs::read_to_string(outputs.html).unwrap().contains("Levers"));
    assert!(outputs.verdict.levers.is_empty() && !outputs.verdict.headline.contains("lever"));
}
