//! Whatever a target does, its trial becomes a record, and nothing of it is left running.

mod fake;

use std::path::Path;

use fake::trial::{first_trial, no_engine};
use fake::{FakeTarget, WEIGHTS, copied_board, scenario};
use harness::probe::{SystemRoot, environment};
use harness::record::{Outcome, Question, Reading, Series, TrialRecord, recover};
use harness::scenario::Scenario;
use ledger::{BufferClass, Bytes, Phase};

/// Runs one trial of a target that behaves like `model`, and returns its record and what is on disk.
fn trial_of(scenario: &Scenario, can_wait: bool) -> (TrialRecord, Series) {
    let (record, series, _) = trial_on(&SystemRoot::live(), scenario, can_wait, &mut |_| {});
    (record, series)
}

/// The same on a machine whose own files are at `machine`, with the text of the series.
fn trial_on(
    machine: &SystemRoot,
    scenario: &Scenario,
    can_wait: bool,
    entered: &mut dyn FnMut(Phase),
) -> (TrialRecord, Series, String) {
    let trial = first_trial(scenario, &FakeTarget { can_wait }, &no_engine(), machine, entered);
    let (record, paths) = (trial.record.clone(), &trial.paths);
    assert!(recover(&paths.journal).expect("whole") == record, "the journal tells something else");
    assert!(!Path::new(&paths.log.with_extension("port")).exists());
    let text = std::fs::read_to_string(&paths.samples).expect("a series");
    (record, Series::read(&paths.samples).expect("a series"), text)
}

fn trial(model: &str) -> TrialRecord {
    trial_of(&scenario(&[model], |text| text), true).0
}

fn disturbances(record: &TrialRecord) -> Vec<String> {
    record.disturbances.iter().map(ToString::to_string).collect()
}

fn entered(record: &TrialRecord) -> Vec<Phase> {
    record.phases.iter().map(|phase| phase.phase).collect()
}

#[test]
fn a_good_target_goes_through_every_phase() {
    let (record, series) = trial_of(&scenario(&["good"], |text| text), true);
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    assert_eq!(entered(&record), Phase::ALL);
    assert_eq!(record.warnings, Vec::<String>::new());
    assert_eq!(record.plan.as_ref().expect("it has one").buffers.len(), 1);
    assert_eq!(record.ledger.measured().expect("it has one").peak_total, WEIGHTS);

    // One stream serves both phases.
    assert_eq!(record.requests.len(), 1);
    let request = &record.requests[0];
    assert_eq!((request.phase, request.prompt_tokens.0, request.completion_tokens.0), (Phase::Prefill, 8, 6));
    assert!(request.time_per_output_token_ms.measured().is_some());

    for phase in &record.phases {
        assert!(phase.started_us <= phase.ended_us);
        assert!(matches!(&phase.end.gpu_bytes, Reading::Unavailable(why) if !why.is_empty()));
        if phase.phase == Phase::Unload {
            assert!(matches!(phase.end.resident, Reading::Unavailable(_)));
            continue;
        }
        let resident = phase.end.resident.measured().expect("alive").total();
        let owned: Bytes = phase.end.by_class_bytes.measured().expect("it answers").values().copied().sum();
        let rest = *phase.end.unaccounted_bytes.measured().expect("both are known");
        assert_eq!(owned.0 as i64 + rest, resident.0 as i64, "every edge reconciles");
        assert!(*phase.peak_resident_bytes.measured().expect("alive") >= resident);
        assert!(phase.end.proportional_bytes.measured().is_some());
        assert_eq!(phase.end.swap_bytes, Reading::Measured(Bytes::ZERO));
    }
    let idle_peak = *record.phases[0].peak_resident_bytes.measured().expect("alive");
    let load_peak = *record.phases[1].peak_resident_bytes.measured().expect("alive");
    assert!(load_peak.0 >= idle_peak.0 + WEIGHTS.0, "{idle_peak} -> {load_peak}");

    assert!(record.sampler.samples > 5);
    assert_eq!(series.samples.len() as u64, record.sampler.samples, "every sample is on disk");
    assert!(series.samples.iter().filter_map(|sample| sample.resident()).max() >= Some(WEIGHTS));
}

