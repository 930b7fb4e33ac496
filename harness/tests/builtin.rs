//! The whole program on the built-in runtime, with a small committed checkpoint.

#![expect(clippy::unwrap_used, reason = "where the program cannot be run, the test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn checkpoint(name: &str) -> PathBuf {
    root().join("fixtures/checkpoints").join(name)
}

fn sweep(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sweep")).args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SCENARIO: &str = "
name: small
why: The pipeline on a model that takes milliseconds.
models:
  dense:  {checkpoint: DENSE}
  hybrid: {checkpoint: HYBRID}
settings: {maxKVCacheCapacity: 512, threads: 1}
axes:
  grid:
    model: [dense, hybrid]
    maxInputLen: [128, 400]
    gdnPrefillMaxSeq: [64, 128]
target: builtin
trials: 1
floor: {tolerance: 64 GiB}
phases:
  - idle:    {for: 100 ms, timeout: 10 s}
  - load:    {timeout: 30 s}
  - prefill: {promptTokens: 100, timeout: 30 s}
  - decode:  {outputTokens: 8, timeout: 30 s}
  - settle:  {for: 100 ms, timeout: 10 s}
  - unload:  {timeout: 10 s}
budgets:
  - {id: total, total: {fail: 64 MiB}, why: A model of a megabyte leaves the program itself.}
  - {id: kv, class: kv_cache, bytes: {fail: 1 MiB}, why: Two blocks of 64 tokens.}
";

/// Runs a verb whose answer is JSON.
fn answered(arguments: &[&str], folder: &Path) -> Value {
    let output = sweep(arguments, folder);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The plan and the verdict of a scenario that is planned, run and passed.
fn planned_and_run(scenario: &str, folder: &Path) -> (Value, Value) {
    std::fs::write(folder.join("small.yaml"), scenario).unwrap();
    let answer = |verb| answered(&[verb, "small.yaml", "--json"], folder);
    (answer("plan"), answer("run"))
}

#[test]
fn a_scenario_runs_is_judged_and_leaves_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = SCENARIO
        .replace("DENSE", checkpoint("dense-awq").to_str().unwrap())
        .replace("HYBRID", checkpoint("hybrid-awq").to_str().unwrap());
    let (planned, verdict) = planned_and_run(&scenario, folder.path());
    let cells = verdict["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 8);
    for cell in cells {
        assert_eq!(cell["plan_mismatch_bytes"], json!({"measured": 0}), "{cell}");
    }

    let runs: Vec<_> = std::fs::read_dir(folder.path().join("reports/runs")).unwrap().collect();
    let run = runs[0].as_ref().unwrap().path();
    for name in ["report.html", "cells.csv", "run.json", "verdict.json"] {
        assert!(run.join(name).is_file(), "{name}");
    }
    for cell in planned["cells"].as_array().unwrap() {
        let id = cell["cell"]["id"].as_str().unwrap();
        let record = std::fs::read(run.join(format!("trials/{id}-0.json"))).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        let predicted = &cell["by_class_bytes"]["weights.linear"];
        for phase in ["load", "prefill", "decode", "settle"] {
            let phases = record["phases"].as_array().unwrap();
            let end = &phases.iter().find(|entry| entry["phase"] == phase).unwrap()["end"];
            assert_eq!(&end["by_class_bytes"]["measured"]["weights.linear"], predicted, "{phase}");
        }
    }
}

#[test]
fn a_cache_in_bytes_is_planned_served_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = SCENARIO
        .replace("  dense:  {checkpoint: DENSE}\n", "")
        .replace("HYBRID", checkpoint("hybrid-awq").to_str().unwrap())
        .replace("model: [dense, hybrid]", "kvCacheType: [f16, int8]")
        .replace("    maxInputLen: [128, 400]\n    gdnPrefillMaxSeq: [64, 128]\n", "");
    let scenario = scenario.replace("settings: {", "settings: {maxInputLen: 128, ");
    let (planned, verdict) = planned_and_run(&scenario, folder.path());
    // 108 tokens are two blocks, two heads of 64 each, in keys and in values; both in whole pages.
    let pages = |vector: u64| (2 * 128 * 2 * vector).next_multiple_of(4096);
    for (cell, bytes) in planned["cells"].as_array().unwrap().iter().zip([pages(128), pages(64 + 4)]) {
        assert_eq!(cell["by_class_bytes"]["kv_cache"], json!(bytes), "{cell}");
    }
    for cell in verdict["cells"].as_array().unwrap() {
        assert_eq!(cell["plan_mismatch_bytes"], json!({"measured": 0}), "{cell}");
    }
}

#[test]
fn an_engine_of_synthetic_weights_is_labelled_however_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint("dense-awq");
    let built =
        sweep(&["build", "--checkpoint", path.to_str().unwrap(), "--output", "engine"], folder.path());
    assert!(built.status.success(), "{}", text(&built.stderr));
    let scenario = SCENARIO
        .replace("{checkpoint: DENSE}", "{engine: engine}")
        .replace("{checkpoint: HYBRID}", "{engine: engine}");
    std::fs::write(folder.path().join("small.yaml"), scenario).unwrap();
    let labelled = || {
        let planned = sweep(&["plan", "small.yaml", "--json"], folder.path());
        let planned: Value = serde_json::from_slice(&planned.stdout).unwrap();
        planned["cells"][0]["cell"]["synthetic_weights"].as_bool().unwrap()
    };
    assert!(!labelled());
    let manifest = folder.path().join("engine/manifest.json");
    let mut changed: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    changed["source"] = json!({"synthetic": {"recipe": "a seed"}});
    std::fs::write(&manifest, changed.to_string()).unwrap();
    assert!(labelled());
}

