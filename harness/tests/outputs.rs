//! What stands beside the page: JUnit, SARIF, Markdown and words for a terminal; and what all of them say of one fault.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use harness::baseline::Baseline;
use harness::record::{BudgetLimit, Outcome, Reading, Run};
use harness::report::page::render;
use harness::report::{self, junit::junit, sarif::sarif, summary::summary};
use harness::scenario::Condition;
use harness::verdict::{Word, judge};
use ledger::{BufferClass, Bytes, LedgerEntry, MemoryKind, Phase, Role};
use sample_run::{Fate, Model, for_each_trial, run, run_of, write};

/// What GitHub takes as the summary of a job.
const JOB_SUMMARY: usize = 1 << 20;

/// The most that a report of any size may take.
const SIZE_OF_FOUR_HUNDRED_CELLS: usize = 8_000_000;

const PLANTED: Bytes = Bytes::mib(64);

/// Two cells within their budget but for 64 MiB that `rollback` of the first holds in decode, and nobody planned. 48 of them
/// are over the budget.
fn planted() -> Run {
    let mut run = run_of(&[(Model::Qwen35, 4096, Fate::Completes), (Model::Qwen35, 1024, Fate::Completes)]);
    let before = judge(&run);
    let peak = before.cells.iter().filter_map(|cell| cell.peak_resident_bytes.measured()).max().unwrap();
    run.record.budgets[1].warn = None;
    run.record.budgets[1].fail = Some(BudgetLimit::Bytes(*peak + Bytes::mib(16)));
    let victim = run.record.cells[0].id.clone();
    for_each_trial(&mut run, |trial| {
        if trial.record.cell.id != victim {
            return;
        }
        let phase = trial.record.phases.iter_mut().find(|phase| phase.phase == Phase::Decode).unwrap();
        let Reading::Measured(peak) = &mut phase.peak_resident_bytes else { unreachable!() };
        *peak += PLANTED;
        let Reading::Measured(resident) = &mut phase.end.resident else { unreachable!() };
        resident.anonymous_bytes += PLANTED;
        let Reading::Measured(classes) = &mut phase.end.by_class_bytes else { unreachable!() };
        classes.insert(BufferClass::Rollback, PLANTED);
        let (from, to) = (phase.started_us, phase.ended_us);
        let Reading::Measured(series) = &mut trial.series else { unreachable!() };
        for sample in series.samples.iter_mut().filter(|sample| (from..=to).contains(&sample.at)) {
            sample.anonymous = sample.anonymous.map(|bytes| bytes + PLANTED);
        }
        let Reading::Measured(ledger) = &mut trial.record.ledger else { unreachable!() };
        ledger.entries.push(LedgerEntry {
            key: "target/rollback/3/update_log".to_owned(),
            role: Role::Target,
            class: BufferClass::Rollback,
            layer: Some(3),
            memory: MemoryKind::Host,
            now: Bytes::ZERO,
            peak: PLANTED,
            reserved: PLANTED,
        });
    });
    run
}

fn sweep(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sweep"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("GITHUB_STEP_SUMMARY")
        .output()
        .unwrap()
}

#[test]
fn a_planted_growth_is_named_by_every_output() {
    let folder = tempfile::tempdir().unwrap();
    let run = planted();
    write(&run, folder.path());
    let outputs = report::write(folder.path()).unwrap();
    let verdict = &outputs.verdict;
    assert_eq!((verdict.word, verdict.exit_code.code()), (Word::Fail, 1));
    let behind = verdict.cells[0].leading_budget().unwrap().responsible.clone().unwrap();
    assert_eq!((behind.class, behind.over_plan_bytes), (BufferClass::Rollback, Some(64 << 20)));
    assert_eq!(behind.overage_share, Some(1.0));
    let buffer = behind.buffer.unwrap();
    assert_eq!((buffer.name.as_str(), buffer.bytes, buffer.formula), ("update_log", PLANTED, None));

    // The first screen: what stands before the table of every cell.
    let html = fs::read_to_string(outputs.html).unwrap();
    let (first, rest) = html.split_once("id=\"cells\"").unwrap();
    let (_, first) = first.split_once("id=\"worst\"").unwrap();
    assert!(first.contains("rollback</a>") && first.contains("100 % of the overage"), "{first}");
    assert!(first.contains("update_log"));
    // Where its link leads, the class comes first, unfolded, and its buffer is with it.
    let (_, link) = first.split_once("<td class=\"behind\"").unwrap();
    let link = link.split_once("href=\"#").unwrap().1.split_once('"').unwrap().0;
    let (before, body) = rest.split_once(&format!("<tbody id=\"{link}\" class=\"blamed\">")).unwrap();
    assert!(before.rsplit_once("<details").unwrap().1.contains("--classes\" open>"));
    assert!(body.split_once("</tbody>").unwrap().0.contains("update_log"));

    for (path, said) in [
        (&outputs.junit, "responsible: rollback, 100 % of the overage\nbuffer: update_log (not in the plan)"),
        (
            &outputs.sarif,
            "rollback holds 64.0 MiB after decode, 64.0 MiB more than planned, in the buffer update_log",
        ),
        (&outputs.summary, "| **rollback**, 100 % of the overage |"),
        (&outputs.summary, "| `update_log` | rollback | not planned | 64.0 MiB | +64.0 MiB |"),
    ] {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(said), "{}: {text}", path.display());
    }

    let here = folder.path().to_str().unwrap();
    let id = run.record.cells[0].id.0.as_str();
    let explained = sweep(&["explain", id, "--run", here], folder.path());
    let said = String::from_utf8(explained.stdout).unwrap();
    assert_eq!(explained.status.code(), Some(0), "{said}");
    assert!(said.contains("responsible: rollback, 100 % of the overage: rollback holds 64.0 MiB"), "{said}");
    assert!(said.contains("in the buffer update_log"), "{said}");
    let json = sweep(&["explain", &verdict.cells[0].label, "--run", here, "--json"], folder.path());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["budgets"][0]["responsible"]["buffer"]["name"], "update_log");
}