#[test]
fn a_target_on_a_card_is_recorded_with_both_of_its_memories() {
    let record = trial("card");
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    let load = &record.phases[1].end;
    let device = load.device.as_ref().expect("it has one");
    assert_eq!(device.by_class_bytes, [(BufferClass::DeviceContext, fake::CONTEXT)].into());
    assert_eq!(device.report.unaccounted, Reading::Measured(fake::STRAY.0 as i64));
    // The context is not resident: the host's account adds up without it.
    let host: Bytes = load.host_classes().measured().expect("it answers").values().copied().sum();
    let resident = load.resident.measured().expect("alive").total();
    let unaccounted = *load.unaccounted_bytes.measured().expect("both are known");
    assert_eq!(host.0 as i64 + unaccounted, resident.0 as i64);
    assert!(load.by_class_bytes.measured().expect("it answers").contains_key(&BufferClass::DeviceContext));
}

#[test]
fn a_target_that_cannot_wait_has_no_idle_phase_and_says_so() {
    let (record, _) = trial_of(&scenario(&["good"], |text| text), false);
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!(entered(&record), Phase::ALL[1..]);
    let said = record.no_answer(&Question::IdlePhase).expect("it says so");
    assert_eq!(said, "not answered by fake: idle phase (it loads as it starts)");
}

#[test]
fn a_decode_phase_with_a_prompt_of_its_own_sends_two_requests() {
    let own = |text: String| text.replace("{outputTokens: 6,", "{promptTokens: 4, outputTokens: 6,");
    let several = |text: String| own(text).replace("{promptTokens: 8,", "{promptTokens: 8, requests: 3,");
    let (record, _) = trial_of(&scenario(&["good"], several), true);
    assert_eq!(record.outcome, Outcome::Completed);
    let sent: Vec<_> =
        record.requests.iter().map(|r| (r.phase, r.prompt_tokens.0, r.completion_tokens.0)).collect();
    let prefill = (Phase::Prefill, 8, 1);
    assert_eq!(sent, [prefill, prefill, prefill, (Phase::Decode, 4, 6)]);
}

#[test]
fn a_target_that_drafts_sends_several_tokens_at_once_and_says_what_was_accepted() {
    let long = |text: String| text.replace("outputTokens: 6", "outputTokens: 8");
    let (record, _) = trial_of(&scenario(&["drafts"], long), true);
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    let request = &record.requests[0];
    assert_eq!(request.completion_tokens.0, 8, "what was asked for, whatever the last round brought");
    let said = request.speculation.expect("it said so, though the stream was hung up before its end");
    assert_eq!((said.round_count, said.drafted, said.accepted), (3, 9, 6));
    assert!(request.time_per_output_token_ms.measured().is_some());
}

#[test]
fn a_target_without_a_ledger_is_measured_all_the_same() {
    let record = trial("silent");
    assert_eq!(record.outcome, Outcome::Completed);
    let load = &record.phases[1].end;
    assert!(load.resident.measured().is_some());
    assert!(matches!(&load.by_class_bytes, Reading::Unavailable(why) if why.contains("404")));
    assert!(matches!(&load.unaccounted_bytes, Reading::Unavailable(why) if why.contains("404")));
    assert!(matches!(&record.ledger, Reading::Unavailable(_)));
}

#[test]
fn a_crash_names_its_phase_its_signal_and_its_last_words() {
    let record = trial("crash_load");
    assert_eq!(record.outcome, Outcome::Crashed { phase: Phase::Load, signal: Some(6), exit_code: None });
    assert!(record.log_tail.iter().any(|line| line == "about to abort"), "{:?}", record.log_tail);
    assert_eq!(entered(&record), [Phase::Idle, Phase::Load]);

    let record = trial("crash_stream");
    assert_eq!(record.outcome, Outcome::Crashed { phase: Phase::Decode, signal: Some(6), exit_code: None });
    let decode = record.phases.last().expect("it was entered");
    assert!(
        decode.peak_resident_bytes.measured().is_some_and(|peak| *peak >= WEIGHTS),
        "seen by the sampler"
    );
    assert!(matches!(decode.end.resident, Reading::Unavailable(_)), "gone is not zero");

    let record = trial("exit_load");
    assert_eq!(record.outcome, Outcome::Crashed { phase: Phase::Load, signal: None, exit_code: Some(3) });
}

