//! Runtimes besides the built-in one, each by a stand-in that speaks its protocol and writes its log.

mod fake;

use std::path::Path;

use fake::program::install;
use fake::trial::first_trial;
use fake::{FakeEngines, FakeTarget, edge_llm, llama_server, still_machine};
use harness::engines::{Engine, Progress, engine_of};
use harness::interrupt::Interrupt;
use harness::probe::{LiveMemory, SystemRoot};
use harness::record::{Outcome, Question, Reading, Run, TrialRecord};
use harness::scenario::{Cell, Scenario};
use harness::sweep::{Observer, Sweep, SweepError, run};
use harness::target::{Abilities, Launch, NamedTargets, SettingAnswer, Start, Target, target_of};
use harness::verdict::{ExitCode, Word, judge, table};
use ledger::{BufferClass, Bytes, Phase};

/// Where the stand-ins and their models are.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        install(folder.path(), "llama-server", "fake::llama_server::llama_server");
        install(folder.path(), "python", "fake::edge_llm::edge_llm");
        std::fs::write(folder.path().join("m.gguf"), "GGUF").expect("writable");
        let engine = folder.path().join("engine");
        std::fs::create_dir(&engine).expect("writable");
        std::fs::write(engine.join("llm.engine"), "engine").expect("writable");
        let config = r#"{"hidden_size": 64, "num_hidden_layers": 2, "num_key_value_heads": 1, "head_dim": 32,
            "vocab_size": 512, "builder_config": {"max_input_len": 128, "max_kv_cache_capacity": 192, "max_batch_size": 1}}"#;
        std::fs::write(engine.join("config.json"), config).expect("writable");
        Stage { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A scenario over `targets`, which are lines of YAML, with `change` made to it.
    fn scenario(&self, targets: &str, change: impl Fn(String) -> String) -> Scenario {
        let text = format!(
            "name: beside\nwhy: A test.\nseed: 7\nmodels:\n  good: {{engine: nowhere, gguf: {gguf}, tensorrtEngine: {engine}, \
             served: m}}\n{targets}\naxes: {{grid: {{maxInputLen: [128]}}}}\nsettings: {{maxKVCacheCapacity: 192}}\ntrials: 1\n\
             phases:\n  - idle: {{for: 30 ms, timeout: 10 s}}\n  - load: {{timeout: 20 s}}\n  \
             - prefill: {{promptTokens: 16, requests: 2, timeout: 20 s}}\n  - decode: {{outputTokens: 8, timeout: 20 s}}\n  \
             - settle: {{for: 30 ms, timeout: 10 s}}\n  - unload: {{timeout: 10 s}}\n",
            gguf = self.path("m.gguf"),
            engine = self.path("engine"),
        );
        harness::scenario::parse(Path::new("beside.yaml"), change(text))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn llama(&self) -> String {
        format!("{{llama-server: {{program: {}}}}}", self.path("llama-server"))
    }

    fn edge_llm(&self) -> String {
        let (python, source) = (self.path("python"), self.folder.path().display());
        format!("{{tensorrt-edge-llm: {{python: {python}, source: {source}}}}}")
    }
}

/// Runs the scenario's first cell on `target`.
fn trial_on(target: &dyn Target, scenario: &Scenario) -> TrialRecord {
    let cell = &scenario.expand().cells[0];
    let found = engine_of(&cell.form).expect("not the built-in runtime's");
    let engine: Engine = found.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(target.refusal(cell), None);
    first_trial(scenario, target, &engine, &SystemRoot::live(), &mut |_| {}).record
}

fn trial(scenario: &Scenario) -> TrialRecord {
    trial_on(target_of(&scenario.targets[0].1).expect("it can be made").as_ref(), scenario)
}

fn entered(record: &TrialRecord) -> Vec<Phase> {
    record.phases.iter().map(|phase| phase.phase).collect()
}

fn classes_after(record: &TrialRecord, phase: Phase) -> Vec<(BufferClass, Bytes)> {
    let edge = record.phases.iter().find(|record| record.phase == phase).expect("it was entered");
    edge.end.by_class_bytes.measured().expect("its log says").clone().into_iter().collect()
}

#[test]
fn llama_server_is_counted_by_its_timings_and_accounted_by_its_log() {
    let stage = Stage::new();
    let record = trial(&stage.scenario(&format!("target: {}", stage.llama()), |text| text));
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    assert_eq!(entered(&record), Phase::ALL[1..], "it cannot wait");
    assert_eq!(record.requests.len(), 2);
    let last = &record.requests[1];
    assert_eq!((last.prompt_tokens.0, last.completion_tokens.0), (16, 8), "pieces that were held back count");
    assert_eq!(
        classes_after(&record, Phase::Decode),
        [
            (BufferClass::WeightsLinear, Bytes::mib(llama_server::MODEL_MIB)),
            // 192 tokens of context, as the settings say.
            (BufferClass::KvCache, Bytes::mib(3)),
            (BufferClass::RecurrentState, Bytes::kib(256)),
            (BufferClass::PrefillWorkspace, Bytes::kib(512)),
        ]
    );
    let load = &record.phases[0].end;
    let owned: u64 = load.host_classes().measured().expect("it says").values().map(|bytes| bytes.0).sum();
    let resident = load.resident.measured().expect("alive").total();
    assert_eq!(owned as i64 + load.unaccounted_bytes.measured().expect("both are known"), resident.0 as i64);
    assert!(record.phases[0].peak_resident_bytes.measured() >= Some(&Bytes::mib(llama_server::MODEL_MIB)));
    assert!(record.plan.is_none());
    for (question, what) in [
        (Question::IdlePhase, "idle phase (it loads as it starts)"),
        (Question::MemoryPlan, "memory plan by buffer"),
        (Question::Setting("lmHead".to_owned()), "lmHead"),
    ] {
        let said = record.no_answer(&question).expect("it is not answered");
        assert!(said.starts_with(&format!("not answered by llama-server: {what}")), "{said}");
    }
    assert_eq!(record.no_answer(&Question::Setting("maxKVCacheCapacity".to_owned())), None);
}

#[test]
fn edge_llm_is_asked_one_thing_at_a_time_and_its_streams_are_read_to_the_end() {
    let stage = Stage::new();
    let own = |text: String| text.replace("{outputTokens: 8,", "{promptTokens: 16, outputTokens: 8,");
    let scenario = stage.scenario(&format!("target: {}", stage.edge_llm()), own);
    let record = trial(&scenario);
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    assert_eq!(record.requests.len(), 3);
    let decode = &record.requests[2];
    let pieces = u32::try_from(8 / edge_llm::WORDS_A_PIECE).expect("few");
    assert_eq!(decode.completion_tokens.0, pieces, "without a tokenizer a piece is all that can be counted");
    assert!(record.warnings.iter().any(|warning| warning.contains("no tokenizer is there")));
    assert_eq!(
        classes_after(&record, Phase::Load),
        [
            (BufferClass::WeightsLinear, Bytes::mib(24)),
            (BufferClass::WeightsEmbedding, Bytes::mib(1)),
            (BufferClass::KvCache, Bytes::mib(2)),
            (BufferClass::PrefillWorkspace, Bytes::mib(8)),
        ],
        "what the whole device holds is nobody's class"
    );
    let load = &record.phases[0].end;
    assert_eq!(load.device_class_bytes.values().map(|bytes| bytes.0).sum::<u64>(), Bytes::mib(35).0);
    let resident = load.resident.measured().expect("alive").total();
    assert_eq!(
        load.unaccounted_bytes,
        Reading::Measured(resident.0 as i64),
        "nothing of it is in host memory"
    );
}

#[test]
fn edge_llm_with_a_tokenizer_is_counted_by_it() {
    let stage = Stage::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/checkpoints/hybrid-awq");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let to = Path::new(&stage.path("engine")).join(name);
        std::fs::copy(fixture.join(name), to).expect("the fixture has it");
    }
    let record = trial(&stage.scenario(&format!("target: {}", stage.edge_llm()), |text| text));
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    let last = record.requests.last().expect("it was asked");
    assert_eq!(last.completion_tokens.0, 8, "its small vocabulary has several tokens for a word");
    assert!(last.prompt_tokens.0 > 16, "words are counted as tokens: {}", last.prompt_tokens.0);
    assert!(record.warnings.iter().any(|warning| warning.contains("the model's own tokenizer")));
}

