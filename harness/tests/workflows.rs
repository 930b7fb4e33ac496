//! The workflows: what may stand in them, and the job of a board, step by step, on a recorded one.

mod fake;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake::copied_board;
use fake::program::install;
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("it is there")
}

/// A workflow: its name, its text, and what it says.
struct Workflow {
    name: String,
    text: String,
    file: Value,
}

fn workflows() -> Vec<Workflow> {
    let folder = repository().join(".github/workflows");
    let mut found: Vec<Workflow> = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let text = fs::read_to_string(entry.path()).expect("text");
        let name = entry.file_name().to_string_lossy().into_owned();
        let file = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        found.push(Workflow { name, text, file });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn jobs(workflow: &Workflow) -> impl Iterator<Item = (String, &Value)> {
    let jobs = workflow.file["jobs"].as_object().expect("jobs");
    jobs.iter().map(|(name, job)| (format!("{}: {name}", workflow.name), job))
}

fn steps(job: &Value) -> impl Iterator<Item = &Value> {
    job["steps"].as_array().into_iter().flatten()
}

fn uses<'a>(step: &'a Value, action: &str) -> Option<&'a str> {
    step["uses"].as_str().filter(|used| used.starts_with(&format!("{action}@")))
}

#[test]
fn the_five_workflows_and_the_label_are_there() {
    let names: Vec<String> = workflows().into_iter().map(|workflow| workflow.name).collect();
    let wanted = ["board.yml", "check.yml", "comment.yml", "label.yml", "nightly.yml", "release.yml"];
    assert_eq!(names, wanted);
}

#[test]
fn a_release_carries_what_its_scenarios_and_its_lock_refer_to() {
    let script = fs::read_to_string(repository().join("ci/release.sh")).expect("text");
    let line = script.lines().find(|line| line.starts_with("git archive ")).expect("what it packs");
    let packed: Vec<&str> = line.split(' ').take_while(|word| *word != "|").skip(3).collect();
    assert!(packed.contains(&"scenarios") && packed.contains(&"engines.lock"), "{packed:?}");

    let scenarios = fs::read_dir(repository().join("scenarios")).expect("a folder").flatten();
    let files = scenarios.map(|entry| entry.path()).chain([repository().join("engines.lock")]);
    let mut named = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        let at = text.match_indices("fixtures/").map(|(at, _)| at);
        for path in at.map(|at| text[at..].split([' ', ',', ']', '}', '"', '\n']).next().unwrap_or_default())
        {
            assert!(repository().join(path).exists(), "{}: {path}", file.display());
            let is_packed = packed.iter().any(|packed| Path::new(path).starts_with(packed));
            assert!(is_packed, "{}: {path} is not in the tarball: {packed:?}", file.display());
            named += 1;
        }
    }
    assert!(named > 5, "scenarios name files");
}

#[test]
fn every_step_that_runs_something_calls_a_script_that_is_here() {
    let mut called = 0;
    for workflow in workflows() {
        for (place, job) in jobs(&workflow) {
            for step in steps(job) {
                let Some(line) = step["run"].as_str() else { continue };
                let words: Vec<&str> = line.split(' ').collect();
                let [program, script, arguments @ ..] = words.as_slice() else {
                    panic!("{place}: `{line}` is no call")
                };
                // No expression, no second command: what comes from outside comes by the environment.
                let is_plain =
                    |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
                assert!(*program == "bash" && arguments.iter().all(is_plain), "{place}: `{line}`");
                let is_ours = script.starts_with("ci/") && script.ends_with(".sh") && !script.contains("..");
                assert!(is_ours && repository().join(script).is_file(), "{place}: {script} is not here");
                called += 1;
            }
        }
    }
    assert!(called >= 12, "only {called} steps were looked at");
}