#[test]
fn running_out_of_memory_is_not_just_a_crash() {
    let limited =
        |text: String| text.replace("target: builtin", "target: builtin\nlimits: {memory: 600 MiB}");
    let (record, _) = trial_of(&scenario(&["oom_load"], limited), true);
    let Outcome::OutOfMemory { phase: Phase::Load, evidence } = &record.outcome else {
        panic!("{:?} {:?}", record.outcome, record.log_tail)
    };
    assert!(evidence.contains("memory"), "{evidence}");
    let load = record.phases.last().expect("it was entered");
    let peak = load.peak_resident_bytes.measured().copied();
    assert!(peak.is_some_and(|peak| peak <= Bytes::mib(600)), "{peak:?}");

    let record = trial("no_memory");
    assert!(
        matches!(record.outcome, Outcome::OutOfMemory { phase: Phase::Prefill, .. }),
        "{:?}",
        record.outcome
    );
}

#[test]
fn a_hang_ends_at_the_timeout_of_its_phase() {
    let short = |text: String| text.replace("load: {timeout: 10 s}", "load: {timeout: 300 ms}");
    let (record, _) = trial_of(&scenario(&["hang_load"], short), true);
    assert!(
        matches!(record.outcome, Outcome::TimedOut { phase: Phase::Load, limit_ms } if limit_ms.0 == 300.0)
    );
    let load = record.phases.last().expect("it was entered");
    assert!(load.end.resident.measured().is_some(), "a hanging process can still be measured");

    let short =
        |text: String| text.replace("outputTokens: 6, timeout: 10 s", "outputTokens: 6, timeout: 300 ms");
    let (record, _) = trial_of(&scenario(&["hang_stream"], short), true);
    assert!(matches!(record.outcome, Outcome::TimedOut { phase: Phase::Decode, .. }));

    let short = |text: String| text.replace("unload: {timeout: 10 s}", "unload: {timeout: 300 ms}");
    let (record, _) = trial_of(&scenario(&["stubborn"], short), true);
    assert!(matches!(record.outcome, Outcome::TimedOut { phase: Phase::Unload, .. }), "{:?}", record.outcome);
}

#[test]
fn refusals_and_garbage_are_failures_in_the_targets_own_words() {
    for (model, phase, words) in [
        ("refuse", Phase::Prefill, "the prompt is not to my taste"),
        ("garbage", Phase::Decode, "cannot be understood"),
        ("error_stream", Phase::Decode, "a cable fell out"),
        ("short", Phase::Decode, "ended after 3 of 6 tokens"),
    ] {
        let record = trial(model);
        let Outcome::Failed { phase: found, message } = &record.outcome else {
            panic!("{:?}", record.outcome)
        };
        assert_eq!(*found, phase, "{model}");
        assert!(message.contains(words), "{model}: {message}");
    }
}

#[test]
fn children_are_counted_and_none_survives() {
    let (record, series) = trial_of(&scenario(&["fork"], |text| text), true);
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    let words = record.warnings.join("\n");
    assert!(words.contains("the sum of 3 processes' peaks"), "{words}");
    assert!(words.contains("left 2 of its processes behind"), "{words}");
    assert!(!series.samples.is_empty());
    assert_eq!(children_that_sleep_for("1000"), Vec::<String>::new());
}

