//! `sweep baseline`, `sweep compare`, `sweep explain CELL` and `--baseline`, as they are typed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use harness::record::{Reading, Run};
use ledger::{BufferClass, Bytes, Phase};
use sample_run::{Fate, Model, for_each_trial, run_of, write};
use serde_json::Value;

fn sweep(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sweep")).args(arguments).current_dir(folder).output().unwrap()
}

/// What was answered, after a check of the exit code.
#[track_caller]
fn answer(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = sweep(folder, arguments);
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{error}");
    out + &error
}

fn run() -> Run {
    let mut run = run_of(&[(Model::Qwen3, 1024, Fate::Completes), (Model::Qwen35, 4096, Fate::Completes)]);
    run.record.budgets.clear();
    run.record.exit_code = Some(0);
    run
}

/// The same with 64 MiB more in `rollback` of the hybrid cell: in plan, ledger and process.
fn planted() -> Run {
    let mut run = run();
    for_each_trial(&mut run, |trial| {
        if trial.record.cell.model != Model::Qwen35.name() {
            return;
        }
        let plan = trial.record.plan.as_mut().unwrap();
        let state =
            plan.buffers.iter().position(|buffer| buffer.class == BufferClass::RecurrentState).unwrap();
        let mut buffer = plan.buffers[state].clone();
        (buffer.class, buffer.bytes, buffer.layer) = (BufferClass::Rollback, Bytes::mib(64), None);
        buffer.name = "updates".to_owned();
        let Reading::Measured(ledger) = &mut trial.record.ledger else { unreachable!() };
        let mut entry = ledger.entries[state].clone();
        (entry.key, entry.class, entry.peak) = (buffer.key(), BufferClass::Rollback, Bytes::mib(64));
        ledger.entries.push(entry);
        plan.buffers.push(buffer);
        for phase in trial.record.phases.iter_mut().filter(|phase| phase.phase != Phase::Idle) {
            if let Reading::Measured(peak) = &mut phase.peak_resident_bytes {
                *peak += Bytes::mib(64);
            }
            if let Reading::Measured(classes) = &mut phase.end.by_class_bytes {
                classes.insert(BufferClass::Rollback, Bytes::mib(64));
            }
            if let Reading::Measured(resident) = &mut phase.end.resident {
                resident.anonymous_bytes += Bytes::mib(64);
            }
        }
    });
    run
}

#[test]
fn from_a_run_to_a_baseline_to_the_buffer_that_grew() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(&run(), &here.join("reports/runs/before"));
    write(&planted(), &here.join("reports/runs/after"));

    let refused = answer(here, 2, &["baseline", "status", "before"]);
    assert!(refused.contains("there is no baseline for cortex-a78ae"), "{refused}");
    let promoted = answer(here, 0, &["baseline", "promote", "before"]);
    assert!(promoted.contains("reports/baselines/cortex-a78ae.json: 2 cells of quick locked"), "{promoted}");
    let file = here.join("reports/baselines/cortex-a78ae.json");
    let first = fs::read(&file).unwrap();
    answer(here, 0, &["baseline", "promote", "before"]);
    assert_eq!(fs::read(&file).unwrap(), first, "promoting a run again changes nothing");

    let status = answer(here, 0, &["baseline", "status", "after"]);
    assert!(status.contains("qwen3-4b maxInputLen=1024") && status.contains("locked"), "{status}");
    assert!(status.contains("stale: 1 buffer differs"), "{status}");
    let diff = answer(here, 0, &["baseline", "diff", "after"]);
    assert!(diff.contains("target/rollback/updates"), "{diff}");
    assert!(diff.contains("+64.0 MiB"), "{diff}");

    let baseline = file.to_str().unwrap();
    let checked = answer(here, 3, &["check", "after", "--baseline", baseline]);
    assert!(checked.contains("FAIL (regression)") && checked.contains("rollback"), "{checked}");
    answer(here, 0, &["check", "before", "--baseline", baseline]);
    answer(here, 0, &["check", "after"]);
    answer(here, 0, &["report", "after", "--baseline", baseline]);
    answer(here, 3, &["check", "after"]);

    let cell = "qwen3.5-4b, maxInputLen 4096";
    let explained = answer(here, 0, &["explain", cell, "--run", "after"]);
    assert!(
        explained.contains("responsible: target/rollback/updates is new and takes 64.0 MiB"),
        "{explained}"
    );
    let unknown = answer(here, 2, &["explain", "nothing", "--run", "after"]);
    assert!(unknown.contains(cell), "its cells are named: {unknown}");
    let json: Value =
        serde_json::from_str(&answer(here, 0, &["explain", cell, "--run", "after", "--json"])).unwrap();
    assert_eq!(json["comparison"]["buffers"][0]["class"], "rollback");

    let refused = answer(here, 2, &["baseline", "promote", "after"]);
    assert!(refused.contains("+64.0 MiB") && refused.contains("--force"), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), first, "a refusal changes nothing");
    answer(here, 0, &["baseline", "promote", "after", "--force"]);
    assert!(answer(here, 0, &["check", "after", "--baseline", baseline]).contains("PASS"));
    assert!(answer(here, 0, &["check", "before", "--baseline", baseline]).contains("IMPROVED"));
    assert!(answer(here, 2, &["baseline", "promote", "after", "--board", "../x"]).contains("no name"));
}

