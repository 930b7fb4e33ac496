//! What runs beside the target: it is there before, it is measured, its death is the trial's end, and it ends with the trial.

mod fake;

use fake::sweep::sweep;
use fake::trial::{first_trial, no_engine};
use fake::{FakeTarget, scenario, still_machine};
use harness::probe::ProcRoot;
use harness::record::{Outcome, Run, TrialRecord};
use harness::scenario::Scenario;
use harness::verdict::{ExitCode, judge};
use ledger::{Bytes, Phase};

/// The stand-in, as a command: so much is held of main memory.
const HELD: Bytes = Bytes::mib(64);

fn with(model: &str, co_residents: &str, more: &str) -> Scenario {
    scenario(&[model], |text| format!("{text}co_residents:\n{co_residents}{more}"))
}

fn stand_in(name: &str) -> String {
    let program = env!("CARGO_BIN_EXE_sweep");
    format!(
        "  - {{name: {name}, command: [{program}, hold, --host-bytes, \"{}\"], ready: {{says: holds its memory}}, why: a test}}\n",
        HELD.0
    )
}

fn shell(name: &str, script: &str, rest: &str) -> String {
    format!("  - {{name: {name}, command: [/bin/sh, -c, '{script}'], {rest}, why: a test}}\n")
}

fn trial_of(scenario: &Scenario) -> TrialRecord {
    let target = FakeTarget { can_wait: true };
    first_trial(scenario, &target, &no_engine(), &still_machine(), &mut |_| {}).record
}

/// Processes with these words on their command line.
fn running(words: &str) -> Vec<u32> {
    let root = ProcRoot::default();
    let command = |pid: u32| std::fs::read_to_string(root.of_process(pid, "cmdline")).unwrap_or_default();
    let all = root.processes().into_iter().map(|process| process.pid);
    all.filter(|pid| command(*pid).replace('\0', " ").contains(words)).collect()
}

#[test]
fn they_are_measured_in_every_phase_and_end_with_the_trial() {
    let both = stand_in("speech") + &shell("camera", "echo up; exec sleep 3107", "ready: {says: up}");
    let record = trial_of(&with("good", &both, ""));
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    assert_eq!(record.phases.len(), Phase::ALL.len());
    for phase in &record.phases {
        let names: Vec<&str> = phase.co_residents.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["speech", "camera"], "in the order in which they started");
        let speech = &phase.co_residents[0];
        let now = *speech.resident_bytes.measured().expect("it runs");
        let peak = *speech.peak_resident_bytes.measured().expect("it runs");
        assert!(HELD <= now && now <= peak && peak < HELD + Bytes::mib(64), "{now} {peak}");
        assert!(phase.co_residents[1].peak_resident_bytes.measured().is_some_and(|peak| *peak < HELD));
    }
    assert_eq!(running("sleep 3107"), Vec::<u32>::new());
}

#[test]
fn the_death_of_one_ends_the_trial_and_is_named() {
    let dies = shell("camera", "echo up; sleep 1; exit 7", "ready: {says: up}");
    let record = trial_of(&with("hang_stream", &dies, ""));
    let expected = Outcome::CoResidentEnded {
        phase: Phase::Decode,
        name: "camera".to_owned(),
        signal: None,
        exit_code: Some(7),
    };
    assert_eq!(record.outcome, expected);
    assert!(!record.is_finished());
}

#[test]
fn one_that_does_not_get_ready_keeps_the_target_from_starting() {
    for (co_residents, told) in [
        (
            shell("camera", "exec sleep 3208", "ready: {says: up}, timeout: 200 ms"),
            "the co-resident camera is not there: it was not ready after 0.2 s",
        ),
        (
            stand_in("speech") + &shell("camera", "echo no such device >&2; exit 3", "ready: {after: 10 s}"),
            "the co-resident camera is not there: camera exited with code 3: no such device",
        ),
        (
            "  - {name: camera, command: [/nowhere/camera], ready: {after: 1 s}, why: a test}\n".to_owned(),
            "the co-resident camera is not there: No such file",
        ),
    ] {
        let record = trial_of(&with("good", &co_residents, ""));
        let Outcome::Failed { phase: Phase::Idle, message } = &record.outcome else {
            panic!("{:?}", record.outcome)
        };
        assert!(message.starts_with(told), "{message}");
        assert!(record.phases.is_empty(), "the target was never started");
    }
    assert_eq!(running("sleep 3208"), Vec::<u32>::new());
}

/// The hidden verb behind `standIn`, told to read more than any machine gives.
#[test]
fn a_stand_in_that_reads_less_than_it_is_to_says_so() {
    let program = env!("CARGO_BIN_EXE_sweep");
    let hungry = format!(
        "  - {{name: camera, command: [{program}, hold, --host-bytes, \"{}\", --read-bytes, \"{}\"], \
         ready: {{says: holds its memory}}, why: a test}}\n",
        HELD.0,
        Bytes::gib(4000).0
    );
    // It stays in its decode phase until its time is up.
    let scenario = scenario(&["hang_stream"], |text| {
        text.replace("outputTokens: 6, timeout: 10 s", "outputTokens: 6, timeout: 2 s")
            + "co_residents:\n"
            + &hungry
    });
    let record = trial_of(&scenario);
    let told =
        record.warnings.iter().filter(|warning| warning.contains("camera reads less than it stands for: "));
    assert_eq!(told.count(), 1, "{:?}", record.warnings);
}

#[test]
fn device_memory_of_a_stand_in_needs_a_gpu() {
    let wanted = ["hold", "--device-bytes", "1048576"];
    if runtime::backend::cuda::probe(0).is_ok() {
        return;
    }
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_sweep")).args(wanted).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("hold memory in the stead of a co-resident"), "{said}");
}

#[test]
fn a_budget_over_the_whole_stack_counts_them() {
    let judged = |limit: &str| {
        let runs = tempfile::tempdir().expect("a folder");
        let budget = format!("budgets: [{{id: board, stack: {{fail: {limit}}}, why: a test}}]\n");
        let scenario = with("good", &stand_in("speech"), &budget);
        let (mut end, _) = sweep(&scenario, runs.path(), &[], false, None);
        let verdict = judge(&Run::load(end.folder.path()).expect("whole"));
        end.folder.finish(harness::clock::wall_clock(), verdict.exit_code.code()).expect("writable");
        let outputs = harness::report::write(end.folder.path()).expect("a report");
        let page = std::fs::read_to_string(outputs.html).expect("written");
        assert!(page.contains("Peak of speech, beside it") && page.contains("Peak of the whole stack"));
        let stack = verdict.cells[0].stack.clone().expect("something ran beside it");
        let target = *verdict.cells[0].peak_resident_bytes.measured().expect("measured");
        let whole = *stack.peak_bytes.measured().expect("measured");
        let at_once = *stack.at_once_bytes.measured().expect("sampled");
        assert!((HELD..=whole).contains(&at_once), "{at_once} of {whole}");
        assert!(whole >= target + HELD, "{whole} {target}");
        (verdict.exit_code, verdict.problems)
    };
    // 48 MiB of weights and 64 MiB beside them, each with its program.
    assert_eq!(judged("100 MiB").0, ExitCode::BudgetFailed);
    let (code, problems) = judged("600 MiB");
    assert_eq!(code, ExitCode::Pass, "{problems:?}");
}