#[test]
#[ignore = "needs python3"]
fn the_launcher_gives_each_version_the_names_that_it_knows() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = folder.path().join("experimental/server");
    std::fs::create_dir_all(&server).expect("writable");
    std::fs::write(folder.path().join("experimental/__init__.py"), "").expect("writable");
    let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/target/tensorrt/launcher.py");
    let started = |parameters: &str| {
        let package = format!(
            "class LLM:\n    def __init__(self, {parameters}):\n        given = dict(locals())\n        del given['self']\n        print(given)\n    def serve(self, host, port):\n        print(host, port)\n"
        );
        std::fs::write(server.join("__init__.py"), package).expect("writable");
        let output = std::process::Command::new("python3")
            .arg(&launcher)
            .env("PYTHONPATH", folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args("--engine-dir e --host h --port 81 --draft-step 3 --verify-tree-size 4".split(' '))
            .output()
            .expect("python3");
        String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr })
            .into_owned()
    };
    for pair in ["eagle_engine_dir", "spec_decode_engine_dir"] {
        let said = started(&format!("engine_dir, {pair}, draft_top_k, draft_step, verify_tree_size"));
        let given = format!(
            "'engine_dir': 'e', '{pair}': 'e', 'draft_top_k': 1, 'draft_step': 3, 'verify_tree_size': 4"
        );
        assert!(said.contains(&given) && said.contains("h 81"), "{said}");
    }
    let said = started("engine_dir, draft_top_k, draft_step, verify_tree_size");
    assert!(said.contains("no parameter spec_decode_engine_dir or eagle_engine_dir"), "{said}");
}