#[test]
fn scores_are_those_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint("hybrid-ct");
    let reference: Value =
        serde_json::from_slice(&std::fs::read(path.join("reference.json")).unwrap()).unwrap();
    let prompt = &reference["prompts"][0];
    let listed =
        |ids: &Value| ids.as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join(",");
    let ids = listed(&prompt["ids"]);
    let arguments = ["logits", "--checkpoint", path.to_str().unwrap(), "--ids", &ids, "--json"];
    let greedy = sweep(&[&arguments[..], &["--steps", "16"]].concat(), folder.path());
    let greedy: Value = serde_json::from_slice(&greedy.stdout).unwrap();
    assert_eq!(greedy["ids"], prompt["greedy"]);

    let forced = listed(&prompt["greedy"]);
    let chunked = ["--force", &forced, "--prefill-chunk", "3", "--precision", "fast"];
    let forced = sweep(&[&arguments[..], &chunked].concat(), folder.path());
    let forced: Value = serde_json::from_slice(&forced.stdout).unwrap();
    assert_eq!(forced["steps"].as_array().unwrap().len(), 16);
    assert_eq!(forced["ids"], prompt["greedy"]);
    let pairs = forced["greedy"].as_array().unwrap().iter().zip(prompt["greedy"].as_array().unwrap());
    assert!(pairs.filter(|(found, expected)| found == expected).count() >= 14);
}

