//! `engines.lock` as people meet it: what is built is pinned, what drifted is refused by name.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::lock::{EngineLock, LockedSource};
use harness::scenario::{self, ModelForm, ModelSource};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("it is there")
}

/// A folder with a checkpoint and a lock of its own.
struct Workplace(tempfile::TempDir);

impl Workplace {
    fn new() -> Workplace {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoint = folder.path().join("checkpoint");
        std::fs::create_dir(&checkpoint).expect("ours");
        for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
            let from = repository().join("fixtures/checkpoints/hybrid-awq").join(name);
            std::fs::copy(from, checkpoint.join(name)).expect("a fixture");
        }
        let lock =
            "# Mine.\nformat_version = 1\n\n[[engine]]\nname = \"small\"\nsource = \"path:checkpoint\"\n";
        std::fs::write(folder.path().join("engines.lock"), lock).expect("ours");
        Workplace(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The exit code, and everything that was said.
    fn sweep(&self, line: &str) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sweep"));
        let output = command.args(line.split(' ')).current_dir(self.0.path()).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), said.into_owned())
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.path("engines.lock")).expect("a lock")
    }

    fn change(&self, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let old = std::fs::read(self.path(name)).expect("it is there");
        std::fs::write(self.path(name), change(old)).expect("ours");
    }

    fn replace(&self, name: &str, old: &str, new: &str) {
        self.change(name, |bytes| {
            let text = String::from_utf8(bytes).expect("text");
            assert!(text.contains(old), "{old}: {text}");
            text.replace(old, new).into_bytes()
        });
    }

    /// The state of the only engine, what makes it stale, and what is unpinned.
    fn status(&self) -> (String, String, Vec<String>) {
        let (code, said) = self.sweep("list engines --json");
        assert_eq!(code, 0, "{said}");
        let answer: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(answer["format_version"], 1);
        let engine = &answer["engines"][0];
        let words = |name: &str| -> Vec<String> {
            let words = engine[name].as_array().expect("a list").iter();
            words.map(|word| word.as_str().expect("a text").to_owned()).collect()
        };
        let state = engine["state"].as_str().expect("a state").to_owned();
        (state, words("reasons").join("; "), words("unpinned"))
    }
}

#[test]
fn what_is_built_is_pinned_and_every_drift_is_refused_by_name() {
    let work = Workplace::new();
    let (code, said) = work.sweep("build small --locked");
    assert!(code == 6 && said.contains("`files` is unpinned") && said.contains("hint: "), "{code}: {said}");
    assert_eq!(
        work.status(),
        (
            "missing".to_owned(),
            String::new(),
            vec!["files".to_owned(), "engine_format".to_owned(), "sha256".to_owned()]
        )
    );

    let (code, said) = work.sweep("build small");
    assert!(code == 0 && said.contains("engines.lock has changed"), "{code}: {said}");
    let pinned = work.lock();
    assert!(pinned.starts_with("# Mine.\n"), "{pinned}");
    let built = ("built".to_owned(), String::new(), Vec::new());
    assert_eq!(work.status(), built);
    for line in ["build small", "build small --locked"] {
        let (code, said) = work.sweep(line);
        assert_eq!(code, 0, "{line}: {said}");
        assert_eq!(work.lock(), pinned, "{line}: the same goes in and the same comes out");
    }

    let locked = || work.sweep("build small --locked");
    let refused = |what: &str, words: &str| {
        let (code, said) = locked();
        assert!(code == 6 && said.contains(words) && said.contains("hint: "), "{what}: {code}: {said}");
    };
    let original = std::fs::read(work.path("checkpoint/model.safetensors")).expect("it is there");
    work.change("checkpoint/model.safetensors", |mut bytes| {
        *bytes.last_mut().expect("not empty") ^= 1;
        bytes
    });
    refused("another byte", "model.safetensors of its source has sha256 ");
    work.change("checkpoint/model.safetensors", |mut bytes| {
        bytes.push(0);
        bytes
    });
    refused("another length", "model.safetensors of its source has ");
    let (state, why, _) = work.status();
    assert!(state == "stale" && why.contains("the lock says"), "{state}: {why}");
    std::fs::write(work.path("checkpoint/model.safetensors"), original).expect("ours");

    std::fs::write(work.path("checkpoint/tokenizer_config.json"), "{}").expect("ours");
    refused("a file more", "tokenizer_config.json of its source is not in the lock");
    std::fs::remove_file(work.path("checkpoint/tokenizer_config.json")).expect("ours");
    std::fs::rename(work.path("checkpoint/tokenizer.json"), work.path("kept")).expect("ours");
    refused("a file less", "its source has no tokenizer.json");
    std::fs::rename(work.path("kept"), work.path("checkpoint/tokenizer.json")).expect("ours");

    let (code, said) = work.sweep("build small --locked --lm-head int4");
    assert!(code == 6 && said.contains("lmHead is int4, the lock says int8"), "{code}: {said}");
    work.replace("engines.lock", "engine_format = 2", "engine_format = 1");
    refused("an older format", "format is version 2, the lock says 1");
    std::fs::write(work.path("engines.lock"), &pinned).expect("ours");
    work.replace("engines.lock", "lmHead = \"int8\"", "lmHead = \"int4\"");
    assert_eq!(work.status().0, "stale");
    refused("something else comes out", "the engine has sha256 ");
    std::fs::write(work.path("engines.lock"), &pinned).expect("ours");

    // What is stale, damaged or gone is made again, as it is locked.
    assert_eq!(work.status().0, "stale", "it was built with int4");
    assert_eq!(locked().0, 0);
    work.change("engines/small/weights.bin", |mut bytes| {
        bytes[100] ^= 1;
        bytes
    });
    let (code, said) = locked();
    assert!(code == 0 && said.contains("building small"), "{code}: {said}");
    assert_eq!(work.status(), built);
    assert_eq!(work.lock(), pinned);

    // Without --locked the lock follows.
    let (code, said) = work.sweep("build small --lm-head int4");
    assert!(code == 0 && said.contains("engines.lock has changed"), "{code}: {said}");
    assert!(work.lock().contains("lmHead = \"int4\""), "{}", work.lock());
}