/// The same target, left before its streams end: what would happen without the care that is taken.
struct Careless(Box<dyn Target>);

impl Target for Careless {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn abilities(&self) -> Abilities {
        Abilities { can_hang_up: true, ..self.0.abilities() }
    }

    fn setting(&self, name: &str, value: &str) -> SettingAnswer {
        self.0.setting(name, value)
    }

    fn start(&self, launch: &Launch<'_>) -> std::io::Result<Start> {
        self.0.start(launch)
    }
}

#[test]
fn edge_llm_does_not_survive_a_client_that_hangs_up() {
    let stage = Stage::new();
    let own = |text: String| {
        text.replace("  good:", "  slow:")
            .replace("{promptTokens: 16, requests: 2,", "{promptTokens: 16,")
            .replace("{outputTokens: 8,", "{promptTokens: 16, outputTokens: 8,")
    };
    let scenario = stage.scenario(&format!("target: {}", stage.edge_llm()), own);
    let careless = Careless(target_of(&scenario.targets[0].1).expect("it can be made"));
    let record = trial_on(&careless, &scenario);
    assert!(matches!(record.outcome, Outcome::Crashed { .. }), "{:?}", record.outcome);
    assert!(record.log_tail.iter().any(|line| line.contains("already loaded binary graph")));
}

#[test]
fn a_server_that_runs_already_is_measured_and_left_alone() {
    let stage = Stage::new();
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("free").port();
    let words = ["--model", &stage.path("m.gguf"), "--host", "127.0.0.1", "--ctx-size", "64", "--port"];
    let mut server = std::process::Command::new(stage.path("llama-server"))
        .args(words)
        .arg(port.to_string())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let at = |pid: &str| format!("target: {{openai: {{url: \"http://127.0.0.1:{port}/v1\"{pid}}}}}");
    let known = trial(&stage.scenario(&at(&format!(", pid: {}", server.id())), |text| text));
    let unknown = trial(&stage.scenario(&at(""), |text| text));
    let runs_on = server.try_wait().expect("ours").is_none();
    server.kill().and_then(|()| server.wait()).expect("ours");
    assert!(runs_on, "a server that somebody else has started was ended");

    assert_eq!(known.outcome, Outcome::Completed, "{:?}", known.outcome);
    assert_eq!(entered(&known), Phase::ALL[1..5], "neither idle nor unload are the harness's to have");
    assert!(known.peak_resident().is_some());
    assert_eq!(unknown.outcome, Outcome::Completed);
    assert_eq!(unknown.peak_resident(), None);
    for record in [&known, &unknown] {
        let said = record.no_answer(&Question::Classes).expect("it says nothing");
        assert_eq!(record.phases[0].end.by_class_bytes, Reading::Unavailable(said));
        assert!(record.no_answer(&Question::Unload).is_some());
    }
    let resident = &unknown.phases[0].end.resident;
    assert_eq!(*resident, Reading::Unavailable("nobody said which process is the target's".to_owned()));
}

struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _: &str, _: Option<Bytes>) {}
    fn advance(&self, _: Bytes) {}
    fn end(&self) {}
    fn is_interrupted(&self) -> bool {
        false
    }
}

impl Observer for Quiet {
    fn run_begins(&self, _: &Path, _: usize, _: u32, _: Option<&str>) {}
    fn cell_begins(&self, _: &Cell, _: usize, _: usize) {}
    fn phase_begins(&self, _: Phase, _: &LiveMemory) {}
    fn trial_ends(&self, _: &TrialRecord, _: bool) {}
}

fn sweep(scenario: &Scenario, runs: &Path) -> Result<std::path::PathBuf, SweepError> {
    let targets: NamedTargets = scenario
        .targets
        .iter()
        .map(|(name, kind)| match name.as_str() {
            "builtin" => (name.clone(), Box::new(FakeTarget { can_wait: true }) as Box<dyn Target>),
            _ => (name.clone(), target_of(kind).expect("it can be made")),
        })
        .collect();
    let end = run(Sweep {
        scenario,
        only: &[],
        shard: None,
        runs,
        fresh: true,
        engines: &FakeEngines,
        targets: &targets,
        guardian: None,
        machine: &still_machine(),
        interrupt: &Interrupt::never(),
        observer: &Quiet,
    })?;
    Ok(end.folder.path().to_owned())
}

const BUDGETS: &str = "budgets:
  - {id: total, total: {fail: 4 GiB}, why: A test.}
  - {id: cache, class: kv_cache, bytes: {fail: 16 MiB}, when: {target: llama}, why: A test.}
  - {id: tokenizer, class: tokenizer, bytes: {fail: 1 GiB}, why: A test.}
";

#[test]
fn two_runtimes_stand_beside_each_other_and_what_one_does_not_say_is_no_pass() {
    let stage = Stage::new();
    let targets = format!("targets: {{builtin: builtin, llama: {}}}", stage.llama());
    let beside = |text: String| text.replace("grid: {", "grid: {target: [builtin, llama], ") + BUDGETS;
    let runs = tempfile::tempdir().expect("a folder");
    let folder = sweep(&stage.scenario(&targets, beside), runs.path()).expect("both run");
    let run = Run::load(&folder).expect("a run");
    let verdict = judge(&run);
    let cell = |label: &str| {
        let found = verdict.cells.iter().find(|cell| cell.label.contains(label));
        found.unwrap_or_else(|| panic!("no cell {label} in {:?}", verdict.cells))
    };
    let (builtin, llama) = (cell("target builtin"), cell("target llama"));
    assert_eq!(builtin.word, Word::Pass, "{:?}", builtin.reason);
    assert!(builtin.unanswered.is_empty());
    assert_eq!(llama.word, Word::Inconclusive);
    let budget = |id: &str| llama.budgets.iter().find(|budget| budget.id == id).expect("it is for both").word;
    assert_eq!(
        (budget("total"), budget("cache"), budget("tokenizer")),
        (Word::Pass, Word::Pass, Word::Inconclusive)
    );
    let tokenizer = llama.reason.as_ref().expect("it is no pass");
    assert!(tokenizer.contains("not answered by llama-server"), "{tokenizer}");
    assert!(
        matches!(&llama.planned_peak_bytes, Reading::Unavailable(why) if why.contains("memory plan by buffer"))
    );
    assert_eq!(verdict.exit_code, ExitCode::Inconclusive);

    let shown = table(&verdict);
    assert!(shown.contains("not answered by llama-server: idle phase (it loads as it starts)"), "{shown}");
    harness::report::write(&folder).expect("a report");
    let page = std::fs::read_to_string(folder.join("report.html")).expect("a page");
    assert!(page.contains("not answered by llama-server: idle phase (it loads as it starts)"));
    assert!(page.contains("target llama") && page.contains("target builtin"));
}

