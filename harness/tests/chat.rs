//! Talking with a small committed checkpoint, and scoring it, through pipes.

#![expect(clippy::unwrap_used, reason = "where the program cannot be run, the test fails")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fixtures/checkpoints").join(name)
}

fn sweep(arguments: &[&str], input: &str, folder: &Path) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sweep"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever was given a prompt does not read, and may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn chat(more: &[&str], input: &str, folder: &Path) -> Output {
    let path = checkpoint("hybrid-ct");
    let common = ["chat", path.to_str().unwrap(), "--device", "cpu", "--threads", "1", "--max-tokens", "12"];
    sweep(&[&common, more].concat(), input, folder)
}

#[test]
fn one_prompt_gets_one_answer_and_a_line_of_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let once = chat(&["--prompt", "What is water?"], "", folder.path());
    assert!(once.status.success(), "{}", text(&once.stderr));
    let said = text(&once.stderr);
    let last = said.lines().last().unwrap();
    assert!(last.contains("tokens/s over 11 tokens") && last.contains("MiB at its peak"), "{said}");
    assert!(!last.contains("acceptance length"), "{said}");

    // The engine that was built for it is an engine like any other, and drafts change no greedy answer.
    let engine = std::fs::read_dir(folder.path().join("engines")).unwrap().next().unwrap().unwrap().path();
    let drafted = sweep(
        &[
            "chat",
            engine.to_str().unwrap(),
            "--mtp",
            "--device",
            "cpu",
            "--threads",
            "1",
            "--max-tokens",
            "12",
            "--prompt",
            "What is water?",
        ],
        "",
        folder.path(),
    );
    assert_eq!(text(&drafted.stdout), text(&once.stdout));
    assert!(text(&drafted.stderr).contains("acceptance length"), "{}", text(&drafted.stderr));
}

#[test]
fn every_line_of_a_pipe_is_answered_after_all_that_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let one = chat(&[], "Hello\n", folder.path());
    let two = chat(&[], "Hello\n\nAnd now?\n", folder.path());
    assert!(two.status.success(), "{}", text(&two.stderr));
    let (one, two) = (text(&one.stdout), text(&two.stdout));
    assert!(two.starts_with(&one) && two.len() > one.len(), "{one:?} {two:?}");
    let full = chat(&["--context", "8"], "Hello\n", folder.path());
    assert_eq!(full.status.code(), Some(2), "{}", text(&full.stderr));
    assert!(text(&full.stderr).contains("`--context TOKENS` makes room"), "{}", text(&full.stderr));
}

#[test]
fn a_model_is_scored_against_its_exact_path() {
    let folder = tempfile::tempdir().unwrap();
    let words = "The quick brown fox jumps over the lazy dog. ".repeat(30);
    std::fs::write(folder.path().join("text.txt"), words).unwrap();
    let path = checkpoint("hybrid-ct");
    for (name, head) in [("exact", "f16"), ("small", "int4")] {
        let path = path.to_str().unwrap();
        let built = ["build", "--checkpoint", path, "--lm-head", head, "--output", name];
        assert!(sweep(&built, "", folder.path()).status.success());
    }
    let score = |engine: &str, more: &[&str]| -> Value {
        let common = ["score", "--engine", engine, "--reference", "exact", "--text", "text.txt"];
        let limits =
            ["--tokens", "80", "--continuations", "2", "--device", "cpu", "--threads", "1", "--json"];
        let output = sweep(&[&common[..], &limits[..], more].concat(), "", folder.path());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let number = |reading: &Value, key: &str| reading[key].as_f64().unwrap();
    let small = score("small", &["--kv-cache-type", "int8", "--mtp", "true"]);
    assert_eq!((&small["tokens"], &small["positions"]), (&80.into(), &79.into()));
    assert!(number(&small, "mean_kl_nats") > 0.0 && number(&small, "largest_kl_nats") > 0.0, "{small}");
    assert!(number(&small, "acceptance_length") >= 1.0, "{small}");
    let near = score("exact", &["--kv-cache-type", "f32"]);
    assert!(number(&near, "mean_kl_nats") < number(&small, "mean_kl_nats"), "{near} {small}");
    assert_eq!(near["reference_perplexity"], small["reference_perplexity"]);
    assert!(near["acceptance_length"].is_null(), "{near}");

    let short = ["score", "--engine", "exact", "--text", "text.txt", "--tokens", "2", "--continuations", "9"];
    let short = sweep(&short, "", folder.path());
    assert_eq!(short.status.code(), Some(2), "{}", text(&short.stderr));
    assert!(text(&short.stderr).contains("288 are needed"), "{}", text(&short.stderr));
}