#[test]
fn two_runs_are_compared_and_the_worst_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(&run(), &here.join("reports/runs/before"));
    write(&planted(), &here.join("reports/runs/after"));
    let compared = answer(here, 3, &["compare", "before", "after"]);
    let worst = compared.lines().nth(1).unwrap();
    assert!(
        worst.starts_with("FAIL (regression)") && worst.contains("target/rollback/updates"),
        "{compared}"
    );
    let json: Value =
        serde_json::from_str(&answer(here, 3, &["compare", "before", "after", "--json"])).unwrap();
    assert_eq!((&json["word"], &json["exit_code"]), (&Value::from("FAIL (regression)"), &Value::from(3)));
    assert!(answer(here, 0, &["compare", "after", "before"]).contains("IMPROVED"));
    answer(here, 0, &["compare", "before", "before"]);
    answer(here, 2, &["compare", "before"]);
    answer(here, 2, &["compare", "before", "after", "--paired"]);
}

const SCENARIO: &str = "
name: pairs
why: Two builds side by side.
models:
  dense: {checkpoint: DENSE}
settings: {maxKVCacheCapacity: 512, threads: 1}
axes:
  grid: {model: [dense], maxInputLen: [128]}
target: builtin
trials: 1
floor: {tolerance: 64 GiB}
phases:
  - idle:    {for: 50 ms, timeout: 20 s}
  - load:    {timeout: 60 s}
  - prefill: {promptTokens: 50, timeout: 60 s}
  - decode:  {outputTokens: 8, timeout: 60 s}
  - settle:  {for: 50 ms, timeout: 20 s}
  - unload:  {timeout: 20 s}
";

#[test]
fn two_builds_run_in_pairs_and_can_be_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let checkpoint = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/checkpoints/dense-awq");
    fs::write(here.join("pairs.yaml"), SCENARIO.replace("DENSE", checkpoint)).unwrap();
    let build = env!("CARGO_BIN_EXE_sweep");
    let said = answer(here, 0, &["compare", "--paired", build, build, "pairs.yaml", "--pairs", "2"]);
    assert!(said.contains("held against") && said.contains("in pairs"), "{said}");
    let mut runs: Vec<_> =
        fs::read_dir(here.join("reports/runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    let [a, b] = runs.as_slice() else { panic!("{runs:?}") };
    let (a, b) = (Run::load(a).unwrap(), Run::load(b).unwrap());
    assert_eq!((a.trials.len(), b.trials.len()), (2, 2));
    let started = |run: &Run, trial: usize| run.trials[trial].record.started_at.clone();
    let order = [started(&a, 0), started(&b, 0), started(&b, 1), started(&a, 1)];
    assert!(order.is_sorted(), "A B B A: {order:?}");
    let again = answer(here, 0, &["compare", a.folder.to_str().unwrap(), b.folder.to_str().unwrap()]);
    assert!(again.contains("in pairs"), "{again}");
}
