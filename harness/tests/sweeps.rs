//! Whole runs: one bad cell does not spoil the others, and what was done is not done again.

mod fake;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fake::sweep::{start, sweep};
use fake::{FakeEngines, scenario};
use harness::probe::{ProcRoot, ProcessIdentity};
use harness::record::{Outcome, Run};
use harness::scenario::Scenario;
use harness::verdict::{ExitCode, LeverWord, judge};
use ledger::Phase;

fn long_scenario() -> Scenario {
    fake::sweep::Run::Long.scenario()
}

fn only_run(runs: &Path) -> Option<PathBuf> {
    std::fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path()).next()
}

/// Waits until the journal of the second cell says that it decodes, and returns the run's folder and the target's pid.
fn wait_for_decode(runs: &Path) -> (PathBuf, u32) {
    let hanging = long_scenario().expand().cells[1].id.0.clone();
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
        let Some(folder) = only_run(runs) else { continue };
        let journal = folder.join("trials").join(format!("{hanging}-0.jsonl"));
        let text = std::fs::read_to_string(journal).unwrap_or_default();
        if text.contains("{\"phase_started\":{\"phase\":\"decode\"") {
            let pid = text.split("\"pid\":").nth(1).and_then(|rest| rest.split(',').next());
            // Long enough for the last samples to be handed over.
            std::thread::sleep(Duration::from_millis(300));
            return (folder, pid.and_then(|pid| pid.parse().ok()).expect("the target has started"));
        }
    }
    panic!("the second cell was never reached");
}

/// Waits until the target is gone, and with it everything that it has started.
fn wait_until_gone(target: u32) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let numbers = std::fs::read_dir("/proc").expect("readable").flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let left: Vec<u32> = numbers
            .filter_map(|pid| ProcessIdentity::read(&ProcRoot::default(), pid))
            .filter(|process| process.session == target || process.pid == target)
            .map(|process| process.pid)
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "of the target {target}, these are left: {left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn levers_are_tried_one_at_a_time_and_judged() {
    let runs = tempfile::tempdir().expect("a folder");
    let tried = |text: String| {
        let alone = "  one_at_a_time:\n    maxInputLen: [64, 128]\n    gdnPrefillMaxSeq: [256, 64]";
        text.replace("    maxInputLen: [64]", alone)
            .replace("target: builtin", "include:\n  - {name: both, cell: {model: good, maxInputLen: 128, threads: 2}, why: a test}\ntarget: builtin")
    };
    let scenario = scenario(&["good"], tried);
    let judged = |only: &[String]| {
        let (end, _) = sweep(&scenario, runs.path(), only, true, None);
        judge(&Run::load(end.folder.path()).expect("whole"))
    };
    let verdict = judged(&[]);
    let labels: Vec<&str> = verdict.cells.iter().map(|cell| cell.label.as_str()).collect();
    assert_eq!(labels, ["good, base", "good, both", "good, gdnPrefillMaxSeq 64", "good, maxInputLen 128"]);
    let levers: Vec<_> = verdict.levers.iter().map(|lever| (lever.label(), lever.word)).collect();
    let inert = |label: &str| (label.to_owned(), LeverWord::Inert);
    assert_eq!(levers, [inert("maxInputLen: 64 → 128"), inert("gdnPrefillMaxSeq: 256 → 64")]);
    assert_eq!(verdict.exit_code, ExitCode::Pass, "{:?}", verdict.problems);

    let by_name = judged(&["both".to_owned()]);
    assert_eq!((by_name.cells.len(), by_name.levers.len()), (1, 0));
    assert_eq!(by_name.exit_code, ExitCode::Pass, "{:?}", by_name.problems);
}