#[test]
fn a_planted_growth_is_named_against_a_baseline_alone() {
    let mut before =
        run_of(&[(Model::Qwen35, 4096, Fate::Completes), (Model::Qwen35, 1024, Fate::Completes)]);
    let mut run = planted();
    for run in [&mut before, &mut run] {
        run.record.budgets.clear();
    }
    let mut baseline = Baseline::new("a-board".to_owned());
    baseline.take_up(&before);
    run.baseline = Some(baseline);
    let verdict = judge(&run);
    assert_eq!((verdict.word, verdict.exit_code.code()), (Word::Regression, 3));
    assert_eq!(verdict.cells[0].cell, run.record.cells[0].id);

    let html = render(&run, &verdict).unwrap();
    let (first, rest) = html.split_once("id=\"cells\"").unwrap();
    let (_, first) = first.split_once("id=\"worst\"").unwrap();
    for said in ["rollback</a>", "+64.0 MiB against the baseline", "update_log", "FAIL (regression)"] {
        assert!(first.contains(said), "{said}: {first}");
    }
    let (_, body) = rest.split_once("--rollback\" class=\"blamed\">").unwrap();
    assert!(body.split_once("</tbody>").unwrap().0.contains("<td class=\"over\">+64.0</td>"));
    assert!(
        junit(&verdict)
            .unwrap()
            .contains("responsible: target/rollback/3/update_log is new and takes 64.0 MiB")
    );
    let sarif = serde_json::to_string(&sarif(&run, &verdict)).unwrap();
    assert!(sarif.contains("\"ruleId\":\"baseline\"") && sarif.contains("target/rollback/3/update_log"));
    let summary = summary(&run, &verdict);
    let row = "| `target/rollback/3/update_log` | rollback | – | 64.0 MiB | +64.0 MiB |";
    assert!(summary.contains(row), "{summary}");
}

#[test]
fn an_output_can_be_printed_and_a_job_gets_its_summary() {
    let folder = tempfile::tempdir().unwrap();
    write(&planted(), folder.path());
    let here = folder.path().to_str().unwrap();
    for (format, file) in [
        ("html", "report.html"),
        ("csv", "cells.csv"),
        ("json", "verdict.json"),
        ("junit", "junit.xml"),
        ("sarif", "sarif.json"),
        ("markdown", "summary.md"),
    ] {
        let printed = sweep(&["report", here, "--format", format], folder.path());
        assert_eq!(printed.status.code(), Some(0));
        assert!(printed.stdout == fs::read(folder.path().join(file)).unwrap(), "{format}");
    }
    let nowhere = sweep(&["report", here, "--job-summary"], folder.path());
    assert_eq!(nowhere.status.code(), Some(2));
    let file = folder.path().join("job.md");
    fs::write(&file, "before\n").unwrap();
    let written = Command::new(env!("CARGO_BIN_EXE_sweep"))
        .args(["report", here, "--job-summary"])
        .env("GITHUB_STEP_SUMMARY", &file)
        .output()
        .unwrap();
    assert_eq!(written.status.code(), Some(0));
    let summary = fs::read_to_string(folder.path().join("summary.md")).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("before\n{summary}"));
}

/// The elements and attributes that readers of JUnit agree on.
#[test]
fn junit_counts_what_it_lists() {
    let verdict = judge(&run());
    let text = junit(&verdict).unwrap();
    let read = quick_junit::Report::deserialize_from_str(&text).unwrap();
    assert_eq!(read.test_suites.len(), 6);
    let cases = |word: &str| text.matches(word).count();
    let budgets: usize = verdict.cells.iter().map(|cell| cell.budgets.len()).sum();
    assert_eq!(cases("<testcase "), budgets + 6);
    let of_word = |words: &[Word]| {
        verdict
            .cells
            .iter()
            .flat_map(|cell| &cell.budgets)
            .filter(|budget| words.contains(&budget.word))
            .count()
    };
    let incomplete = verdict.cells.iter().filter(|cell| cell.word.is_incomplete()).count();
    let (failures, errors) = (of_word(&[Word::Fail]), of_word(&[Word::Inconclusive]) + incomplete);
    assert!(failures > 0 && errors > 0 && incomplete > 0);
    assert_eq!((cases("<failure "), cases("<error ")), (failures, errors));
    let head = text.split_once("<testsuites ").unwrap().1.split_once('>').unwrap().0;
    let tests = budgets + 6;
    for said in
        [format!("tests=\"{tests}\""), format!("failures=\"{failures}\""), format!("errors=\"{errors}\"")]
    {
        assert!(head.contains(&said), "{head} lacks {said}");
    }
}

