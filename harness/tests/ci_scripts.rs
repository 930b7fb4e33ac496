//! Scripts that surround a board's job: what prepares a board, what shows results, and what writes the comment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci").join(name).canonicalize().expect("it is there")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// Why a script cannot be run here. Where it is checked whether a change may come in, it must be.
fn cannot_run(programs: &[&str]) -> bool {
    let has = |program: &&&str| Command::new(program).arg("--version").output().is_err();
    let missing = programs.iter().find(has);
    assert!(missing.is_none() || std::env::var_os("CI").is_none(), "{missing:?} is not installed");
    missing.inspect(|program| eprintln!("skipped: {program} is not installed")).is_some()
}

/// A program that stands in for a real one, before all others in `PATH`.
fn stand_in(folder: &Path, name: &str, body: &str) -> String {
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).expect("ours");
    fs::write(programs.join(name), format!("#!/bin/bash\n{body}\n")).expect("ours");
    fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).expect("ours");
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default())
}

/// Every file below `folder`, with its mode, and its text or where it points.
fn tree(folder: &Path) -> Vec<(PathBuf, u32, String)> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("a folder").flatten() {
            let path = entry.path();
            let kind = fs::symlink_metadata(&path).expect("it is there");
            if kind.is_dir() {
                left.push(path);
                continue;
            }
            let text = match fs::read_link(&path) {
                Ok(target) => target.display().to_string(),
                Err(_) => fs::read_to_string(&path).expect("text"),
            };
            found.push((
                path.strip_prefix(folder).expect("below").to_owned(),
                kind.permissions().mode() & 0o7777,
                text,
            ));
        }
    }
    found.sort();
    found
}

/// What starts compressed swap on a Jetson.
const ZRAM: &str = "etc/systemd/system/multi-user.target.wants/nvzramconfig.service";

/// A root file system of a board with a runner, before anything was prepared.
fn board() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    for (file, text) in [
        ("etc/group", "root:x:0:\nsweep:x:990:\n"),
        ("etc/systemd/system/nvzramconfig.service", "[Service]\n"),
        ("etc/systemd/system/actions.runner.owner-name.orin.service", "[Service]\n"),
        ("usr/bin/jetson_clocks", ""),
    ] {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("ours");
        fs::write(path, text).expect("ours");
    }
    let wants = root.path().join(ZRAM);
    fs::create_dir_all(wants.parent().expect("a folder")).expect("ours");
    std::os::unix::fs::symlink("/etc/systemd/system/nvzramconfig.service", wants).expect("ours");
    root
}

fn setup(root: &Path, path: &str, words: &[&str]) -> Output {
    let mut command = Command::new("bash");
    command.arg(script("setup-board.sh")).args(words).env("ROOT", root).env("PATH", path);
    command.output().expect("bash is there")
}

