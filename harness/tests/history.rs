//! `sweep history`: the index over run folders, trends, and the page.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::record::{Reading, Run};
use ledger::{BufferClass, Bytes, Phase};
use sample_run::{Fate, Model, for_each_trial, run_of, set_peak, write};
use serde_json::Value;

/// What was answered, after a check of the exit code.
#[track_caller]
fn sweep(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_sweep")).args(arguments).current_dir(folder).output().unwrap();
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{error}");
    out + &error
}

/// The run of day `day`, with so much more in `rollback` and at the peak.
fn run_on(day: usize, more: Bytes) -> Run {
    let mut run = run_of(&[(Model::Qwen35, 4096, Fate::Completes)]);
    run.record.started_at = format!("2026-05-{day:02}T09:30:00Z");
    run.record.exit_code = Some(0);
    run.record.program_sha256 = format!("{day:064x}");
    for_each_trial(&mut run, |trial| {
        let record = &mut trial.record;
        let plan = record.plan.as_mut().unwrap();
        let state =
            plan.buffers.iter().position(|buffer| buffer.class == BufferClass::RecurrentState).unwrap();
        let mut buffer = plan.buffers[state].clone();
        (buffer.class, buffer.bytes) = (BufferClass::Rollback, Bytes::mib(1) + more);
        buffer.name = "updates".to_owned();
        plan.buffers.push(buffer);
        // Peaks scatter by some KiB from day to day.
        let scatter = Bytes::kib((day * 37 % 11) as u64 * 60);
        set_peak(trial, Phase::Decode, Reading::Measured(Bytes::mib(2700) + scatter + more));
    });
    run
}

fn name_of(day: usize) -> String {
    format!("202605{day:02}T093000.000Z")
}

/// A folder with a run on each of `days`.
fn runs(days: usize, more: impl Fn(usize) -> Bytes) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for day in 1..=days {
        write(&run_on(day, more(day)), &folder.path().join("reports/runs").join(name_of(day)));
    }
    folder
}

fn series(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let asked = [["history", "trend", "--json"].as_slice(), arguments].concat();
    serde_json::from_str(&sweep(folder, 0, &asked)).unwrap()
}

#[test]
fn a_planted_step_is_found_in_planned_and_in_measured_memory() {
    let folder = runs(24, |day| if day > 16 { Bytes::mib(64) } else { Bytes::ZERO });
    let here = folder.path();
    let said = sweep(here, 0, &["history", "trend"]);
    assert!(said.contains("qwen3.5-4b maxInputLen=4096, 24 runs"), "{said}");
    assert!(said.contains("planned rollback: 1.0 → 65.0 MiB"), "{said}");
    assert!(
        said.contains("peak: 2,700.3 → 2,764.3 MiB (+2.4 %) since 2026-05-17, program 0.1.0 (00000000)"),
        "{said}"
    );
    assert!(!said.contains("planned kv_cache"), "classes that never moved are left out: {said}");

    let planned = &series(here, &["--metric", "planned"])[0];
    assert_eq!(planned["change_points"].as_array().unwrap().len(), 1);
    assert_eq!(planned["change_points"][0]["at"], 16);
    assert_eq!(planned["points"].as_array().unwrap().len(), 24);
    assert_eq!(planned["gate_line"]["from_history"], true);
    assert_eq!(series(here, &["--metric", "peak"])[0]["change_points"][0]["at"], 16);
    sweep(here, 2, &["history", "trend", "nothing-like-this"]);
    sweep(here, 2, &["history", "trend", "--metric", "planned nosuch"]);
}

#[test]
fn a_spike_and_a_constant_are_no_change() {
    let folder = runs(24, |day| if day == 12 { Bytes::mib(64) } else { Bytes::ZERO });
    for one in series(folder.path(), &[]) {
        assert_eq!(one["change_points"], Value::Array(Vec::new()), "{}", one["metric"]);
    }
}

#[test]
fn other_conditions_are_another_series() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for day in 1..=12 {
        let mut run = run_on(day, if day > 6 { Bytes::mib(64) } else { Bytes::ZERO });
        if day > 6 {
            run.record.machine.as_mut().unwrap().cpu = "Cortex-A76".to_owned();
        }
        write(&run, &here.join("reports/runs").join(name_of(day)));
    }
    let found = series(here, &["--metric", "planned"]);
    assert_eq!(found.len(), 2);
    for one in &found {
        assert_eq!(one["points"].as_array().unwrap().len(), 6);
        assert_eq!(one["change_points"], Value::Array(Vec::new()), "a step between two machines is none");
    }
    assert_eq!(found[0]["differences"], Value::Array(Vec::new()));
    assert_eq!(found[1]["differences"][0], "machine.cpu was Cortex-A78AE and is Cortex-A76");
}

#[test]
fn the_index_follows_the_folders_and_can_be_made_again_from_nothing() {
    let folder = runs(3, |_| Bytes::ZERO);
    let here = folder.path();
    let points = |here: &Path| series(here, &["--metric", "planned"])[0]["points"].as_array().unwrap().len();
    assert_eq!(points(here), 3);
    write(&run_on(4, Bytes::ZERO), &here.join("reports/runs").join(name_of(4)));
    assert_eq!(points(here), 4, "a new run is taken up");
    fs::remove_dir_all(here.join("reports/runs").join(name_of(1))).unwrap();
    assert_eq!(points(here), 3, "one that is gone goes");
    let mut killed = run_on(5, Bytes::ZERO);
    killed.record.finished_at = None;
    write(&killed, &here.join("reports/runs").join(name_of(5)));
    let said = sweep(here, 0, &["history", "rebuild"]);
    assert!(said.contains("reports/history.sqlite: 3 runs of reports/runs"), "{said}");
    assert!(said.contains(&format!("left out: {}: it did not come to its end", name_of(5))), "{said}");

    let before = series(here, &[]);
    fs::write(here.join("reports/history.sqlite"), "this is no index").unwrap();
    let refused = sweep(here, 6, &["history", "trend"]);
    assert!(refused.contains("hint: `sweep history rebuild`"), "{refused}");
    sweep(here, 0, &["history", "rebuild"]);
    assert_eq!(series(here, &[]), before);
}

#[test]
fn the_page_is_the_same_for_the_same_runs_and_carries_its_numbers() {
    let folder = runs(8, |day| if day > 5 { Bytes::mib(64) } else { Bytes::ZERO });
    let here = folder.path();
    let page = |here: &Path| {
        sweep(here, 0, &["history", "trend", "--html"]);
        fs::read_to_string(here.join("reports/history.html")).unwrap()
    };
    let first = page(here);
    assert_eq!(first, page(here));
    assert!(first.contains("1 of 1 cell went to another level"));
    assert!(first.contains("planned over 8 runs: "), "charts say what they show");
    assert_eq!(first.matches("<svg").count(), first.matches("The numbers behind this chart").count());
    assert!(
        !first.contains("http:") && !first.contains("https:") && !first.contains("<script"),
        "it needs nothing beside itself"
    );
}

/// Writes the page of four weeks to the file that `SWEEP_SAMPLE_HISTORY` names, to be looked at.
#[test]
fn the_page_can_be_looked_at() {
    let folder = runs(24, |day| if day > 16 { Bytes::mib(64) } else { Bytes::ZERO });
    let scratch = folder.path().join("history.html");
    let named = std::env::var("SWEEP_SAMPLE_HISTORY").unwrap_or_else(|_| scratch.display().to_string());
    sweep(folder.path(), 0, &["history", "trend", &format!("--html={named}")]);
    assert!(fs::read_to_string(named).unwrap().contains("24 runs"));
}
