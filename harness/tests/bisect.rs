//! `sweep bisect` over a throw-away repository whose builds are a script that says what it plans.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn git(repository: &Path, arguments: &[&str]) -> String {
    let identity =
        ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"];
    let output =
        Command::new("git").arg("-C").arg(repository).args(identity).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A build that plans so many MiB of rollback, and always as much of the cache.
fn program(rollback_mib: u64) -> String {
    let cell = json!({"id": "0123456789abcdef", "model": "tiny", "name": null, "axes": [["maxInputLen", "256"]], "settings": {},
        "build": {}, "source": "a script", "synthetic_weights": true, "target": "builtin"});
    let plan = json!({"cells": [{"cell": cell, "by_class_bytes": {},
        "buffer_bytes": {"target/rollback/updates": rollback_mib << 20, "target/kv_cache/blocks": 8 << 20}}]});
    format!("#!/bin/sh\ncat <<'END'\n{plan}\nEND\n")
}

/// Twelve commits: from the eighth on there are 64 MiB more, and the sixth and the seventh do not build.
fn repository(folder: &Path) -> (PathBuf, Vec<String>) {
    let repository = folder.join("repository");
    fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "--quiet"]);
    let mut commits = Vec::new();
    for number in 1..=12 {
        fs::write(repository.join("program"), program(if number >= 8 { 65 } else { 1 })).unwrap();
        fs::write(repository.join("builds"), if [6, 7].contains(&number) { "no" } else { "yes" }).unwrap();
        fs::write(repository.join("number"), number.to_string()).unwrap();
        git(&repository, &["add", "."]);
        git(&repository, &["commit", "--quiet", "-m", &format!("Change {number}")]);
        commits.push(git(&repository, &["rev-parse", "HEAD"]));
    }
    fs::write(folder.join("mine.yaml"), "name: mine\n").unwrap();
    (repository, commits)
}

/// Every build leaves a line in `built`.
const BUILD: &str = "cat number >> ../../built; echo >> ../../built; grep -q yes builds || { echo broken >&2; exit 1; }; \
                     mkdir -p out && cp program out/sweep && chmod +x out/sweep";

fn bisect(folder: &Path, good: &str, bad: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sweep"));
    command.current_dir(folder).args([
        "bisect",
        good,
        bad,
        "mine.yaml",
        "--repo",
        "repository",
        "--build",
        BUILD,
    ]);
    command.args(["--program", "out/sweep", "--work", "work"]).args(more).output().unwrap()
}

#[test]
fn the_first_bad_commit_is_found_with_the_buffer_that_grew() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (repository, commits) = repository(here);
    let before = git(&repository, &["status", "--porcelain", "--branch"]);
    let output = bisect(here, &commits[0], "HEAD", &["--metric", "planned rollback"]);
    let (said, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{said}\n{told}");
    assert!(said.contains(&format!("first bad commit: {} Change 8", commits[7])), "{said}");
    assert!(said.contains("target/rollback/updates grew by 64.0 MiB, to 65.0 MiB"), "{said}");
    assert!(said.contains("tiny maxInputLen=256: planned rollback 1.0 → 65.0 MiB"), "{said}");
    let skipped = format!("or one before it that was skipped: {}, {}", commits[5], commits[6]);
    assert!(said.contains(&skipped), "what does not build may hide it: {said}");
    assert!(told.contains("skipped: it does not build: broken"), "{told}");

    let built = fs::read_to_string(here.join("built")).unwrap();
    assert!(built.lines().count() < 9, "not every commit is built: {built}");
    assert_eq!(
        git(&repository, &["status", "--porcelain", "--branch"]),
        before,
        "the checkout is not touched"
    );
    assert_eq!(git(&repository, &["worktree", "list"]).lines().count(), 1, "its own worktree is gone");

    let again = bisect(here, &commits[0], "HEAD", &["--metric", "planned rollback", "--json"]);
    let answer: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(answer["first_bad"], commits[7].as_str());
    assert_eq!(answer["buffers"][0]["class"], "rollback");
    assert_eq!(fs::read_to_string(here.join("built")).unwrap(), built, "what is known is not built again");
}

#[test]
fn what_cannot_be_searched_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (_, commits) = repository(here);
    let refused = |code: i32, good: &str, bad: &str, metric: &str| {
        let output = bisect(here, good, bad, &["--metric", metric]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{told}");
        told
    };
    assert!(refused(2, &commits[0], &commits[4], "planned").contains("the same at both ends"));
    assert!(refused(2, &commits[0], "HEAD", "planned kv_cache").contains("the same at both ends"));
    assert!(refused(2, "HEAD", &commits[0], "planned").contains("must be an ancestor"));
    assert!(refused(6, &commits[0], &commits[5], "planned").contains("it does not build: broken"));
    assert!(refused(6, "nosuch", "HEAD", "planned").contains("git"));
}
