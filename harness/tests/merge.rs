//! Shards of a run make the run that was not divided, and runs of several boards stand side by side, each judged by itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake::sweep::{sweep_on, sweep_shard};
use fake::{FakeEngines, scenario, still_machine};
use harness::merge::{MergeError, merge};
use harness::probe::SystemRoot;
use harness::record::{Boards, Run};
use harness::report;
use harness::scenario::Scenario;
use harness::verdict::{ExitCode, RunVerdict, Word, judge, judge_boards};
use serde_json::Value;

/// What stands in the place of a time.
const TIME: &str = "a time";

/// Four cells that levers and a budget on growth hold against each other, and one that is left out.
fn divided() -> Scenario {
    scenario(&["good"], |text| {
        let alone = "  one_at_a_time:\n    maxInputLen: [64, 128, 32]\n    gdnPrefillMaxSeq: [256, 64]";
        text.replace("    maxInputLen: [64]", alone)
            + "exclude: [{when: {maxInputLen: 32}, why: too short}]\n\
               include: [{name: both, cell: {model: good, maxInputLen: 128, gdnPrefillMaxSeq: 64}, why: a test}]\n\
               budgets:\n\
               \x20 - {id: total, total: {fail: 300 MiB}, why: a test}\n\
               \x20 - {id: long, when: {maxInputLen: 128}, total: {fail: 300 MiB}, why: a test}\n\
               \x20 - {id: slope, growth: {of: total, per: maxInputLen, fail: 1 MiB}, why: a test}\n"
    })
}

fn board(name: &str) -> SystemRoot {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/boards").join(name);
    SystemRoot::recorded(&place).unwrap()
}

/// Ends a run as `sweep run` does.
fn ended((end, _): (harness::sweep::SweepEnd, Vec<String>)) -> PathBuf {
    let mut folder = end.folder;
    let verdict = judge(&Run::load(folder.path()).unwrap());
    folder.finish(harness::clock::wall_clock(), verdict.exit_code.code()).unwrap();
    report::write(folder.path()).unwrap();
    folder.path().to_owned()
}

fn shard(scenario: &Scenario, runs: &Path, shard: &str) -> PathBuf {
    ended(sweep_shard(scenario, runs, shard, &still_machine()))
}

fn verdict_of(folder: &Path) -> RunVerdict {
    judge(&Run::load(folder).unwrap())
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Masks these fields of an object, which must be there.
fn mask(object: &mut Value, fields: &[&str]) {
    for field in fields {
        let value = object.get_mut(field).unwrap_or_else(|| panic!("there is no {field}"));
        assert!(value.is_string(), "{field}: {value}");
        *value = TIME.into();
    }
}

/// The rows of a CSV file without the column `started_at`.
fn rows_without_time(path: PathBuf) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let at = reader.headers().unwrap().iter().position(|column| column == "started_at").unwrap();
    let rows = std::iter::once(reader.headers().unwrap().clone()).chain(reader.records().map(Result::unwrap));
    rows.collect::<Vec<_>>()
        .iter()
        .map(|row| {
            row.iter().enumerate().filter(|(column, _)| *column != at).map(|(_, it)| it.to_owned()).collect()
        })
        .collect()
}

/// The page with the two times of its run, as they stand in `run.json`, masked; nothing else of it is touched.
fn page_without_times(folder: &Path) -> String {
    let record = Run::head(folder).unwrap();
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    let finished = record.finished_at.unwrap();
    assert!(
        page.contains(&format!("<p class=\"when\">fake · {}</p>", record.started_at)),
        "its start is shown"
    );
    page.replace(&format!("fake · {}</p>", record.started_at), TIME)
        .replace(&format!("<dt>Started</dt><dd>{}</dd>", record.started_at), TIME)
        .replace(&format!("<dt>Finished</dt><dd>{finished}</dd>"), TIME)
}