/// The ids that a list in JSON holds.
fn ids(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

#[test]
fn rows_are_chosen_from_a_corpus_and_built_into_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint("hybrid-ct");
    let path = path.to_str().unwrap();
    let corpus = root().join("fixtures/recipe/corpus.txt");
    let trim = ["trim", "--checkpoint", path, "--corpus", corpus.to_str().unwrap(), "--rows"];
    let trimmed = answered(&[&trim[..], &["400", "-o", "map.safetensors", "--json"]].concat(), folder.path());
    assert_eq!((&trimmed["rows"], &trimmed["original_rows"]), (&json!(400), &json!(576)));
    assert_eq!(trimmed["always_kept"], 261);
    let count = |name: &str| trimmed[name].as_u64().unwrap();
    assert!(count("covered_tokens") < count("corpus_tokens"), "{trimmed}");
    assert!(count("covered_tokens") > count("corpus_tokens") * 3 / 4, "{trimmed}");
    assert!(count("reencoded_tokens") > count("corpus_tokens"), "{trimmed}");
    // 176 rows of 128 columns: bytes with a scale, nibbles with a scale and half a byte of zero point, halves.
    assert_eq!(trimmed["saved_bytes"], json!({"int8": 176 * 130, "int4": 176 * 66 + 88, "f16": 176 * 256}));
    let all = answered(&[&trim[..], &["1k", "-o", "all.safetensors", "--json"]].concat(), folder.path());
    assert_eq!((&all["rows"], &all["corpus_tokens"]), (&json!(576), &all["reencoded_tokens"]));
    let shown = sweep(&[&trim[..], &["400"]].concat(), folder.path());
    let shown = text(&shown.stdout);
    assert!(
        shown.starts_with("vocab_map.safetensors: 400 of 576 rows, 261 of them whatever the corpus\n"),
        "{shown}"
    );
    let files =
        ["vocab_map.safetensors", "map.safetensors"].map(|name| std::fs::read(folder.path().join(name)));
    assert_eq!(files[0].as_ref().unwrap(), files[1].as_ref().unwrap());

    let logits = ["logits", "--checkpoint", path, "--ids", "3,5,7", "--steps", "3", "--json"];
    let whole = answered(&logits, folder.path());
    let trimmed = answered(&[&logits[..], &["--vocab", "map.safetensors"]].concat(), folder.path());
    let kept = ids(&trimmed["kept_ids"]);
    assert_eq!((kept.len(), whole.get("kept_ids")), (400, None));
    for (row, id) in kept.iter().enumerate() {
        assert_eq!(trimmed["prompt_logits"][row], whole["prompt_logits"][*id as usize], "id {id}");
    }
    assert!(ids(&trimmed["greedy"]).iter().all(|id| kept.contains(id)));
    let dropped = (0..555).find(|id| !kept.contains(id)).unwrap().to_string();
    let forced =
        ["logits", "--checkpoint", path, "--vocab", "map.safetensors", "--ids", "3", "--force", &dropped];
    let refused = sweep(&forced, folder.path());
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    let refused = text(&refused.stderr);
    assert!(refused.contains(&format!("token id {dropped} is not in this engine")), "{refused}");
}

#[test]
fn a_vocabulary_that_cannot_be_trimmed_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint("hybrid-ct");
    let path = path.to_str().unwrap();
    std::fs::write(folder.path().join("other.txt"), "5\n2000\n").unwrap();
    std::fs::write(folder.path().join("empty.txt"), "").unwrap();
    std::fs::write(folder.path().join("bytes.txt"), b"a\xff").unwrap();
    let build = |vocab: &str| sweep(&["build", "--checkpoint", path, "--vocab", vocab], folder.path());
    let trim = |corpus: &str| {
        sweep(&["trim", "--checkpoint", path, "--corpus", corpus, "--rows", "300"], folder.path())
    };
    for (output, expected) in [
        (build("fulll"), "full, a number of rows such as 32k, or a file of ids"),
        (build("other.txt"), "other.txt: it lists 2000, and ids of this model are below 576"),
        (build("none.txt"), "read the vocabulary map none.txt: No such file"),
        (trim("none.txt"), "open the corpus none.txt: No such file"),
        (trim("empty.txt"), "the corpus has no tokens"),
        (trim("bytes.txt"), "the corpus bytes.txt is not UTF-8 at byte 1"),
    ] {
        assert!(!output.status.success());
        let error = text(&output.stderr);
        assert!(error.contains(expected), "{error}");
    }
    assert!(!folder.path().join("vocab_map.safetensors").exists());
}

#[test]
fn a_file_of_ids_is_part_of_an_engines_name_by_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint("hybrid-ct");
    let build = |ids: &str| {
        std::fs::write(folder.path().join("ids.txt"), ids).unwrap();
        let arguments = ["build", "--checkpoint", path.to_str().unwrap(), "--vocab", "ids.txt"];
        let output = sweep(&arguments, folder.path());
        text(&output.stdout).split_once(": ").unwrap().0.to_owned()
    };
    let first = build("300\n");
    assert_eq!(build("300\n"), first);
    assert_ne!(build("300\n301\n"), first);
}

