//! The program as people and scripts meet it: what it says, where it says it, and what it answers.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::engines::BuiltinEngines;
use harness::record::{Outcome, Run};
use harness::scenario::{BuildOptions, ModelSource};

fn sweep(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sweep")).args(arguments).current_dir(folder).output().expect("it starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits by itself")
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A scenario whose engine is missing.
const NO_ENGINE: &str = "name: small
why: A test.
models: {a: {engine: no/such/engine}}
axes: {grid: {maxInputLen: [64, 128]}}
target: builtin
trials: 1
phases: [{load: {timeout: 1 s}}, {prefill: {promptTokens: 8, timeout: 1 s}}]
budgets: [{id: total, total: {fail: 1 GiB}, why: a test}]
";

#[test]
fn wrong_commands_and_missing_files_are_usage_errors_with_a_hint() {
    let folder = empty();
    assert_eq!(code(&sweep(folder.path(), &["frobnicate"])), 2);
    assert_eq!(code(&sweep(folder.path(), &["run", "--no-such-flag"])), 2);
    assert_eq!(code(&sweep(folder.path(), &["--help"])), 0);
    let output = sweep(folder.path(), &[]);
    assert_eq!(code(&output), 2);
    let said = error(&output);
    assert!(said.starts_with("error: read the scenario scenarios/quick.yaml: "), "{said}");
    assert!(said.contains("\nhint: "), "{said}");
    assert!(output.stdout.is_empty());
    let output = sweep(folder.path(), &["check"]);
    assert_eq!((code(&output), error(&output).contains("no run")), (2, true));
    for verb in ["check", "report"] {
        let output = sweep(folder.path(), &[verb, "."]);
        assert_eq!((code(&output), error(&output).contains("is this the folder of a run?")), (2, true));
    }
}

#[test]
fn a_mistake_in_a_scenario_is_shown_once_and_where_it_is() {
    let folder = empty();
    std::fs::write(folder.path().join("s.yaml"), NO_ENGINE.replace("trials: 1", "trials: one"))
        .expect("writable");
    for verb in ["run", "plan"] {
        let output = sweep(folder.path(), &[verb, "s.yaml"]);
        let said = error(&output);
        assert_eq!(code(&output), 2);
        assert!(said.contains("--> s.yaml:6:9") && said.contains("6 | trials: one"), "{said}");
        assert_eq!(said.matches("error:").count(), 1, "{said}");
    }
    assert!(!folder.path().join("reports").exists(), "nothing is written for a scenario that cannot run");
}

#[test]
fn the_schema_is_the_committed_one() {
    let output = sweep(empty().path(), &["schema"]);
    assert_eq!(code(&output), 0);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/schema.json");
    assert!(output.stdout == std::fs::read(committed).expect("committed"));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sweep"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((code(&output), error(&output)), (0, String::new()));
}

#[test]
fn a_port_file_that_cannot_be_written_ends_the_server() {
    let folder = empty();
    let arguments = ["serve", "--engine", "x", "--port", "0", "--port-file", "no/such/port"];
    let output = sweep(folder.path(), &arguments);
    assert_eq!(code(&output), 6);
    assert!(error(&output).starts_with("error: write the port file: "), "{}", error(&output));
}

#[test]
fn cells_without_an_engine_make_a_run_incomplete_and_it_can_be_judged_again() {
    let folder = empty();
    std::fs::write(folder.path().join("s.yaml"), NO_ENGINE).expect("writable");
    let output = sweep(folder.path(), &["run", "s.yaml", "--json"]);
    assert_eq!(code(&output), 5, "{}", error(&output));
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(verdict["exit_code"], 5);
    assert!(error(&output).contains("FAILED in load: there is no engine"), "{}", error(&output));

    let runs = std::fs::read_dir(folder.path().join("reports/runs")).expect("a run").flatten();
    let runs: Vec<_> = runs.map(|entry| entry.path()).collect();
    let run = Run::load(&runs[0]).expect("whole");
    assert_eq!((run.record.exit_code, run.trials.len()), (Some(5), 2));
    assert!(run.trials.iter().all(|trial| matches!(trial.record.outcome, Outcome::Failed { .. })));
    assert!(runs[0].join("report.html").is_file());

    assert_eq!(code(&sweep(folder.path(), &["check"])), 5);
    let mut unread = Command::new(env!("CARGO_BIN_EXE_sweep"))
        .arg("check")
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(unread.stdout.take());
    assert_eq!(
        unread.wait().expect("it ends").code(),
        Some(5),
        "the verdict counts even when nobody reads it"
    );
    let name = runs[0].file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(code(&sweep(folder.path(), &["report", &name])), 0);
    let listed = sweep(folder.path(), &["list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains(&name) && listed.contains("incomplete (5)"), "{listed}");

    let output = sweep(folder.path(), &["run", "s.yaml", "--cell", "nonsense"]);
    assert_eq!((code(&output), error(&output).contains("there is no cell `nonsense`")), (2, true));
}

#[test]
fn cells_for_a_device_that_is_missing_are_refused_before_anything_is_run() {
    let folder = empty();
    let scenario = NO_ENGINE.replace("axes:", "settings: {device: \"cuda:4000\"}\naxes:");
    std::fs::write(folder.path().join("s.yaml"), scenario).expect("writable");
    let output = sweep(folder.path(), &["run", "s.yaml"]);
    assert_eq!(code(&output), 6, "{}", error(&output));
    assert!(error(&output).contains("cuda:4000 cannot be used: "), "{}", error(&output));
    assert!(error(&output).contains("\nhint: "), "{}", error(&output));
    assert!(!folder.path().join("reports").exists(), "a run that cannot be made leaves nothing");
}

/// The `name` of each of the values that `sweep explain KNOB --json` printed, and one of its numbers.
fn column<'a>(explained: &'a serde_json::Value, name: &str) -> Vec<(&'a str, f64)> {
    let values = explained["values"].as_array().expect("a list");
    let row = |value: &'a serde_json::Value| {
        (value["value"].as_str().expect("a word"), value[name].as_f64().expect("a number"))
    };
    values.iter().map(row).collect()
}

#[test]
fn a_knob_is_explained_by_bytes_and_divergence_and_the_price_is_kept() {
    let folder = empty();
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/checkpoints/hybrid-ct");
    let checkpoint = checkpoint.to_string_lossy().into_owned();
    let explain = |arguments: &[&str]| sweep(folder.path(), &[&["explain"], arguments].concat());
    let explained = |knob: &str, source: &[&str]| -> serde_json::Value {
        let output = explain(&[&[knob, "--tokens", "24", "--threads", "2", "--json"], source].concat());
        assert_eq!(code(&output), 0, "{}", error(&output));
        serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
    };
    let from = ["--checkpoint", checkpoint.as_str()];

    let cache = explained("kvCacheType", &from);
    // One attention layer, keys and values, 64 blocks of 64 tokens, two heads of 64 values.
    let vectors = f64::from(2 * 4096 * 2);
    assert_eq!(
        column(&cache, "takes_bytes"),
        [("f32", vectors * 256.0), ("f16", vectors * 128.0), ("int8", vectors * 68.0)]
    );
    assert_eq!(
        column(&cache, "saves_bytes"),
        [("f32", 0.0), ("f16", vectors * 128.0), ("int8", vectors * 188.0)]
    );
    let lm_head = explained("lmHead", &from);
    let names =
        |column: &[(&str, f64)]| column.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&column(&lm_head, "saves_bytes")), ["f16", "int8", "int4"]);
    for table in [&cache, &lm_head] {
        assert_eq!((&table["tokens"], &table["synthetic_weights"]), (&24.into(), &false.into()));
        let [saves, mean, largest] =
            ["saves_bytes", "mean_kl_nats", "largest_kl_nats"].map(|name| column(table, name));
        assert_eq!((mean[0].1, largest[0].1), (0.0, 0.0), "nothing diverges from itself");
        assert_eq!(column(table, "top1_agreement")[0].1, 1.0);
        for row in 1..3 {
            assert!(saves[row].1 > saves[row - 1].1, "{saves:?}");
            assert!(mean[row].1 > mean[row - 1].1, "fewer bits cost more: {mean:?}");
            assert!(largest[row].1 >= mean[row].1, "{largest:?}");
        }
    }

    // Whoever chooses values finds what they cost, and only what was measured.
    let engines = BuiltinEngines::new(folder.path().join("engines"));
    let source = ModelSource::Checkpoint(checkpoint.clone());
    let price = |knob: &str, value: &str| engines.quality(&source, &BuildOptions::default(), knob, value);
    for (table, knob) in [(&cache, "kvCacheType"), (&lm_head, "lmHead")] {
        for (value, mean) in column(table, "mean_kl_nats") {
            assert_eq!(price(knob, value).map(|price| price.mean_kl_nats), Some(mean), "{knob} {value}");
        }
    }
    assert_eq!(price("lmHead", "int2"), None);
    assert_eq!(price("weights", "resident"), None);

    // An engine has one head, but its cache can have any type.
    let engine = std::fs::read_dir(folder.path().join("engines")).expect("built").flatten().next();
    let engine = engine.expect("an engine").path().to_string_lossy().into_owned();
    let output = explain(&["lmHead", "--engine", &engine]);
    assert_eq!(code(&output), 2);
    assert!(error(&output).contains("hint: name what it is built from"), "{}", error(&output));
    let output = explain(&[&["lmHead", "--lm-head", "int8"], &from[..]].concat());
    assert_eq!((code(&output), error(&output).contains("hint: leave --lm-head out")), (2, true));
    let cache = explained("kvCacheType", &["--engine", &engine]);
    assert!(column(&cache, "mean_kl_nats")[2].1 > 0.0);
}