/// Puts the trials of the run `from` in the place of those of `to`: a process is never measured twice to the same byte.
fn give_trials(from: &Path, to: &Path) {
    let mut given = 0;
    for kind in ["trials", "samples", "logs"] {
        for entry in fs::read_dir(to.join(kind)).unwrap() {
            let name = entry.unwrap().file_name();
            fs::remove_file(to.join(kind).join(&name)).unwrap();
            fs::copy(from.join(kind).join(&name), to.join(kind).join(&name)).unwrap();
            given += 1;
        }
    }
    assert!(given > 0, "{} has no trials", to.display());
}

#[test]
fn two_shards_make_the_run_that_was_not_divided() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let scenario = divided();
    let whole = ended(sweep_on(&scenario, &at("whole"), &still_machine()));
    let shards = ["1/2", "2/2"].map(|number| shard(&scenario, &at(&format!("on-{}", &number[..1])), number));

    // A shard is judged by itself, says that it is one, and misses nothing of the other.
    let mut seen = BTreeSet::new();
    for (folder, number) in shards.iter().zip(["1/2", "2/2"]) {
        let verdict = verdict_of(folder);
        assert_eq!((verdict.word, verdict.exit_code), (Word::Pass, ExitCode::Pass), "{:?}", verdict.problems);
        assert_eq!(verdict.shard.unwrap().to_string(), number);
        assert!(verdict.headline.ends_with(&format!("this is shard {number} alone")), "{}", verdict.headline);
        assert_eq!((verdict.cells.len(), verdict.skipped.len()), (2, 1));
        assert!(verdict.cells.iter().all(|cell| seen.insert(cell.cell.clone())), "no cell is in both");
    }
    let undivided: BTreeSet<_> = verdict_of(&whole).cells.into_iter().map(|cell| cell.cell).collect();
    assert_eq!(seen, undivided, "and none is in neither");

    // As they were measured, each on its own.
    let merged = merge(&shards, &at("merged"), Some("real")).unwrap();
    let verdict = verdict_of(&merged);
    assert_eq!((verdict.exit_code, verdict.shard), (ExitCode::Pass, None), "{:?}", verdict.problems);
    let labels = |verdict: &RunVerdict| verdict.levers.iter().map(|lever| lever.label()).collect::<Vec<_>>();
    assert_eq!(labels(&verdict), labels(&verdict_of(&whole)), "levers hold across shards");
    for folder in &shards {
        for entry in fs::read_dir(folder.join("trials")).unwrap() {
            let name = entry.unwrap().file_name();
            let [own, joined] = [folder, &merged].map(|of| fs::read(of.join("trials").join(&name)).unwrap());
            assert!(own == joined, "records are joined as they are");
        }
    }

    // With the same measurements as the run that was not divided, everything is the same but for times.
    shards.iter().for_each(|folder| give_trials(&whole, folder));
    let name = whole.file_name().unwrap().to_str().unwrap();
    let merged = merge(&shards, &at("merged"), Some(name)).unwrap();
    let file = |name: &str| [&whole, &merged].map(|folder| folder.join(name));
    for same in ["summary.md", "junit.xml", "sarif.json"] {
        let [one, other] = file(same).map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(one, other, "{same}");
    }
    let [one, other] = file("cells.csv").map(rows_without_time);
    assert_eq!(one, other);
    let [one, other] = file("verdict.json").map(|path| {
        let mut verdict = json(path);
        mask(&mut verdict, &["started_at"]);
        serde_json::to_string(&verdict).unwrap()
    });
    assert_eq!(one, other);
    let [one, other] = [&whole, &merged].map(|folder| page_without_times(folder));
    assert!(one == other, "the page");
    let [one, other] = file("run.json").map(|path| {
        let mut record = json(path);
        mask(&mut record, &["started_at", "finished_at"]);
        record.as_object_mut().unwrap().shift_remove("merged");
        serde_json::to_string(&record).unwrap()
    });
    assert_eq!(one, other);
    let parts: Vec<String> =
        Run::head(&merged).unwrap().merged.iter().map(|part| part.shard.to_string()).collect();
    assert_eq!(parts, ["1/2", "2/2"]);

    // What is written is written whole: nothing is left beside it.
    let left: BTreeSet<String> = fs::read_dir(at("merged"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, BTreeSet::from([name.to_owned(), "real".to_owned()]));
}