#[test]
fn a_board_is_prepared_once_and_only_when_asked() {
    let root = board();
    let before = tree(root.path());
    let aside = tempfile::tempdir().expect("a folder");
    let path = stand_in(aside.path(), "visudo", "[ \"$1\" = -cqf ] && grep -q NOPASSWD \"$2\"");

    let shown = setup(root.path(), &path, &[]);
    let text = text_of(&shown);
    assert!(shown.status.success() && text.contains("nothing was written"), "{text}");
    assert_eq!(tree(root.path()), before, "without --yes nothing changes");

    let made = setup(root.path(), &path, &["--yes", "--headless"]);
    assert!(made.status.success(), "{}", text_of(&made));
    let after = tree(root.path());
    let file = |name: &str| {
        let found = after.iter().find(|(path, ..)| path == Path::new(name));
        found.map(|(_, mode, text)| (*mode, text.as_str())).unwrap_or_else(|| panic!("{name} is not there"))
    };
    let (mode, helper) = file("usr/local/sbin/sweep-board");
    assert_eq!(
        (mode, helper),
        (0o755, fs::read_to_string(script("board-helper.sh")).expect("text").as_str())
    );
    assert_eq!(file("usr/local/lib/sweep/admit.sh").0, 0o755);
    let (mode, sudoers) = file("etc/sudoers.d/sweep");
    assert_eq!(mode, 0o440);
    let rules: Vec<&str> = sudoers.lines().filter(|line| line.starts_with("sweep ")).collect();
    let rule = "sweep ALL=(root) NOPASSWD: /usr/local/sbin/sweep-board nvmap, /usr/local/sbin/sweep-board drop-caches";
    assert_eq!(rules, [rule], "two verbs, word for word");
    let (_, limits) = file("etc/systemd/system/actions.runner.owner-name.orin.service.d/sweep.conf");
    let asks = "Environment=ACTIONS_RUNNER_HOOK_JOB_STARTED=/usr/local/lib/sweep/admit.sh";
    for line in ["OOMPolicy=continue", "OOMScoreAdjust=-900", "MemoryMax=94%", asks] {
        assert!(limits.lines().any(|found| found == line), "{limits}");
    }
    let (_, debugfs) = file("etc/systemd/system/sys-kernel-debug.mount.d/sweep.conf");
    assert!(debugfs.contains("mode=0750,gid=990"), "{debugfs}");
    assert!(
        after.iter().all(|(path, ..)| path != Path::new(ZRAM)),
        "compressed swap is not started any more"
    );
    assert_eq!(file("etc/systemd/system/nvzramconfig.service").1, "[Service]\n", "and can be again");
    assert!(file("etc/systemd/system/default.target").1.ends_with("/multi-user.target"));

    let again = setup(root.path(), &path, &["--yes", "--headless"]);
    assert_eq!(text_of(&again).lines().last(), Some("nothing to change"), "{}", text_of(&again));
    assert_eq!(tree(root.path()), after);
}

#[test]
fn a_rule_that_visudo_refuses_is_not_installed() {
    let root = board();
    let aside = tempfile::tempdir().expect("a folder");
    let path = stand_in(aside.path(), "visudo", "exit 1");
    let refused = setup(root.path(), &path, &["--yes"]);
    let text = text_of(&refused);
    assert!(refused.status.code() == Some(70) && text.contains("visudo refuses"), "{text}");
    assert!(!root.path().join("etc/sudoers.d/sweep").exists());
    assert_eq!(setup(root.path(), &path, &["--force"]).status.code(), Some(2));
}