/// A served engine, killed when the test ends.
struct Served {
    process: Child,
    address: String,
}

impl Served {
    fn start(name: &str, more: &[&str], folder: &Path) -> Served {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sweep"))
            .args(["serve", "--port", "0", "--model-id", "small", "--max-input-len", "256", "--checkpoint"])
            .arg(checkpoint(name))
            .args(more)
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().strip_prefix("listening on http://").map(str::to_owned))
            .unwrap();
        let served = Served { process, address };
        while served.ask("GET", "/health", None).0 != 200 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        served
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_checkpoint_is_served_with_its_text_and_its_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start("hybrid-awq", &[], folder.path());
    let reference = std::fs::read(checkpoint("hybrid-awq").join("reference.json")).unwrap();
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let prompt = &reference["prompts"][0];

    let request = json!({"model": "small", "prompt": prompt["ids"], "max_tokens": 4, "temperature": 0, "ignore_eos": true});
    let (status, answer) = served.ask("POST", "/v1/completions", Some(request));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");

    let chat = json!({"model": "small", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3, "temperature": 0.8, "seed": 5});
    let first = served.ask("POST", "/v1/chat/completions", Some(chat.clone()));
    assert_eq!(first.0, 200, "{}", first.1);
    let second = served.ask("POST", "/v1/chat/completions", Some(chat));
    assert_eq!(first.1["choices"], second.1["choices"], "one seed, one text");

    let long: Vec<u32> = vec![5; 300];
    let request = json!({"model": "small", "prompt": long, "max_tokens": 1});
    let (status, answer) = served.ask("POST", "/v1/completions", Some(request));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("context_length_exceeded")), "{answer}");

    let (status, memory) = served.ask("GET", "/v1/memory", None);
    assert_eq!(status, 200);
    let held = |class: &str| memory["by_class_bytes"][class].as_u64().unwrap_or(0);
    assert!(held("weights.linear") > 0 && held("tokenizer") > 0 && held("program") > 0, "{memory}");
    assert_eq!(held("kv_cache"), 0, "no sequence is open");
    let peaks = memory["ledger"]["entries"].as_array().unwrap();
    assert!(peaks.iter().any(|entry| entry["class"] == "kv_cache" && entry["peak"].as_u64().unwrap() > 0));
}

#[test]
fn a_trimmed_engine_speaks_the_ids_of_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start("hybrid-awq", &["--vocab", "300"], folder.path());
    let ask = |body: Value| served.ask("POST", "/v1/completions", Some(body));
    // The 256 bytes and five added tokens stay, and the lowest of the others up to 300.
    let kept = |id: u64| id < 295 || (555..560).contains(&id);
    let (status, answer) = ask(
        json!({"prompt": "Hello <think> κόσμε 世界", "max_tokens": 12, "temperature": 1.5, "seed": 3, "ignore_eos": true}),
    );
    assert_eq!(status, 200, "{answer}");
    let made = ids(&answer["choices"][0]["token_ids"]);
    assert!(made.len() == 12 && made.iter().all(|id| kept(*id)), "{answer}");

    assert_eq!(ask(json!({"prompt": [5, 559, 294], "max_tokens": 1})).0, 200);
    let (status, answer) = ask(json!({"prompt": [5, 400, 7], "max_tokens": 1}));
    assert_eq!(status, 400);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("token id 400 is not in this engine, whose vocabulary was trimmed to 300 entries"),
        "{message}"
    );
    let (status, answer) = ask(json!({"prompt": [576], "max_tokens": 1}));
    assert_eq!(status, 400);
    assert!(answer["error"]["message"].as_str().unwrap().contains("ids are below 576"), "{answer}");

    let (_, memory) = served.ask("GET", "/v1/memory", None);
    let entries = memory["ledger"]["entries"].as_array().unwrap();
    let map = entries.iter().find(|entry| entry["key"] == "target/tokenizer/vocab_map").unwrap();
    assert_eq!((&map["class"], &map["now"]), (&json!("tokenizer"), &json!(4096)));
}