/// What is said of every run on a recorded machine.
const RECORDED_ROOT: &str =
    "the machine's own files were those of a recorded one: nothing here was measured on that board";

#[test]
fn a_shard_that_is_missing_is_named_and_one_without_cells_is_not_missed() {
    let place = tempfile::tempdir().unwrap();
    let two = scenario(&["good.a", "good.b"], |text| text);
    let shards = ["1/3", "2/3", "3/3"].map(|number| shard(&two, place.path(), number));
    let empty = verdict_of(&shards[2]);
    assert_eq!((empty.word, empty.exit_code, empty.cells.len()), (Word::Pass, ExitCode::Pass, 0));
    assert_eq!(empty.headline, "PASS: shard 3/3 has no cells, so there was nothing to run");

    let merged = merge(&shards[1..], place.path(), Some("missing")).unwrap();
    let verdict = verdict_of(&merged);
    assert_eq!((verdict.word, verdict.exit_code), (Word::Incomplete, ExitCode::Incomplete));
    let missing = "shard 1/3 is missing: `sweep run fake --shard 1/3` makes it";
    assert_eq!(verdict.problems, [RECORDED_ROOT, missing]);
    let words: Vec<Word> = verdict.cells.iter().map(|cell| cell.word).collect();
    assert_eq!(
        words,
        [Word::Incomplete, Word::NoBudget],
        "the cell of the missing shard is there, unmeasured"
    );
    assert_eq!(Run::head(&merged).unwrap().exit_code, Some(5));

    let whole = verdict_of(&merge(&shards, place.path(), Some("whole")).unwrap());
    assert_eq!((whole.exit_code, &whole.problems[..]), (ExitCode::Pass, &[RECORDED_ROOT.to_owned()][..]));
}

#[test]
fn what_does_not_belong_together_is_refused_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let two = scenario(&["good.a", "good.b"], |text| text);
    let [first, second] = ["1/2", "2/2"].map(|number| shard(&two, place.path(), number));
    let whole = ended(sweep_on(&two, place.path(), &still_machine()));
    let other = shard(
        &scenario(&["good.a", "good.b"], |text| text.replace("seed: 7", "seed: 8")),
        place.path(),
        "1/2",
    );
    let third = shard(&two, place.path(), "3/3");
    let output = place.path().join("output");
    let refused = |runs: &[&PathBuf]| {
        let runs: Vec<PathBuf> = runs.iter().map(|run| (*run).clone()).collect();
        let error = merge(&runs, &output, None).unwrap_err();
        let said = error.to_string();
        assert!(runs.iter().all(|run| said.contains(run.to_str().unwrap())), "both are named: {said}");
        assert!(!output.exists() || fs::read_dir(&output).unwrap().next().is_none(), "{said}");
        (error, said)
    };
    let (_, said) = refused(&[&first, &other]);
    assert!(said.contains("their scenarios differ: fake (SHA-256 "), "{said}");
    let (error, said) = refused(&[&first, &first]);
    assert!(matches!(error, MergeError::Doubled { .. }) && said.contains("both are shard 1/2"), "{said}");
    let (error, said) = refused(&[&first, &whole]);
    assert!(matches!(error, MergeError::Doubled { .. }) && said.contains("is no shard"), "{said}");
    let (_, said) = refused(&[&first, &third]);
    assert!(said.contains("shards of different divisions: 1/2 and 3/3"), "{said}");
    let (_, said) = refused(&[&whole]);
    assert!(said.contains("no other to join it with"), "{said}");

    // Another build of the program, and cells that were divided otherwise.
    let edited = |folder: &Path, edit: &dyn Fn(&mut Value)| {
        let mut record = json(folder.join("run.json"));
        edit(&mut record);
        fs::write(folder.join("run.json"), record.to_string()).unwrap();
    };
    let before = json(second.join("run.json"));
    edited(&second, &|record| record["program_sha256"] = "another".into());
    let (_, said) = refused(&[&first, &second]);
    assert!(said.contains("two builds of the program"), "{said}");
    edited(&second, &|record| {
        *record = before.clone();
        record["shard"]["elsewhere"][0]["cell"]["id"] = "000000000000".into();
    });
    let (error, said) = refused(&[&first, &second]);
    assert!(
        matches!(error, MergeError::Divided { .. }) && said.contains("were the models the same"),
        "{said}"
    );
    edited(&second, &|record| *record = before.clone());

    for name in ["../x", ".x", "", "a/b"] {
        let error = merge(&[first.clone(), second.clone()], &output, Some(name)).unwrap_err();
        assert!(matches!(error, MergeError::Name(_)), "{error}");
    }
    merge(&[first.clone(), second.clone()], &output, Some("taken")).unwrap();
    let error = merge(&[first, second], &output, Some("taken")).unwrap_err();
    assert!(matches!(error, MergeError::Taken(_)), "{error}");
}