#[test]
fn a_budget_on_a_process_that_nobody_knows_is_no_pass() {
    let stage = Stage::new();
    let url = "target: {openai: {url: \"http://127.0.0.1:9\"}}";
    let budget = |text: String| text + "budgets: [{id: total, total: {fail: 4 GiB}, why: A test.}]\n";
    let runs = tempfile::tempdir().expect("a folder");
    let short = |text: String| budget(text.replace("load: {timeout: 20 s}", "load: {timeout: 1 s}"));
    let folder = sweep(&stage.scenario(url, short), runs.path()).expect("it is recorded");
    let verdict = judge(&Run::load(&folder).expect("a run"));
    assert_eq!(verdict.cells[0].budgets[0].word, Word::Inconclusive);
    assert!(verdict.cells[0].peak_resident_bytes.measured().is_none());
}

#[test]
fn a_plan_tells_what_an_engine_directory_holds_and_what_nobody_can_say_before_it_runs() {
    let stage = Stage::new();
    let file = Path::new(&stage.path("engine")).join("llm.engine");
    std::fs::File::create(file).and_then(|file| file.set_len(Bytes::mib(24).0)).expect("sparse");
    let beside = format!("targets: {{edge: {}, llama: {}}}", stage.edge_llm(), stage.llama());
    let scenario = stage.scenario(&beside, |text| text.replace("grid: {", "grid: {target: [edge, llama], "));
    let path = stage.folder.path().join("beside.yaml");
    std::fs::write(&path, &scenario.text).expect("writable");
    let mut plan = std::process::Command::new(env!("CARGO_BIN_EXE_sweep"));
    let plan = plan.args(["plan", "--json"]).arg(&path).output().expect("it runs");
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let edge = &plan["cells"][0];
    assert_eq!(edge["by_class_bytes"]["weights.linear"], Bytes::mib(24).0);
    // 2 layers, keys and values of one head of 32, 192 tokens, 2 B each.
    assert_eq!(edge["by_class_bytes"]["kv_cache"], 2 * 2 * 32 * 192 * 2);
    assert_eq!(edge["by_class_bytes"]["program"], serde_json::Value::Null, "unknown is not nothing");
    assert!(edge["left_out"].as_str().is_some_and(|what| what.contains("execution context")), "{edge}");
    assert_eq!(plan["unplanned"][0]["cell"]["target"], "llama");
    assert_eq!(plan["total_ms"], serde_json::Value::Null);
}

#[test]
fn what_a_target_cannot_do_is_refused_before_anything_runs() {
    let stage = Stage::new();
    let runs = tempfile::tempdir().expect("a folder");
    let said = |targets: &str, from: &str, to: &str| {
        let scenario = stage.scenario(targets, |text| text.replace(from, to));
        let error = sweep(&scenario, runs.path()).expect_err("it cannot").to_string();
        assert_eq!(std::fs::read_dir(runs.path()).expect("ours").count(), 0, "{error}");
        error
    };
    let llama = format!("target: {}", stage.llama());
    let error = said(&llama, "settings: {", "settings: {mtp: true, ");
    assert!(error.contains("llama-server cannot do mtp true"), "{error}");
    let error = said(&llama, "grid: {", "grid: {lmHead: [int8, int4], ");
    assert!(error.contains("the axis lmHead means nothing to llama-server"), "{error}");
    let error = said(&format!("target: {}", stage.edge_llm()), "maxInputLen: [128]", "maxInputLen: [64]");
    assert!(error.contains("was built for maxInputLen 128, not 64"), "{error}");
    let missing = "target: {llama-server: {program: no/such/llama-server}}";
    let error = said(missing, "", "");
    assert!(error.contains("there is no no/such/llama-server"), "{error}");
}