/// Children of this process that the fake target started to sleep for so many seconds; each behaviour has a number of its own.
fn children_that_sleep_for(seconds: &str) -> Vec<String> {
    let mine = std::process::id();
    let tasks = std::fs::read_dir(format!("/proc/{mine}/task")).expect("readable").flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let children: Vec<String> =
        lists.flat_map(|list| list.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let command = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let sleeps = format!("sleep\0{seconds}\0");
    children.into_iter().filter(|pid| command(pid) == sleeps).collect()
}

#[test]
fn a_child_that_left_its_session_and_its_parents_does_not_survive() {
    let record = trial("daemon");
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    let words = record.warnings.join("\n");
    assert!(words.contains("left 1 of its processes behind"), "{words}");
    assert_eq!(children_that_sleep_for("2000"), Vec::<String>::new());
}

#[test]
fn a_target_that_is_never_heard_of_ends_at_the_timeout() {
    let short = |text: String| {
        text.replace("- idle: {for: 50 ms, timeout: 10 s}", "- idle: {for: 50 ms, timeout: 300 ms}")
            .replace("load: {timeout: 10 s}", "load: {timeout: 300 ms}")
    };
    for (can_wait, phase) in [(true, Phase::Idle), (false, Phase::Load)] {
        let (record, _) = trial_of(&scenario(&["mute"], short), can_wait);
        let Outcome::TimedOut { phase: found, .. } = record.outcome else { panic!("{:?}", record.outcome) };
        assert_eq!(found, phase);
    }
}

#[test]
fn the_kernel_is_told_to_kill_the_target_first() {
    let record = trial("good");
    assert!(record.log_tail.iter().any(|line| line == "oom_score_adj: 1000"), "{:?}", record.log_tail);
}

#[test]
fn a_trial_ends_before_the_machine_runs_out_of_memory() {
    let (copied, machine) = copied_board("orin-nx-16gb");
    let meminfo = copied.path().join("proc/meminfo");
    let before = std::fs::read_to_string(&meminfo).expect("recorded");
    let change = |available: &str| {
        let other = |line: &str| !line.starts_with("MemAvailable");
        let lines: Vec<&str> = before.lines().filter(|line| other(line)).collect();
        std::fs::write(&meminfo, format!("MemAvailable: {available}\n{}\n", lines.join("\n"))).expect("ours");
    };
    let mut entered = |phase| {
        // 3 % of this board's memory is more than that.
        if phase == Phase::Decode {
            change("307200 kB");
        }
    };
    let slow = |text: String| text.replace("outputTokens: 6", "outputTokens: 48");
    let (record, ..) = trial_on(&machine, &scenario(&["good"], slow), true, &mut entered);
    let Outcome::GuardKill { phase: Phase::Decode, available_bytes, least_bytes } = record.outcome else {
        panic!("{:?}", record.outcome)
    };
    assert_eq!(available_bytes, Bytes::mib(300));
    assert!(least_bytes > Bytes::mib(450) && least_bytes < Bytes::mib(500), "{least_bytes}");
    assert!(!record.is_finished(), "a later run does not take it over");

    // A scenario may ask for less, or for more than there is.
    let asks = |least: &str| {
        let limits = format!("target: builtin\nlimits: {{minAvailable: {least}}}");
        let asking = scenario(&["good"], |text| text.replace("target: builtin", &limits));
        trial_on(&machine, &asking, true, &mut |_| {}).0.outcome
    };
    assert_eq!(asks("200 MiB"), Outcome::Completed);
    assert!(matches!(asks("1 TiB"), Outcome::GuardKill { phase: Phase::Idle, .. }));
}

#[test]
fn a_board_whose_clocks_drop_says_in_which_phase() {
    let (copied, machine) = copied_board("orin-nx-16gb");
    let bound = copied.path().join("sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq");
    let before = std::fs::read_to_string(&bound).expect("recorded").trim().parse::<u64>().expect("kHz");
    let mut entered = |phase| match phase {
        Phase::Decode => std::fs::write(&bound, "1190400\n").expect("ours"),
        // Back at its bound: the trial stays what it is.
        Phase::Unload => std::fs::write(&bound, format!("{before}\n")).expect("ours"),
        _ => {}
    };
    let good = scenario(&["good"], |text| text);
    let (record, ..) = trial_on(&machine, &good, true, &mut entered);
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    let dropped = format!(
        "the clocks dropped in decode: cpu policy4 may run at 1190 MHz, and no more at {}",
        before / 1000
    );
    assert_eq!(disturbances(&record), std::slice::from_ref(&dropped));
    assert_eq!(record.inconclusive(), Some(format!("is inconclusive: {dropped}")));
    assert!(!record.is_finished(), "a later run does not take it over");
}

#[test]
fn another_power_mode_kernel_or_bound_is_another_environment() {
    let (copied, machine) = copied_board("orin-nx-16gb");
    let before = environment(&machine);
    let now = copied.path().join("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq");
    std::fs::write(now, "729600\n").expect("ours");
    assert_eq!(environment(&machine), before, "a clock that follows the load is the same machine");
    for (file, text, told) in [
        ("var/lib/nvpmodel/status", "pmode:0003", "power_mode: MAXN_SUPER and "),
        ("proc/sys/kernel/osrelease", "9.9.9-tegra", "kernel: "),
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "729600", "clock cpu policy0: "),
        ("proc/meminfo", "MemTotal: 1 kB", "memory_bytes: "),
    ] {
        let path = copied.path().join(file);
        let kept = std::fs::read(&path).expect("recorded");
        std::fs::write(&path, format!("{text}\n")).expect("ours");
        let after = environment(&machine);
        assert_ne!(after.sha256, before.sha256, "{file}");
        let differences = before.differences(&after);
        assert!(differences.len() == 1 && differences[0].starts_with(told), "{differences:?}");
        std::fs::write(&path, kept).expect("ours");
    }
    assert_eq!(environment(&machine).sha256, before.sha256);
}