#[test]
fn an_interrupted_shard_is_taken_up_by_the_same_shard_alone() {
    let place = tempfile::tempdir().unwrap();
    let two = scenario(&["good.a", "good.b"], |text| text);
    let (end, _) = sweep_shard(&two, place.path(), "1/2", &still_machine());
    // It has no exit code: as after a kill.
    drop(end);
    let (_, notes) = sweep_shard(&two, place.path(), "2/2", &still_machine());
    assert_eq!(notes[0], "1 cells, 1 trials, resumed: false");
    let (_, notes) = sweep_shard(&two, place.path(), "1/2", &still_machine());
    assert_eq!(notes[0], "1 cells, 1 trials, resumed: true");
}

#[test]
fn boards_stand_side_by_side_and_each_is_judged_by_itself() {
    let place = tempfile::tempdir().unwrap();
    let two = scenario(&["good.a", "good.b"], |text| {
        text + "budgets: [{id: total, total: {fail: 300 MiB}, why: a test}]\n"
    });
    let on = |name: &str, number: &str| ended(sweep_shard(&two, place.path(), number, &board(name)));
    let orin = ended(sweep_on(&two, place.path(), &board("orin-nx-16gb")));
    // Of the other board, one shard is not there.
    let nano = on("orin-nano-8gb", "1/2");
    let merged = merge(&[orin.clone(), nano.clone()], place.path(), Some("boards")).unwrap();

    let boards = Boards::load(&merged).unwrap();
    let verdict = judge_boards(&boards);
    let names: Vec<&str> = verdict.boards.iter().map(|board| board.board.as_str()).collect();
    assert!(names[0].contains("orin-nx") && names[1].contains("orin-nano"), "{names:?}");
    assert_eq!(
        (verdict.word, verdict.exit_code),
        (Word::Incomplete, ExitCode::Incomplete),
        "the worst of both"
    );
    let words: Vec<(Word, ExitCode)> =
        verdict.boards.iter().map(|board| (board.verdict.word, board.verdict.exit_code)).collect();
    assert_eq!(words, [(Word::Pass, ExitCode::Pass), (Word::Incomplete, ExitCode::Incomplete)]);
    let rows = verdict.rows();
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter().all(|row| row.cells.iter().all(Option::is_some)),
        "every cell has a column on each board"
    );

    // No number of one board depends on the other.
    let alone = |verdict: &RunVerdict| serde_json::to_string(verdict).unwrap();
    assert_eq!(alone(&verdict.boards[0].verdict), alone(&verdict_of(&orin)));
    let own = Boards::run_folder(&merged, names[0]);
    assert_eq!(json(own.join("verdict.json")), json(orin.join("verdict.json")));
    assert!(
        fs::read_to_string(own.join("report.html"))
            .unwrap()
            .contains(&format!("sweep report boards/boards/{}", names[0]))
    );

    // Every output has a column, a suite, a run or a name for each.
    let written = json(merged.join("verdict.json"));
    assert_eq!(written["exit_code"], 5);
    assert_eq!(written["boards"][1]["verdict"]["cells"].as_array().map(Vec::len), Some(2));
    let rows = rows_without_time(merged.join("cells.csv"));
    let column = rows[0].iter().position(|column| column == "board").unwrap();
    let listed: Vec<&str> = rows[1..].iter().map(|row| row[column].as_str()).collect();
    assert_eq!(listed, [names[0], names[1], names[0], names[1]]);
    let text = |name: &str| fs::read_to_string(merged.join(name)).unwrap();
    for name in &names {
        assert!(
            text("junit.xml").contains(&format!("<testsuite name=\"{name}: good.a, maxInputLen 64\"")),
            "{}",
            text("junit.xml")
        );
        assert!(text("summary.md").lines().any(|line| line.starts_with("| Cell |") && line.contains(name)));
        assert!(text("report.html").contains(&format!("<th scope=\"col\">{name}</th>")));
        assert!(text("report.html").contains(&format!("href=\"boards/{name}/report.html#cell-")));
        assert!(text("sarif.json").contains(&format!("\"id\": \"{name}/\"")));
    }
    // To be looked at, where `SWEEP_SAMPLE_BOARDS` names a file.
    if let Some(named) = std::env::var_os("SWEEP_SAMPLE_BOARDS") {
        fs::copy(merged.join("report.html"), named).unwrap();
    }
    // Written again from the records alone, it is the same.
    let before =
        ["verdict.json", "cells.csv", "junit.xml", "summary.md", "report.html", "sarif.json"].map(text);
    report::write_boards(&merged).unwrap();
    assert_eq!(
        ["verdict.json", "cells.csv", "junit.xml", "summary.md", "report.html", "sarif.json"].map(text),
        before
    );

    // A verb that is about one run says which there are.
    let error = Run::load(&merged).unwrap_err().to_string();
    assert!(names.iter().all(|name| error.contains(&format!("boards/{name}"))), "{error}");
}