#[test]
fn every_action_is_pinned_by_its_commit_and_names_its_version() {
    let mut pins: BTreeMap<String, String> = BTreeMap::new();
    for workflow in workflows() {
        for line in workflow.text.lines().filter(|line| line.contains("uses:")) {
            let (_, used) = line.split_once("uses:").expect("it has one");
            let used = used.trim();
            if let Some(local) = used.strip_prefix("./") {
                assert!(repository().join(local).is_file(), "{}: {local} is not here", workflow.name);
                continue;
            }
            let (action, version) =
                used.split_once(" # v").unwrap_or_else(|| panic!("{line}: which version?"));
            let (action, commit) = action.split_once('@').unwrap_or_else(|| panic!("{line}: which commit?"));
            let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(
                is_commit && version.starts_with(|c: char| c.is_ascii_digit()),
                "{}: {line}",
                workflow.name
            );
            let before = pins.insert(action.to_owned(), used.to_owned());
            assert!(before.is_none_or(|before| before == used), "{action} is pinned twice, differently");
        }
    }
    assert!(pins.contains_key("actions/checkout"), "{pins:?}");
}

#[test]
fn no_workflow_has_a_right_and_every_job_says_which_it_needs_and_for_how_long() {
    for workflow in workflows() {
        let top = workflow.file["permissions"].as_object().map(serde_json::Map::len);
        assert_eq!(top, Some(0), "{}: permissions at the top", workflow.name);
        for (place, job) in jobs(&workflow) {
            assert!(job["permissions"].is_object(), "{place}: which permissions?");
            // A called workflow's jobs say it themselves.
            let is_call = job["uses"].is_string();
            assert!(is_call || job["timeout-minutes"].as_u64().is_some(), "{place}: for how long?");
        }
    }
}

#[test]
fn who_may_write_checks_out_nothing_of_a_change() {
    let mut seen = 0;
    for workflow in workflows() {
        let on = &workflow.file["on"];
        let is_privileged =
            ["pull_request_target", "workflow_run"].iter().any(|event| on.get(event).is_some());
        if !is_privileged {
            continue;
        }
        seen += 1;
        for (place, job) in jobs(&workflow) {
            for step in steps(job).filter(|step| uses(step, "actions/checkout").is_some()) {
                for key in ["ref", "repository"] {
                    assert!(
                        step["with"].get(key).is_none(),
                        "{place}: the base is checked out, and nothing else"
                    );
                }
                assert_eq!(step["with"]["persist-credentials"], false, "{place}");
            }
        }
    }
    assert_eq!(seen, 2, "comment and label");
}

#[test]
fn a_board_is_reached_by_label_alone_one_job_at_a_time_and_has_no_right_to_write() {
    let mut boards = 0;
    for workflow in workflows() {
        for (place, job) in jobs(&workflow) {
            let labels = job["runs-on"].as_array().cloned().unwrap_or_default();
            if !labels.contains(&Value::from("self-hosted")) {
                continue;
            }
            boards += 1;
            let rights = job["permissions"].as_object().expect("rights");
            assert!(rights.values().all(|right| right == "read"), "{place}: {rights:?}");
            assert!(!workflow.text.contains("secrets."), "{place}: a board is given no secret");
            let group = &job["concurrency"];
            assert!(group["group"].as_str().is_some_and(|name| name.contains("matrix.board")), "{place}");
            assert_eq!(group["cancel-in-progress"], false, "{place}: a measurement is not cut off");
            assert_eq!(job["strategy"]["fail-fast"], false, "{place}");
            for step in steps(job).filter(|step| uses(step, "actions/checkout").is_some()) {
                assert_eq!(step["with"]["persist-credentials"], false, "{place}: no token stays on the disk");
            }
            let before = job["needs"].as_str().expect("it waits for the job with the condition");
            let gate = workflow.file["jobs"][before]["if"].as_str().expect("a condition");
            // A change from a fork: by the event of giving the label, and by no other.
            let parts: Vec<&str> = gate.split("||").map(str::trim).collect();
            assert_eq!(
                parts,
                [
                    "github.event_name != 'pull_request'",
                    "(github.event.action == 'labeled' && github.event.label.name == 'board')",
                    "(github.event.action != 'labeled' && github.event.pull_request.head.repo.full_name == \
                     github.repository)",
                ],
                "{place}"
            );
            let last = steps(job).last().expect("steps");
            assert_eq!(
                (&last["run"], &last["if"]),
                (&"bash ci/verdict.sh".into(), &"always()".into()),
                "{place}"
            );
        }
    }
    assert_eq!(boards, 1);
}

/// The job of board.yml that runs on a board.
fn measure_job() -> Value {
    let board = workflows().into_iter().find(|workflow| workflow.name == "board.yml").expect("it is there");
    board.file["jobs"]["measure"].clone()
}