/// What SARIF 2.1.0 requires of what is in the file (sections 3.13, 3.14, 3.18, 3.19, 3.27 and 3.30).
#[test]
fn sarif_has_what_its_standard_requires() {
    let run = run();
    let verdict = judge(&run);
    let log = sarif(&run, &verdict);
    assert_eq!(log["version"], "2.1.0");
    let one = &log["runs"][0];
    assert_eq!(one["tool"]["driver"]["name"], "sweep");
    let rules: Vec<&str> = one["tool"]["driver"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    let results = one["results"].as_array().unwrap();
    let unmet = verdict.cells.iter().flat_map(|cell| &cell.budgets).filter(|budget| budget.word > Word::Pass);
    assert_eq!(results.len(), unmet.count());
    let lines: Vec<&str> = run.record.scenario.text.lines().collect();
    let mut found = 0;
    for result in results {
        let id = result["ruleId"].as_str().unwrap();
        assert!(rules.contains(&id) && !result["message"]["text"].as_str().unwrap().is_empty());
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "scenarios/quick.yaml");
        let line = place["region"]["startLine"].as_u64().unwrap() as usize;
        found += usize::from(lines[line - 1].trim() == format!("- id: {id}"));
    }
    assert!(found > 0, "budgets are found at their lines");
}

#[test]
fn hostile_names_stay_names() {
    let long = "x".repeat(10_000);
    let hostile = format!("</script></style>|`a` @all \u{202e}evil\u{1b}[31m ]]> <!-- {long}");
    let mut run = run();
    run.record.scenario.name = hostile.clone();
    run.record.scenario.text = format!("{hostile}\n/home/somebody/secret/place.yaml TOKEN=abc");
    run.record.budgets.iter_mut().for_each(|budget| {
        budget.when = Condition::default();
        budget.id = format!("{hostile}{}", budget.id);
        budget.why.clone_from(&hostile);
    });
    for cell in &mut run.record.cells {
        cell.model.clone_from(&hostile);
        cell.source = "checkpoint /home/somebody/models/q".to_owned();
    }
    for_each_trial(&mut run, |trial| {
        let message = format!("cannot open /home/somebody/models/q/w.bin, HF_TOKEN=hf_abc {hostile}");
        trial.record.log_tail = vec![message.clone(); 50];
        trial.record.outcome = Outcome::Failed { phase: Phase::Decode, message };
        trial.record.plan.as_mut().unwrap().buffers[0].name.clone_from(&hostile);
    });
    let verdict = judge(&run);
    let html = render(&run, &verdict).unwrap();
    assert_eq!(html.matches("</script>").count(), 1);
    assert_eq!(html.matches("</style>").count(), 1);
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
    let junit = junit(&verdict).unwrap();
    let read = quick_junit::Report::deserialize_from_str(&junit).unwrap();
    assert!(read.test_suites[0].name.as_str().contains("</script></style>|`a` @all"));
    let sarif = serde_json::to_string(&sarif(&run, &verdict)).unwrap();
    let summary = summary(&run, &verdict);
    assert!(!summary.contains("</script>") && !summary.contains("@all") && summary.len() < JOB_SUMMARY);
    for text in [&html, &junit, &sarif, &summary] {
        for secret in ["somebody", "hf_abc", "\u{202e}", "\u{1b}"] {
            assert!(!text.contains(secret), "{secret:?}");
        }
    }
    assert!(html.contains("…/w.bin, HF_TOKEN=…") && html.contains("…/place.yaml TOKEN=…"));
}

#[test]
fn four_hundred_cells_stay_within_the_size_that_was_set() {
    let fates =
        [Fate::Completes, Fate::Completes, Fate::Completes, Fate::ProbesMissing, Fate::RunsOutOfMemory];
    let cells: Vec<(Model, u32, Fate)> = (0..400)
        .map(|number| {
            let model = if number % 2 == 0 { Model::Qwen3 } else { Model::Qwen35 };
            (model, 256 + 2 * number as u32, fates[number % fates.len()])
        })
        .collect();
    let run = run_of(&cells);
    let verdict = judge(&run);
    let html = render(&run, &verdict).unwrap();
    assert!(html.len() <= SIZE_OF_FOUR_HUNDRED_CELLS, "{} bytes", html.len());
    assert_eq!(html.matches("<details class=\"cell\"").count(), 400);
    let summary = summary(&run, &verdict);
    assert!(summary.len() < JOB_SUMMARY / 4, "{} bytes", summary.len());
}