#[test]
fn a_scenario_runs_an_engine_of_the_lock_and_refuses_a_drifted_one() {
    let work = Workplace::new();
    let text = "name: locked
why: A test.
models: {a: {locked: small}}
settings: {maxInputLen: 64, threads: 1}
target: builtin
trials: 1
axes: {grid: {model: [a]}}
phases: [{load: {timeout: 60 s}}, {unload: {timeout: 10 s}}]
budgets: [{id: total, total: {fail: 1 GiB}, why: a test}]
";
    std::fs::write(work.path("s.yaml"), text).expect("ours");
    let (code, said) = work.sweep("plan s.yaml");
    assert_eq!(code, 0, "what it will need is known before anything is pinned: {said}");
    let (code, said) = work.sweep("run s.yaml");
    assert!(code == 5 && said.contains("hint: `sweep build small` builds it and pins"), "{code}: {said}");
    assert_eq!(work.sweep("build small").0, 0);
    std::fs::remove_dir_all(work.path("engines")).expect("ours");
    let (code, said) = work.sweep("run s.yaml");
    assert_eq!(code, 0, "it is built, as it is locked: {said}");
    work.replace("engines.lock", "lmHead = \"int8\"", "lmHead = \"int4\"");
    let (code, said) = work.sweep("run s.yaml --fresh");
    assert!(code == 5 && said.contains("lmHead is int8, the lock says int4"), "{code}: {said}");
    work.replace("s.yaml", "locked: small", "locked: smal");
    let (code, said) = work.sweep("plan s.yaml");
    assert!(code == 2 && said.contains("did you mean `small`?"), "{code}: {said}");
}

#[test]
fn the_lock_of_this_repository_has_the_engines_of_the_default_run() {
    let lock = EngineLock::load(&repository().join("engines.lock")).expect("it can be understood");
    let quick = scenario::load(&repository().join("scenarios/quick.yaml")).expect("a scenario");
    for (name, forms) in &quick.models {
        let is_locked = |form: &ModelForm| match form {
            ModelForm::Builtin(ModelSource::Synthetic { architecture, seed }) => {
                let source = LockedSource::Synthetic { architecture: architecture.clone(), seed: *seed };
                lock.engines().iter().any(|engine| engine.source == source && engine.unpinned().is_empty())
            }
            ModelForm::Builtin(ModelSource::Checkpoint(folder)) => {
                let source = LockedSource::Path(folder.clone());
                lock.engines().iter().any(|engine| engine.source == source && engine.unpinned().is_empty())
            }
            _ => false,
        };
        assert!(forms.iter().any(is_locked), "{name}");
    }
    for engine in lock.engines().iter().filter(|engine| matches!(engine.source, LockedSource::Path(_))) {
        assert_eq!(engine.unpinned(), [""; 0], "{}", engine.name);
    }
}

#[test]
fn trained_engines_come_out_on_every_machine_as_they_are_locked() {
    let folder = tempfile::tempdir().expect("a folder");
    let lock = EngineLock::load(&repository().join("engines.lock")).expect("it can be understood");
    for engine in lock.engines().iter().filter(|engine| matches!(engine.source, LockedSource::Path(_))) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sweep"));
        command.args(["build", &engine.name, "--locked", "--engines"]).arg(folder.path());
        let output = command.current_dir(repository()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