#[test]
fn bad_cells_become_outcomes_and_the_others_finish() {
    let runs = tempfile::tempdir().expect("a folder");
    let hostile = |text: String| {
        text.replace("target: builtin", "target: builtin\nlimits: {memory: 600 MiB}")
            .replace("load: {timeout: 10 s}", "load: {timeout: 2 s}")
            .replace("  good.1: {engine: nowhere}", "  good.1: {checkpoint: nowhere}")
    };
    let models = ["good.0", "oom_load", "hang_load", "good.1", "crash_load", "good.2"];
    let scenario = scenario(&models, hostile);
    let (mut end, notes) = sweep(&scenario, runs.path(), &[], false, None);
    assert!(!end.interrupted);
    assert_eq!(notes.len(), 7, "{notes:?}");
    end.folder.finish(harness::clock::wall_clock(), 5).expect("writable");

    let read = Run::load(end.folder.path()).expect("whole");
    assert!(read.unreadable.is_empty());
    assert!(read.record.is_complete());
    let outcomes: Vec<&Outcome> = read.trials.iter().map(|trial| &trial.record.outcome).collect();
    assert!(
        matches!(
            outcomes[..],
            [
                Outcome::Completed,
                Outcome::OutOfMemory { phase: Phase::Load, .. },
                Outcome::TimedOut { phase: Phase::Load, .. },
                Outcome::Failed { .. },
                Outcome::Crashed { phase: Phase::Load, .. },
                Outcome::Completed,
            ]
        ),
        "{outcomes:?}"
    );
    assert!(matches!(outcomes[3], Outcome::Failed { message, .. } if message.contains("there is no engine")));
}

#[test]
fn a_killed_run_is_taken_up_where_it_was_and_its_target_is_gone() {
    let runs = tempfile::tempdir().expect("a folder");
    let mut harness = start(fake::sweep::Run::Long, runs.path());
    let (folder, target) = wait_for_decode(runs.path());
    harness.kill().expect("it runs");
    harness.wait().expect("it ends");
    wait_until_gone(target);

    // Everything up to the kill can be read back.
    let killed = Run::load(&folder).expect("run.json is whole");
    assert!(!killed.record.is_complete());
    assert_eq!(killed.trials.len(), 2);
    assert_eq!(killed.trials[0].record.outcome, Outcome::Completed);
    let torn = &killed.trials[1];
    assert_eq!(torn.record.outcome, Outcome::Interrupted);
    assert_eq!(torn.record.phases.len(), 3, "idle, load and prefill had ended");
    assert!(torn.series.measured().is_some_and(|series| series.samples.len() > 10));

    // This program has the same hash as the one that was killed: it is the same file.
    let only = [
        long_scenario().expand().cells[0].id.0.clone(),
        long_scenario().expand().cells[2].id.0[..6].to_owned(),
    ];
    let (end, notes) = sweep(&long_scenario(), runs.path(), &only, false, None);
    assert_eq!(notes, ["2 cells, 1 trials, resumed: true", "good.a-0 taken over", "good.c-0 run"]);
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    assert_eq!(end.folder.record().resumed_from, name);
    let taken = Run::load(end.folder.path()).expect("whole");
    assert_eq!(taken.trials[0].record.resumed_from, name);
    assert_eq!(taken.trials[0].series, killed.trials[0].series);
    assert_eq!(taken.trials[1].record.resumed_from, None);

    let anew = ["1 cells, 1 trials, resumed: false", "good.a-0 run"];
    let (end, notes) = sweep(&long_scenario(), runs.path(), &only[..1], true, None);
    assert_eq!(notes, anew, "--fresh takes over nothing");

    // The same machine with another kernel is another one.
    let path = end.folder.path().join("trials").join(format!("{}-0.json", only[0]));
    let text = std::fs::read(&path).expect("a record");
    let mut trial: serde_json::Value = serde_json::from_slice(&text).expect("whole");
    trial["environment"]["facts"]["kernel"] = serde_json::json!({"measured": "another"});
    std::fs::write(&path, trial.to_string()).expect("ours");
    let (_, notes) = sweep(&long_scenario(), runs.path(), &only[..1], false, None);
    assert_eq!(notes, anew, "measured in another environment");
}

#[test]
fn a_run_that_is_asked_to_stop_saves_its_state() {
    let runs = tempfile::tempdir().expect("a folder");
    let mut harness = start(fake::sweep::Run::Long, runs.path());
    let (folder, target) = wait_for_decode(runs.path());
    let pid = rustix::process::Pid::from_child(&harness);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let status = harness.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    wait_until_gone(target);
    let run = Run::load(&folder).expect("whole");
    assert!(!run.record.is_complete(), "an interrupted run can be taken up");
    assert_eq!(run.trials.len(), 2);
    assert_eq!(run.trials[1].record.outcome, Outcome::Interrupted);
    assert!(folder.join("trials").join(format!("{}-0.json", run.trials[1].record.cell.id.0)).exists());
}