/// Does what the environment says on the command line, with engines that exist.
#[test]
fn command_line_in_a_process() {
    if let Ok(words) = std::env::var("FAKE_COMMAND_LINE") {
        let words = ["sweep"].into_iter().chain(words.split(' ')).map(Into::into).collect::<Vec<_>>();
        std::process::exit(i32::from(harness::cli::main(words, &FakeEngines).code()));
    }
}

fn typed(words: &str, folder: &Path) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "command_line_in_a_process", "--nocapture"]).env("FAKE_COMMAND_LINE", words);
    command.current_dir(folder).output().unwrap()
}

#[test]
fn the_command_line_plans_and_merges_shards() {
    let place = tempfile::tempdir().unwrap();
    let scenario = divided();
    fs::write(place.path().join("s.yaml"), &scenario.text).unwrap();
    let ids = |shard: &str| {
        let output = typed(&format!("plan s.yaml --shard {shard} --json"), place.path());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let plan: Value = serde_json::from_str(&text[text.find("{\n").unwrap()..]).unwrap();
        assert_eq!(plan["shard"], shard);
        let cells = plan["cells"].as_array().unwrap().iter();
        cells.map(|cell| cell["cell"]["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut planned: Vec<String> = ["1/3", "2/3", "3/3"].iter().flat_map(|shard| ids(shard)).collect();
    planned.sort();
    let mut all: Vec<String> = scenario.expand().cells.iter().map(|cell| cell.id.0.clone()).collect();
    all.sort();
    assert_eq!(planned, all, "nothing is missing and nothing doubled");
    assert_eq!(ids("5/5"), Vec::<String>::new());

    for wrong in ["0/3", "4/3", "a/b"] {
        for verb in ["run", "plan"] {
            let output = typed(&format!("{verb} s.yaml --shard {wrong}"), place.path());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(&format!("`{wrong}` is no shard")), "{said}");
        }
    }

    let folders = ["1/2", "2/2"].map(|number| shard(&scenario, &place.path().join("runs"), number));
    let named = folders.each_ref().map(|folder| folder.file_name().unwrap().to_str().unwrap());
    let words = format!("merge {} {} --output runs --name whole", named[0], named[1]);
    let output = typed(&words, place.path());
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("report: runs/whole/report.html"), "{said}");
    let output = typed(&words, place.path());
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = typed("list --output runs", place.path());
    assert!(String::from_utf8_lossy(&listed.stdout).contains("runs/whole"));
}