#[test]
fn what_cannot_be_asked_of_an_engine_is_a_mistake_of_usage() {
    let folder = tempfile::tempdir().unwrap();
    let hybrid = checkpoint("hybrid-awq");
    let path = hybrid.to_str().unwrap();
    let refuses = |arguments: &[&str], why: &str| {
        let refused = sweep(arguments, folder.path());
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(why) && !said.contains("listening"), "{arguments:?}: {said}");
    };
    refuses(&["build", "--checkpoint", path, "--vocab", "./none.txt"], "read the vocabulary map ./none.txt");
    let budget = ["serve", "--checkpoint", path, "--port", "0", "--weight-streaming-budget", "1KiB"];
    refuses(&budget, "weightStreamingBudget 1024B is below the floor");
    refuses(&["logits", "--checkpoint", path, "--ids", "1", "--draft", "3"], "--steps");
    // An engine is packed already; what is asked of it here would be passed over in silence.
    for (flag, value) in [("--vocab", "300"), ("--lm-head", "int4"), ("--linears", "int8"), ("--seed", "2")] {
        refuses(&["serve", "--engine", "engines/any", flag, value], "cannot be used with");
    }
    let scenario = SCENARIO
        .replace("DENSE", checkpoint("dense-awq").to_str().unwrap())
        .replace("HYBRID", path)
        .replace("gdnPrefillMaxSeq: [64, 128]", "weightStreamingBudget: [1KiB]");
    std::fs::write(folder.path().join("small.yaml"), scenario).unwrap();
    refuses(
        &["plan", "small.yaml"],
        "weightStreamingBudget=1KiB: weightStreamingBudget 1024B is below the floor",
    );
}

#[test]
fn a_batch_agrees_with_its_plan() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = SCENARIO
        .replace("DENSE", checkpoint("dense-awq").to_str().unwrap())
        .replace("HYBRID", checkpoint("hybrid-awq").to_str().unwrap())
        .replace("gdnPrefillMaxSeq: [64, 128]", "mtp: [false, true]")
        .replace("maxInputLen: [128, 400]", "maxInputLen: [128]")
        .replace("threads: 1", "threads: 1, maxBatchSize: 3");
    std::fs::write(folder.path().join("small.yaml"), scenario).unwrap();
    let verdict = answered(&["run", "small.yaml", "--json"], folder.path());
    for cell in verdict["cells"].as_array().unwrap() {
        assert_eq!(cell["plan_mismatch_bytes"], json!({"measured": 0}), "{cell}");
    }
}

#[test]
fn trimmed_cells_are_planned_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = SCENARIO
        .replace("DENSE", checkpoint("dense-awq").to_str().unwrap())
        .replace("HYBRID", checkpoint("hybrid-awq").to_str().unwrap())
        .replace("gdnPrefillMaxSeq: [64, 128]", "vocab: [full, 320]")
        .replace("maxInputLen: [128, 400]", "maxInputLen: [128]");
    let (planned, verdict) = planned_and_run(&scenario, folder.path());
    for cell in verdict["cells"].as_array().unwrap() {
        assert_eq!(cell["plan_mismatch_bytes"], json!({"measured": 0}), "{cell}");
    }
    // What was planned before anything was built is what is planned of the engines that are there.
    let built = answered(&["plan", "small.yaml", "--json"], folder.path());
    let class =
        |run: &Value, cell: usize, class: &str| run["cells"][cell]["by_class_bytes"][class].as_u64().unwrap();
    for cell in 0..4 {
        assert_eq!(class(&planned, cell, "weights.lm_head"), class(&built, cell, "weights.lm_head"));
    }
    for model in [0, 2] {
        let (whole, trimmed) =
            (class(&built, model, "weights.lm_head"), class(&built, model + 1, "weights.lm_head"));
        assert_eq!(whole - trimmed, 32_768, "256 rows of 130 bytes, in whole pages");
    }
}