#[test]
fn the_second_request_to_stop_does_not_wait() {
    let runs = tempfile::tempdir().expect("a folder");
    let mut harness = start(fake::sweep::Run::SlowBuild, runs.path());
    let building = runs.path().join("building");
    let until = Instant::now() + Duration::from_secs(30);
    while !building.exists() {
        assert!(Instant::now() < until, "the build has not begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&harness);
    for _ in 0..2 {
        assert_eq!(
            harness.try_wait().expect("it can be asked"),
            None,
            "a build that does not listen goes on"
        );
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(harness.wait().expect("it ends").code(), Some(130));
}

#[test]
fn budgets_are_held_against_what_was_measured() {
    let judged = |total: &str, unaccounted: &str| {
        let runs = tempfile::tempdir().expect("a folder");
        let budgets = format!(
            "budgets:\n  - {{id: total, total: {{fail: {total}}}, why: a test}}\n  \
             - {{id: weights, class: weights.linear, phase: decode, bytes: {{fail: 48 MiB}}, why: exactly}}\n  \
             - {{id: rest, class: unaccounted, share: {{fail: {unaccounted}}}, why: a test}}\n"
        );
        let scenario = scenario(&["good"], |text| text + &budgets);
        let (mut end, _) = sweep(&scenario, runs.path(), &[], false, None);
        let verdict = judge(&Run::load(end.folder.path()).expect("whole"));
        end.folder.finish(harness::clock::wall_clock(), verdict.exit_code.code()).expect("writable");
        let outputs = harness::report::write(end.folder.path()).expect("a report");
        assert_eq!(outputs.verdict.exit_code, verdict.exit_code);
        assert!(outputs.html.is_file());
        let results = verdict.budgets.iter().map(|budget| (budget.id.clone(), format!("{:?}", budget.word)));
        (verdict.exit_code, results.collect::<Vec<_>>(), verdict.problems)
    };
    let (code, results, problems) = judged("200 MiB", "60 %");
    assert_eq!(code, ExitCode::Pass, "{results:?} {problems:?}");
    let (code, results, problems) = judged("20 MiB", "60 %");
    assert_eq!(code, ExitCode::BudgetFailed, "{results:?} {problems:?}");
}

/// Does what the environment says on the command line, with engines that exist.
#[test]
fn command_line_in_a_process() {
    if let Ok(words) = std::env::var("FAKE_COMMAND_LINE") {
        let words = ["sweep"].into_iter().chain(words.split(' ')).map(Into::into).collect::<Vec<_>>();
        std::process::exit(i32::from(harness::cli::main(words, &FakeEngines).code()));
    }
}

#[test]
fn a_plan_shows_every_cell_by_class_without_running_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let excluded = "exclude: [{when: {model: good.b, maxInputLen: 128}, why: too long}]\n";
    let budget = "budgets: [{id: t, when: {model: good.b}, total: {fail: 1 GiB}, why: a test}]\n";
    let text = scenario(&["good.a", "good.b"], |text| {
        text.replace("maxInputLen: [64]", "maxInputLen: [64, 128]") + excluded + budget
    })
    .text;
    std::fs::write(folder.path().join("s.yaml"), text).expect("writable");
    let plan = |words: &str| {
        let mut command = Command::new(std::env::current_exe().expect("a program"));
        command.args(["--exact", "command_line_in_a_process", "--nocapture"]).env("FAKE_COMMAND_LINE", words);
        let output = command.current_dir(folder.path()).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = plan("plan s.yaml");
    let row = |title: &str| {
        let line =
            text.lines().find(|line| line.starts_with(title)).unwrap_or_else(|| panic!("{title}: {text}"));
        line[title.len()..].split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("model"), "good.a good.a good.b");
    assert_eq!(row("maxInputLen"), "64 128 64");
    assert_eq!(row("weights.linear"), "48.0 MiB 48.0 MiB 48.0 MiB");
    assert_eq!(row("program"), "4.0 MiB 4.0 MiB 4.0 MiB");
    assert_eq!(row("total"), "52.0 MiB 52.0 MiB 52.0 MiB");
    assert_eq!(row("budget"), "none none 1024.0 MiB");
    assert_eq!(row("excluded:"), "model=good.b maxInputLen=128 (too long)");
    assert_eq!(row("estimated time:"), "unknown");
    let json = plan("plan s.yaml --json");
    let json = &json[json.find("{\n").expect("an object")..];
    let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(json["cells"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["cells"][0]["total_bytes"], 52 << 20);
    assert_eq!(json["cells"][0]["trial_ms"], serde_json::Value::Null);
    assert!(!folder.path().join("reports").exists());
}