#[test]
fn synthetic_weights_are_named_where_quality_is_measured() {
    let folder = empty();
    let checkpoint = small_synthetic();
    let options = runtime::engine_dir::BuildOptions::default();
    let engine = folder.path().join("small");
    let go_on = &mut |_| runtime::engine_dir::BuildFlow::Continue;
    runtime::engine_dir::build(&checkpoint, &options, &engine, 2, go_on).expect("built");
    let output = sweep(folder.path(), &["explain", "kvCacheType", "--engine", "small", "--tokens", "4"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(code(&output), 0, "{}", error(&output));
    assert!(said.starts_with("kvCacheType  takes MiB") && said.contains("\nsynthetic weights: "), "{said}");
}

/// A model of a few layers whose weights come from a seed.
fn small_synthetic() -> runtime::checkpoint::SyntheticCheckpoint {
    let mut config = runtime::config::ModelConfig::published("Qwen3.5-0.8B").expect("known");
    config.layers.truncate(4);
    (config.hidden_size, config.intermediate_size, config.vocab_size) = (128, 256, 300);
    let options = runtime::checkpoint::SyntheticOptions { mtp: false, ..Default::default() };
    runtime::checkpoint::SyntheticCheckpoint::new("small", config, options).expect("possible")
}

#[test]
fn a_device_that_is_not_there_is_an_answer_and_no_reason_not_to_plan() {
    let folder = empty();
    let none = format!("cuda:{}", u32::MAX);
    for verb in [&["serve"][..], &["logits", "--ids", "1"], &["explain", "kvCacheType"]] {
        let output =
            sweep(folder.path(), &[verb, &["--synthetic", "Qwen3.5-0.8B", "--device", &none]].concat());
        let said = error(&output);
        assert_eq!(code(&output), 6, "{said}");
        assert!(said.starts_with(&format!("error: {none} cannot be used: ")), "{said}");
        let output =
            sweep(folder.path(), &[verb, &["--synthetic", "Qwen3.5-0.8B", "--device", "gpu"]].concat());
        assert_eq!((code(&output), error(&output).contains("cuda:1")), (2, true), "{}", error(&output));
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0, "nothing is built in vain");

    let scenario = NO_ENGINE
        .replace("{engine: no/such/engine}", "{synthetic: {architecture: Qwen3.5-0.8B, seed: 1}}")
        .replace("maxInputLen: [64, 128]", &format!("device: [cpu, '{none}']"));
    std::fs::write(folder.path().join("s.yaml"), scenario).expect("writable");
    let output = sweep(folder.path(), &["plan", "s.yaml", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let [cpu, gpu] = &plan["cells"].as_array().expect("cells")[..] else { panic!("two cells: {plan}") };
    assert!(cpu.get("device_bytes").is_none());
    let bytes = |cell: &serde_json::Value, name: &str| cell[name].as_u64().expect("bytes");
    assert!(bytes(gpu, "device_bytes") > bytes(gpu, "total_bytes") / 2, "weights are on the device");
}

fn board(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/boards").join(name).to_string_lossy().into_owned()
}

#[test]
fn the_doctor_says_what_can_be_measured_on_a_recorded_board() {
    let folder = empty();
    let output = sweep(folder.path(), &["doctor", "--root", &board("orin-nano-8gb")]);
    assert_eq!(code(&output), 0, "{}", error(&output));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout));
    let output = sweep(folder.path(), &["doctor", "--root", &board("agx-thor"), "--json"]);
    let diagnosis: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(diagnosis["gpu"]["counted_by"]["measured"], "nvml");
    let output = sweep(folder.path(), &["doctor", "--root", "no/such/machine"]);
    assert_eq!((code(&output), error(&output).contains("open the recorded tree no/such/machine")), (2, true));
}

#[test]
fn the_doctor_reads_this_machine_and_leaves_nothing_behind() {
    let folder = empty();
    let output = sweep(folder.path(), &["doctor", "--json"]);
    assert_eq!(code(&output), 0, "{}", error(&output));
    let diagnosis: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert!(diagnosis["memory"]["available_bytes"]["measured"].as_u64() > Some(0), "{diagnosis}");
    assert_eq!(diagnosis["recorded"], false);
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
}

#[test]
fn a_machine_that_is_not_what_a_scenario_needs_is_refused_before_anything_is_written() {
    let folder = empty();
    let needs = |needs: &str| {
        let text = NO_ENGINE.replace("trials: 1", &format!("trials: 1\nneeds: {needs}"));
        std::fs::write(folder.path().join("s.yaml"), text).expect("writable");
    };
    needs("{availableMemory: 1000 TiB, probes: [system]}");
    let output = sweep(folder.path(), &["run", "s.yaml"]);
    assert_eq!(code(&output), 6, "{}", error(&output));
    assert!(error(&output).contains("needs: availableMemory: 1000.0 TiB: "), "{}", error(&output));
    assert!(!folder.path().join("reports").exists());
    let output = sweep(folder.path(), &["doctor", "s.yaml"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(code(&output), 6);
    assert!(
        said.contains("NOT MET  availableMemory: 1000.0 TiB: ") && said.contains("met      probes: system"),
        "{said}"
    );

    needs("{availableMemory: 1 KiB, probes: [process, system]}");
    assert_eq!(code(&sweep(folder.path(), &["doctor", "s.yaml"])), 0);
    assert_eq!(
        code(&sweep(folder.path(), &["run", "s.yaml"])),
        5,
        "the machine will do, and the engine is missing"
    );

    needs("{swap: none, probes: [power, nvmap]}");
    let on = |name: &str| code(&sweep(folder.path(), &["doctor", "s.yaml", "--root", &board(name)]));
    assert_eq!([on("agx-orin-64gb"), on("orin-nx-16gb"), on("orin-nano-8gb")], [0, 6, 6]);
}