/// A temperature of the recorded board.
const ZONE: &str = "sys/class/thermal/thermal_zone0/temp";

/// What a recorded board, its job and its target need, in one folder.
struct Stage {
    /// A copy of the scripts, so that nothing is written to the repository.
    folder: tempfile::TempDir,
    board: tempfile::TempDir,
}

/// What came of a job.
struct Job {
    /// What each step that was run wrote, by its script.
    said: BTreeMap<String, String>,
    code: i32,
    out: PathBuf,
    summary: String,
    outputs: String,
}

/// Why scripts for boards cannot be run here. Where it is checked whether a change may come in, they must be.
fn cannot_run() -> Option<&'static str> {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let missing = ["jq", "flock", "bash"].into_iter().find(|program| !has(program));
    assert!(missing.is_none() || std::env::var_os("CI").is_none(), "{missing:?} is not installed");
    missing.inspect(|program| eprintln!("skipped: {program} is not installed"))
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let (board, _) = copied_board("orin-nx-16gb");
        let stage = Stage { folder, board };
        let copied = Command::new("cp").arg("-r").arg(repository().join("ci")).arg(stage.path("ci")).status();
        assert!(copied.expect("cp is there").success());
        install(stage.folder.path(), "llama-server", "fake::llama_server::llama_server");
        fs::write(stage.path("m.gguf"), "GGUF").expect("ours");
        stage.ship();
        stage.make_fit();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The artefact that the job before leaves: a tarball with the program.
    fn ship(&self) {
        let (dist, inside) = (self.path("dist"), self.path("sweep-0-test"));
        fs::create_dir_all(&inside).expect("ours");
        fs::create_dir_all(&dist).expect("ours");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sweep"), inside.join("sweep")).expect("ours");
        let line = "tar -czf dist/sweep-0-test.tar.gz sweep-0-test && cd dist && sha256sum sweep-*.tar.gz >SHA256SUMS";
        let packed = Command::new("bash").args(["-c", line]).current_dir(self.folder.path()).status();
        assert!(packed.expect("bash is there").success());
    }

    /// The same without the steps before.
    fn install_program(&self) {
        fs::create_dir(self.path("bin")).expect("ours");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sweep"), self.path("bin/sweep")).expect("ours");
    }

    /// The recorded board, which was measured under load, as it is at rest.
    fn make_fit(&self) {
        let cpu = "sys/devices/system/cpu/cpufreq";
        let gpu = "sys/class/devfreq/17000000.gpu";
        for (upper, lower) in [
            (format!("{cpu}/policy0/scaling_max_freq"), format!("{cpu}/policy0/scaling_min_freq")),
            (format!("{cpu}/policy4/scaling_max_freq"), format!("{cpu}/policy4/scaling_min_freq")),
            (format!("{gpu}/max_freq"), format!("{gpu}/min_freq")),
        ] {
            self.put(&lower, &self.get(&upper));
        }
        for zone in fs::read_dir(self.board.path().join("sys/class/thermal")).expect("zones").flatten() {
            fs::write(zone.path().join("temp"), "48000\n").expect("ours");
        }
        let clients = "sys/kernel/debug/nvmap/iovmm/clients";
        let at_rest: String = self
            .get(clients)
            .lines()
            .filter(|line| !line.contains("llm_infer"))
            .map(|line| format!("{line}\n"))
            .collect();
        self.put(clients, &at_rest);
        let meminfo = self.get("proc/meminfo");
        let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:")).expect("it has one");
        self.put("proc/meminfo", &meminfo.replace(line, "MemAvailable:   14000000 kB"));
    }

    fn get(&self, file: &str) -> String {
        fs::read_to_string(self.board.path().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn put(&self, file: &str, text: &str) {
        fs::write(self.board.path().join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// The target does this before it starts.
    fn target_first(&self, line: &str) {
        let program = self.path("llama-server");
        let script = fs::read_to_string(&program).expect("ours");
        fs::write(&program, script.replacen('\n', &format!("\n{line}\n"), 1)).expect("ours");
    }

    /// A runtime of an earlier run, which holds 2 GiB.
    fn leave_a_runtime(&self) {
        let process = self.board.path().join("proc/4711");
        fs::create_dir(&process).expect("ours");
        fs::write(process.join("cmdline"), "/opt/sweep\0serve\0--port-file\0p\0").expect("ours");
        let status = "RssAnon: 2097152 kB\nRssFile: 0 kB\nRssShmem: 0 kB\nVmHWM: 9 kB\nVmSwap: 0 kB\n";
        fs::write(process.join("status"), status).expect("ours");
    }

    fn write_scenario(&self, limit: &str) {
        let at = self.folder.path().display();
        let text = format!(
            "name: gate\nwhy: A test.\nseed: 7\nmodels: {{good: {{gguf: {at}/m.gguf}}}}\n\
             target: {{llama-server: {{program: {at}/llama-server}}}}\naxes: {{grid: {{maxInputLen: [128]}}}}\n\
             settings: {{maxKVCacheCapacity: 192}}\ntrials: 1\nfloor: {{timeout: 200 ms}}\n\
             needs: {{powerMode: MAXN_SUPER, clocks: locked, probes: [nvmap, throttle]}}\nphases:\n  \
             - load: {{timeout: 20 s}}\n  - prefill: {{promptTokens: 16, timeout: 20 s}}\n  \
             - decode: {{outputTokens: 8, timeout: 20 s}}\n  - unload: {{timeout: 10 s}}\n\
             budgets:\n  - {{id: total, total: {{fail: {limit}}}, why: A test.}}\n\
             gates:\n  - {{id: weights, metric: class weights.linear, allow: 1 MiB, why: A test.}}\n"
        );
        fs::write(self.path("gate.yaml"), text).expect("ours");
    }

    /// `bash SCRIPT` with the environment of the job, and `more`.
    fn script(&self, words: &str, environment: &BTreeMap<String, String>) -> Output {
        let mut command = Command::new("bash");
        command.args(words.split(' ').skip(1)).current_dir(self.folder.path()).envs(environment);
        command.output().expect("bash is there")
    }

    /// The environment of the job `measure`, its expressions resolved, and that of GitHub.
    fn job_environment(&self) -> BTreeMap<String, String> {
        let job = measure_job();
        let known = [
            ("${{ matrix.board }}", "orin-nx-16gb"),
            ("${{ matrix.shard }}", "1/1"),
            ("${{ inputs.scenario || 'board' }}", "gate.yaml"),
            ("${{ github.event.pull_request.number }}", "7"),
        ];
        let mut environment = BTreeMap::new();
        for (name, value) in job["env"].as_object().expect("an environment") {
            let value = value.as_str().expect("text");
            let value =
                known.iter().find(|(expression, _)| *expression == value).map_or(value, |(_, known)| known);
            assert!(!value.contains("${{"), "nobody knows {value}");
            environment.insert(name.clone(), value.to_owned());
        }
        let text = |path: PathBuf| path.display().to_string();
        environment.insert("GITHUB_ACTIONS".to_owned(), "true".to_owned());
        environment.insert("GITHUB_STEP_SUMMARY".to_owned(), text(self.path("step-summary")));
        environment.insert("GITHUB_OUTPUT".to_owned(), text(self.path("step-outputs")));
        environment.insert("LOCK".to_owned(), text(self.path("lock")));
        environment.insert("COOL_WAIT".to_owned(), "0".to_owned());
        environment.insert("SWEEP_ROOT".to_owned(), text(self.board.path().to_owned()));
        environment
    }

    /// Goes through the job `measure` of board.yml as a runner does.
    fn measure(&self) -> Job {
        for kept in ["out", "step-summary", "step-outputs"] {
            let path = self.path(kept);
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        let job = &measure_job();
        let environment = self.job_environment();
        let mut said: BTreeMap<String, String> = BTreeMap::new();
        let mut outcomes: BTreeMap<String, bool> = BTreeMap::new();
        // The code of the first step that failed, and was not to go on.
        let mut failed = None;
        for step in steps(job) {
            let is_due = match step["if"].as_str() {
                None => failed.is_none(),
                Some("always()") => true,
                Some(condition) => {
                    let (id, rest) = condition
                        .strip_prefix("steps.")
                        .and_then(|rest| rest.split_once('.'))
                        .expect("a step");
                    assert_eq!(rest, "outcome == 'success'");
                    failed.is_none() && outcomes.get(id) == Some(&true)
                }
            };
            if !is_due {
                continue;
            }
            if uses(step, "actions/upload-artifact").is_some() {
                let path = step["with"]["path"].as_str().expect("a path");
                assert!(self.path(path).is_dir(), "{path} is to be kept, and is not there");
            }
            let Some(line) = step["run"].as_str() else { continue };
            let output = self.script(line, &environment);
            let text = [output.stdout, output.stderr].concat();
            let code = output.status.code().unwrap_or(-1);
            said.insert(line.to_owned(), String::from_utf8_lossy(&text).into_owned());
            if let Some(id) = step["id"].as_str() {
                outcomes.insert(id.to_owned(), code == 0);
            }
            if code != 0 && step["continue-on-error"] != true {
                failed = failed.or(Some(code));
            }
        }
        Job {
            said,
            code: failed.unwrap_or(0),
            out: self.path("out"),
            summary: fs::read_to_string(self.path("step-summary")).unwrap_or_default(),
            outputs: fs::read_to_string(self.path("step-outputs")).unwrap_or_default(),
        }
    }
}

impl Job {
    fn said(&self, script: &str) -> &str {
        self.said.get(&format!("bash ci/{script}.sh")).map_or("", String::as_str)
    }

    fn everything(&self) -> String {
        format!("{:#?}\n{}", self.said, self.summary)
    }

    fn run_folder(&self) -> PathBuf {
        let runs = fs::read_dir(self.out.join("runs")).expect("a run").flatten();
        runs.map(|entry| entry.path()).max().expect("a run")
    }

    /// What is there whatever came of it.
    fn assert_kept(&self, code: i32) {
        assert_eq!(self.code, code, "{}", self.everything());
        let kept = fs::read_to_string(self.out.join("exit_code")).expect("kept");
        assert_eq!(kept.trim(), code.to_string());
        assert_eq!(self.outputs, format!("code={code}\n"));
        assert_eq!(fs::read_to_string(self.out.join("summary/pull_request")).expect("kept"), "7\n");
        assert!(self.summary.starts_with("# orin-nx-16gb, gate.yaml"), "{}", self.summary);
        assert!(self.summary.contains(&format!("exit code {code}")), "{}", self.summary);
        for file in ["preflight.txt", "doctor.json", "summary/summary.md"] {
            assert!(self.out.join(file).is_file(), "{file} is not kept: {}", self.everything());
        }
    }

    fn assert_reported(&self) {
        // Nobody takes a recorded board for a real one.
        assert!(self.summary.contains("nothing here was measured on that board"), "{}", self.summary);
        for file in ["report.html", "junit.xml", "verdict.json", "summary.md", "run.json"] {
            assert!(self.run_folder().join(file).is_file(), "{file} is not kept: {}", self.everything());
        }
    }
}

#[test]
fn a_board_passes_and_then_needs_more_than_its_baseline() {
    if cannot_run().is_some() {
        return;
    }
    let stage = Stage::new();
    stage.write_scenario("500 MiB");
    let job = stage.measure();
    job.assert_kept(0);
    job.assert_reported();
    for subject in ["needs", "power mode", "clocks", "temperature", "memory", "residue"] {
        assert!(job.said("preflight").contains(&format!("fine     {subject}\n")), "{}", job.everything());
    }
    assert!(!job.said("publish").contains("::error"), "{}", job.everything());

    // The baseline is promoted by hand, and a reviewer sees it.
    let run = job.run_folder();
    let promote = Command::new(env!("CARGO_BIN_EXE_sweep"))
        .args(["baseline", "promote"])
        .arg(&run)
        .current_dir(stage.folder.path())
        .output()
        .expect("it starts");
    assert!(promote.status.success(), "{}", String::from_utf8_lossy(&promote.stderr));
    assert_eq!(stage.measure().code, 0, "the same is no regression");
    stage.target_first("export FAKE_MODEL_MIB=48");
    let job = stage.measure();
    job.assert_kept(3);
    job.assert_reported();
    assert!(job.said("publish").contains("::error title="), "{}", job.everything());
    assert!(job.said("verdict").contains("exit code 3"), "{}", job.everything());
}

#[test]
fn a_budget_that_is_exceeded_fails_the_job_after_everything_is_kept() {
    if cannot_run().is_some() {
        return;
    }
    let stage = Stage::new();
    stage.write_scenario("16 MiB");
    let job = stage.measure();
    job.assert_kept(1);
    job.assert_reported();
    assert!(job.said("publish").contains("::error title=FAIL "), "{}", job.everything());
}

#[test]
fn a_board_that_slows_itself_down_decides_nothing() {
    if cannot_run().is_some() {
        return;
    }
    let stage = Stage::new();
    stage.write_scenario("500 MiB");
    let counter = stage.board.path().join("sys/class/hwmon/hwmon4/oc3_event_cnt");
    stage.target_first(&format!("echo 5 >'{}'", counter.display()));
    let job = stage.measure();
    job.assert_kept(4);
    job.assert_reported();
    assert!(job.said("publish").contains("::warning title=INCONCLUSIVE"), "{}", job.everything());
    assert!(job.summary.contains("slowed itself down"), "{}", job.summary);
}

#[test]
fn a_dirty_floor_is_refused_before_a_run_and_makes_one_that_began_inconclusive() {
    if cannot_run().is_some() {
        return;
    }
    let stage = Stage::new();
    stage.write_scenario("500 MiB");
    stage.leave_a_runtime();
    let job = stage.measure();
    job.assert_kept(6);
    let refusal = "REFUSED  residue: a runtime of an earlier run, process 4711";
    assert!(job.said("preflight").contains(refusal), "{}", job.everything());
    assert!(!job.said.contains_key("bash ci/run.sh"), "a board that is not fit is not measured");
    assert!(job.summary.contains(refusal), "{}", job.summary);

    let output = stage.script("bash ci/run.sh", &stage.job_environment());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("process 4711 of an earlier run still holds 2,048.0 MiB"), "{text}");
}

#[test]
fn what_makes_a_board_unfit_is_named_and_can_be_allowed() {
    if cannot_run().is_some() {
        return;
    }
    let stage = Stage::new();
    stage.write_scenario("500 MiB");
    stage.put(ZONE, "71000\n");
    stage.put("sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq", "729600\n");
    let meminfo = stage.get("proc/meminfo");
    stage.put("proc/meminfo", &meminfo.replace("MemAvailable:   14000000 kB", "MemAvailable:    6000000 kB"));
    stage.install_program();
    let mut environment = stage.job_environment();
    let refused = stage.script("bash ci/preflight.sh", &environment);
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(6), "{text}");
    for line in [
        "REFUSED  needs: clocks: locked: they follow the load",
        "REFUSED  clocks: they follow the load",
        "REFUSED  temperature: 71 °C after 0 s, and not below 60",
        "REFUSED  memory: 37 % are available, not 60",
        "fine     residue",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    environment.insert("ALLOW".to_owned(), "needs, clocks, temperature, memory".to_owned());
    let allowed = stage.script("bash ci/preflight.sh", &environment);
    assert_eq!(allowed.status.code(), Some(0), "{}", String::from_utf8_lossy(&allowed.stdout));
}

#[test]
fn a_hot_board_is_waited_for() {
    if cannot_run().is_some() {
        return;
    }
    let stage = Stage::new();
    stage.write_scenario("500 MiB");
    stage.install_program();
    stage.put(ZONE, "71000\n");
    let mut environment = stage.job_environment();
    environment.insert("COOL_WAIT".to_owned(), "60".to_owned());
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Until it was seen hot.
            while !stage.path("out/doctor.json").metadata().is_ok_and(|file| file.len() > 0) {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            stage.put(ZONE, "51000\n");
        });
        stage.script("bash ci/preflight.sh", &environment)
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("fine     temperature"), "{text}");
}

#[test]
fn a_board_has_one_job_at_a_time() {
    if cannot_run().is_some() {
        return;
    }
    let stage = Stage::new();
    stage.write_scenario("500 MiB");
    let mut environment = stage.job_environment();
    environment.insert("LOCK_WAIT".to_owned(), "0".to_owned());
    fs::write(stage.path("lock"), "").expect("ours");
    let held = fs::File::open(stage.path("lock")).expect("ours");
    held.lock().expect("nobody else has it");
    for script in ["bash ci/preflight.sh", "bash ci/run.sh"] {
        let output = stage.script(script, &environment);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(6), "{text}");
        assert!(text.contains("another job has had this board"), "{text}");
    }
}