#[test]
fn the_helper_knows_its_verbs_and_nothing_else() {
    for words in
        [&[][..], &["sh"], &["nvmap", "drop-caches"], &["nvmap;id"], &["drop-caches\n"], &["../nvmap"]]
    {
        let output = Command::new(script("board-helper.sh")).args(words).output();
        let output = output
            .or_else(|_| Command::new("bash").arg("-p").arg(script("board-helper.sh")).args(words).output());
        let output = output.expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", text_of(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_board_takes_no_job_of_a_fork_that_nobody_has_labelled() {
    if cannot_run(&["jq"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let payload = folder.path().join("event.json");
    let admitted = |event: &str, text: &str| {
        fs::write(&payload, text).expect("ours");
        let mut command = Command::new("bash");
        command
            .arg("-p")
            .arg(script("admit.sh"))
            .env("GITHUB_EVENT_NAME", event)
            .env("GITHUB_EVENT_PATH", &payload);
        let output = command.output().expect("bash is there");
        let code = output.status.code();
        assert!([Some(0), Some(6)].contains(&code), "{text}: {}", text_of(&output));
        assert_eq!(code == Some(6), text_of(&output).starts_with("::error"), "{text}");
        code == Some(0)
    };
    let pull_request = |action: &str, head: &str| {
        format!(
            r#"{{"action": {action}, "pull_request": {{"head": {{"repo": {head}}}, "labels": [{{"name": "board"}}]}}, "repository": {{"full_name": "owner/name"}}}}"#
        )
    };
    let (own, fork) = (r#"{"full_name": "owner/name"}"#, r#"{"full_name": "other/name"}"#);
    assert!(admitted("pull_request", &pull_request("\"synchronize\"", own)));
    assert!(
        !admitted("pull_request", &pull_request("\"synchronize\"", fork)),
        "the label was for other commits"
    );
    assert!(!admitted("pull_request", &pull_request("\"opened\"", "null")), "the fork is gone");
    assert!(!admitted("pull_request", &pull_request(r#""labeled", "label": {"name": "docs"}"#, fork)));
    assert!(admitted("pull_request", &pull_request(r#""labeled", "label": {"name": "board"}"#, fork)));
    for event in ["push", "schedule", "workflow_dispatch"] {
        assert!(admitted(event, "{}"), "{event}");
    }
    for event in ["pull_request_target", "workflow_run", "issue_comment", ""] {
        assert!(!admitted(event, &pull_request("\"opened\"", own)), "{event}");
    }
}

#[test]
fn a_part_of_a_scenario_is_asked_for_and_what_it_says_is_no_command() {
    if cannot_run(&["flock"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    stand_in(folder.path(), "sweep", "echo \"$*\"\necho '::set-env name=PATH::/tmp'\nexit 5");
    let run = |shard: &str| {
        let output = Command::new("bash")
            .arg(script("run.sh"))
            .args(["--baseline", "locked.json"])
            .env("SWEEP", folder.path().join("programs/sweep"))
            .envs([("OUT", folder.path().join("out")), ("LOCK", folder.path().join("lock"))])
            .envs([("SHARD", shard), ("SCENARIO", "gpu"), ("GITHUB_ACTIONS", "true")])
            .env("SWEEP_ROOT", "")
            .output()
            .expect("bash is there");
        assert_eq!(output.status.code(), Some(5), "{}", text_of(&output));
        assert_eq!(fs::read_to_string(folder.path().join("out/exit_code")).expect("kept"), "5\n");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let out = folder.path().join("out/runs");
    let text = run("2/3");
    let lines: Vec<&str> = text.lines().collect();
    let token = lines[0].strip_prefix("::stop-commands::").expect("commands are stopped first");
    assert_eq!(lines[1], format!("run gpu --output {} --shard 2/3 --baseline locked.json", out.display()));
    assert_eq!(lines.last(), Some(&format!("::{token}::").as_str()), "and go on afterwards");
    assert!(!run("1/1").contains("--shard"), "the whole has no parts");
    assert_ne!(run("1/1").lines().next(), text.lines().next(), "nobody can know the word");
}

#[test]
fn the_summary_of_a_job_stays_below_what_is_taken() {
    if cannot_run(&["jq"]) {
        return;
    }
    let out = tempfile::tempdir().expect("a folder");
    let run = out.path().join("runs/20260101T000000.000Z");
    fs::create_dir_all(&run).expect("ours");
    let row =
        "| ❌ FAIL | a cell with a long name | peak | 1.0 MiB | 0.5 MiB | +0.5 MiB | **kv\\_cache** |\n";
    fs::write(run.join("summary.md"), row.repeat(20_000)).expect("ours");
    fs::write(run.join("run.json"), "{}").expect("ours");
    let cell = |at: usize, word: &str| {
        format!(r#"{{"word": "{word}", "label": "a: {at}, b", "reason": "50 %\nover"}}"#)
    };
    let mut cells: Vec<String> = (0..14).map(|at| cell(at, "FAIL")).collect();
    cells.extend(["PASS", "INCONCLUSIVE"].map(|word| cell(20, word)));
    fs::write(run.join("verdict.json"), format!(r#"{{"cells": [{}]}}"#, cells.join(", "))).expect("ours");
    fs::write(out.path().join("exit_code"), "1\n").expect("ours");
    let summary = out.path().join("step-summary");
    fs::write(&summary, "what an earlier step said\n").expect("ours");
    let output = Command::new("bash")
        .arg(script("publish.sh"))
        .envs([("OUT", out.path()), ("GITHUB_STEP_SUMMARY", summary.as_path()), ("SWEEP", Path::new("true"))])
        .env("PULL_REQUEST", "7; id")
        .output()
        .expect("bash is there");
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    let shown = fs::read_to_string(&summary).expect("text");
    assert!(shown.len() > 1_000_000 && shown.len() <= 1 << 20, "{}", shown.len());
    assert!(
        shown.starts_with("what an earlier step said\n")
            && shown.ends_with("the whole is in the artefacts)\n")
    );
    let comment = fs::read_to_string(out.path().join("summary/summary.md")).expect("text");
    assert!(comment.len() <= 60_000 && comment.ends_with("the whole is in the artefacts)\n"));
    assert!(!out.path().join("summary/pull_request").exists(), "what is no number is not passed on");
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("::error ")).collect();
    assert_eq!((errors.len(), errors[0]), (10, "::error title=FAIL a%3A 0%2C b::50 %25%0Aover"));
    let warnings = text.lines().filter(|line| line.starts_with("::warning title=INCONCLUSIVE a")).count();
    assert_eq!(warnings, 1, "{text}");
}

/// What the comment's script did: its words, and every call of `gh` with what was sent.
fn comment(summaries: &[(&str, &str, &str)], comments: &str) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, number, text) in summaries {
        let summary = folder.path().join("summaries").join(format!("summary-{name}"));
        fs::create_dir_all(&summary).expect("ours");
        fs::write(summary.join("pull_request"), number).expect("ours");
        fs::write(summary.join("summary.md"), text).expect("ours");
    }
    let calls = folder.path().join("calls");
    let gh = format!(
        "echo \"$*\" >>'{calls}'\ncase \"$*\" in\n*pulls/7*) echo 'open abc123' ;;\n*pulls/*) echo 'open another' ;;\n\
         *--method*) cat >>'{calls}'; echo >>'{calls}' ;;\n*/comments*) echo '{comments}' ;;\nesac",
        calls = calls.display()
    );
    let path = stand_in(folder.path(), "gh", &gh);
    let output = Command::new("bash")
        .arg(script("comment.sh"))
        .arg(folder.path().join("summaries"))
        .env("PATH", path)
        .envs([("REPOSITORY", "owner/name"), ("HEAD_SHA", "abc123"), ("RUN_URL", "https://ci.example/1")])
        .output()
        .expect("bash is there");
    assert!(output.status.success(), "{}", text_of(&output));
    (text_of(&output), fs::read_to_string(calls).unwrap_or_default())
}

#[test]
fn one_comment_is_written_and_later_changed() {
    if cannot_run(&["jq"]) {
        return;
    }
    let summaries = [("orin-nx-16gb-0", "7\n", "# first\n| a |\n"), ("orin-nx-16gb-1", "7\n", "# second\n")];
    let (_, calls) = comment(&summaries, "");
    assert!(calls.contains("--method POST repos/owner/name/issues/7/comments"), "{calls}");
    assert!(
        calls.contains("# first") && calls.contains("# second") && calls.contains("https://ci.example/1"),
        "{calls}"
    );
    let (_, calls) = comment(&summaries, "4242");
    assert!(calls.contains("--method PATCH repos/owner/name/issues/comments/4242"), "{calls}");
    assert!(!calls.contains("POST"), "{calls}");
}

#[test]
fn nothing_that_a_board_says_is_believed() {
    if cannot_run(&["jq"]) {
        return;
    }
    for (number, why) in [
        ("8", "pull request 8 is not open at abc123"),
        ("7; id", "pull_request is no number"),
        ("../7", "pull_request is no number"),
        ("", "pull_request is no number"),
    ] {
        let (said, calls) = comment(&[("orin-nx-16gb-0", number, "text")], "");
        assert!(said.contains(why) && !calls.contains("--method"), "{number}: {said}{calls}");
    }
    let (said, calls) = comment(&[("orin-nx-16gb-0", "7", &"x".repeat(70_000))], "");
    assert!(said.contains("too large") && !calls.contains("--method"), "{said}");
    let bad = "<img src=x> <details> @owner [here](https://evil.example) <!-- sweep: what boards measured -->\u{1b}";
    let (_, calls) = comment(&[("orin-nx-16gb-0", "7", bad)], "");
    let shown =
        "&lt;img src=x> <details> @&#8203;owner [here\\\\](https:&#8203;//evil.example) &lt;!-- sweep";
    assert!(calls.contains(shown), "{calls}");
    let (_, calls) = comment(&[("a-0", "7", "mine"), ("b-0", "9", "of another")], "");
    assert!(calls.contains("mine") && !calls.contains("of another"), "{calls}");
}