#[test]
fn a_board_that_slows_itself_down_says_in_which_phase() {
    let (copied, machine) = copied_board("orin-nx-16gb");
    let counter = copied.path().join("sys/class/hwmon/hwmon4/oc3_event_cnt");
    let mut entered = |phase| match phase {
        Phase::Decode => std::fs::write(&counter, "5\n").expect("ours"),
        // The sensor goes away, and comes back at another count.
        Phase::Settle => std::fs::remove_file(&counter).expect("ours"),
        Phase::Unload => std::fs::write(&counter, "9\n").expect("ours"),
        _ => {}
    };
    let good = scenario(&["good"], |text| text);
    let (record, _, series) = trial_on(&machine, &good, true, &mut entered);
    assert_eq!(record.outcome, Outcome::Completed, "{:?}", record.log_tail);
    let slowed = |phase: Phase, events: u32| {
        format!("the machine slowed itself down in {phase}: oc3 counted {events} more")
    };
    assert_eq!(record.warnings, Vec::<String>::new());
    assert_eq!(disturbances(&record), [slowed(Phase::Decode, 3), slowed(Phase::Unload, 4)]);
    let end = |phase: Phase| &record.phases.iter().find(|record| record.phase == phase).expect("it ran").end;
    assert_eq!(end(Phase::Load).conditions.power_mode.as_deref(), Some("MAXN_SUPER"));
    assert!(!end(Phase::Settle).conditions.throttle_events.contains_key("oc3"));
    let nvmap = end(Phase::Unload).conditions.nvmap.as_ref().expect("what is left behind is seen");
    assert_eq!(nvmap.total_bytes, Bytes::kib(5_243_284));
    let column = |line: &str| line.split(',').nth_back(1).map(str::to_owned);
    assert_eq!(series.lines().next().and_then(column).as_deref(), Some("nvmap_bytes"));
    assert_eq!(series.lines().last().and_then(column), Some(Bytes::kib(5_243_284).0.to_string()));
    // What is there and cannot be started says so.
    let card = record.probes.iter().find(|probe| probe.id == "tegrastats").expect("a card");
    assert!(matches!(&card.cadence, Reading::Unavailable(why) if why.contains("/usr/bin/tegrastats")));
}

#[test]
fn a_trial_goes_through_on_every_recorded_machine() {
    let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/boards");
    let good = scenario(&["good"], |text| text);
    let mut seen = 0;
    let mut fingerprints = std::collections::BTreeSet::new();
    for board in std::fs::read_dir(boards).expect("readable").flatten().filter(|entry| entry.path().is_dir())
    {
        let machine = SystemRoot::recorded(&board.path()).expect("a recorded machine");
        let (record, series, _) = trial_on(&machine, &good, true, &mut |_| {});
        let name = board.file_name();
        assert_eq!(record.outcome, Outcome::Completed, "{name:?}: {:?}", record.log_tail);
        assert_eq!(record.warnings, Vec::<String>::new(), "{name:?}");
        assert_eq!(disturbances(&record), Vec::<String>::new(), "{name:?}");
        let found = record.environment.as_ref().expect("every trial says in which");
        assert_eq!(found.differences(&environment(&machine)), Vec::<String>::new(), "{name:?}");
        assert!(fingerprints.insert(found.sha256.clone()), "{name:?} looks like another one");
        let available = record.phases[0].end.mem_available_bytes.measured().copied();
        assert!(
            available.is_some() && series.samples.iter().all(|sample| sample.available == available),
            "{name:?}"
        );
        assert!(record.phases.iter().all(|phase| !phase.end.conditions.is_empty()), "{name:?}");
        let has_board = record.phases[0].end.conditions.power_mode.is_some();
        assert_eq!(has_board, !name.to_string_lossy().starts_with("x86"), "{name:?}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}
