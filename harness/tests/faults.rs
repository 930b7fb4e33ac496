//! Planted faults: a sweep finds each of them, and names it on the terminal and in its verdict.

mod fake;

use std::cell::RefCell;
use std::path::Path;

use fake::{FakeEngines, FakeTarget, PLANTED, SPIKE, copied_board, scenario};
use harness::engines::Progress;
use harness::interrupt::Interrupt;
use harness::probe::{LiveMemory, SystemRoot};
use harness::record::{Reading, Run, TrialRecord};
use harness::scenario::{Cell, Scenario};
use harness::sweep::{Observer, Sweep, run};
use harness::verdict::{LeverWord, RunVerdict, Word, judge, table};
use ledger::{BufferClass, Bytes, Phase};

/// What a run tells of itself while it goes on.
enum Moment {
    Enters(Phase),
    Ended(u32),
}

/// Changes the machine at some moment.
struct Planter<F>(RefCell<F>);

impl<F: FnMut(Moment)> Progress for Planter<F> {
    fn begin(&self, _: &str, _: Option<Bytes>) {}
    fn advance(&self, _: Bytes) {}
    fn end(&self) {}
    fn is_interrupted(&self) -> bool {
        false
    }
}

impl<F: FnMut(Moment)> Observer for Planter<F> {
    fn run_begins(&self, _: &Path, _: usize, _: u32, _: Option<&str>) {}
    fn cell_begins(&self, _: &Cell, _: usize, _: usize) {}
    fn phase_begins(&self, phase: Phase, _: &LiveMemory) {
        (self.0.borrow_mut())(Moment::Enters(phase));
    }
    fn trial_ends(&self, record: &TrialRecord, _: bool) {
        (self.0.borrow_mut())(Moment::Ended(record.trial));
    }
}

/// Runs `scenario` on `machine`. Returns the verdict, what a terminal shows, and the page.
fn swept(scenario: &Scenario, machine: &SystemRoot, plant: impl FnMut(Moment)) -> (RunVerdict, String, Run) {
    let runs = tempfile::tempdir().expect("a folder");
    let end = run(Sweep {
        scenario,
        only: &[],
        shard: None,
        runs: runs.path(),
        fresh: true,
        engines: &FakeEngines,
        targets: &[("builtin".to_owned(), Box::new(FakeTarget { can_wait: true }))],
        guardian: None,
        machine,
        interrupt: &Interrupt::never(),
        observer: &Planter(RefCell::new(plant)),
    })
    .expect("the harness itself works");
    let run = Run::load(end.folder.path()).expect("whole");
    assert!(run.unreadable.is_empty(), "{:?}", run.unreadable);
    harness::report::write(end.folder.path()).expect("a report");
    let verdict = judge(&run);
    let text = table(&verdict);
    (verdict, text, run)
}

/// The same where only the target misbehaves.
fn swept_alone(model: &str, change: impl Fn(String) -> String) -> (RunVerdict, String) {
    let (_copied, machine) = copied_board("x86-no-gpu");
    let (verdict, text, _) = swept(&scenario(&[model], change), &machine, |_| {});
    (verdict, text)
}

fn long_settle(text: String) -> String {
    text.replace("settle: {for: 50 ms", "settle: {for: 3200 ms")
}

#[test]
fn a_leak_is_named_with_its_rate_and_a_good_target_has_none() {
    let (verdict, text) = swept_alone("leak", long_settle);
    let growth = verdict.cells[0].growth.measured().expect("seen for long enough");
    let (trial, leak) = growth.first().unwrap_or_else(|| panic!("{text}"));
    assert_eq!((*trial, leak.phase), (0, Phase::Settle));
    assert!((Bytes::kib(600)..Bytes::kib(1400)).contains(&leak.each_bytes), "{leak:?}");
    assert_eq!(verdict.cells[0].word, Word::Warn);
    assert!(text.contains("trial 0 leaks: resident memory grew by "), "{text}");
    assert!(text.contains(" MiB/s in settle"), "{text}");

    let (verdict, text) = swept_alone("good", long_settle);
    assert_eq!(verdict.cells[0].growth, Reading::Measured(Vec::new()), "{text}");

    let (verdict, _) = swept_alone("good", |text| text);
    assert!(matches!(&verdict.cells[0].growth, Reading::Unavailable(why) if why.contains("2.5 s")));
}

#[test]
fn a_drift_over_requests_is_named_with_what_each_of_them_leaves() {
    let many = |text: String| text.replace("{promptTokens: 8,", "{promptTokens: 8, requests: 14,");
    let (verdict, text) = swept_alone("drift", many);
    let growth = verdict.cells[0].growth.measured().expect("seen for long enough");
    let (_, drift) = growth.first().unwrap_or_else(|| panic!("{text}"));
    assert!((Bytes::kib(900)..Bytes::kib(1150)).contains(&drift.each_bytes), "{drift:?}");
    assert!(
        text.contains("trial 0 drifts: resident memory grew by 1.0 MiB with each request of prefill"),
        "{text}"
    );
}

#[test]
fn a_spike_within_a_phase_is_in_the_peak_and_named() {
    let budget = "budgets: [{id: total, total: {fail: 500 MiB}, why: a test}]\n";
    let (verdict, text) = swept_alone("spike", |text| text + budget);
    let cell = &verdict.cells[0];
    assert!(cell.peak_resident_bytes.measured().is_some_and(|peak| *peak > SPIKE), "{text}");
    assert_eq!((cell.word, cell.peak_phase), (Word::Fail, Some(Phase::Prefill)), "{text}");
    let named = "came and went within the phase and are in no buffer of the target's ledger: the peak of 9";
    assert!(text.contains("trial 0: in prefill ") && text.contains(named), "{text}");
}

#[test]
fn bytes_planted_in_a_class_are_named_by_their_class() {
    let budget = "budgets: [{id: total, total: {fail: 90 MiB}, why: a test}]\n";
    let (verdict, text) = swept_alone("planted", |text| text + budget);
    let result = &verdict.cells[0].budgets[0];
    assert_eq!(result.word, Word::Fail, "{text}");
    let behind = result.responsible.as_ref().expect("a class");
    assert_eq!((behind.class, behind.bytes), (BufferClass::RecurrentState, PLANTED));
    assert!(text.contains("recurrent_state holds 64.0 MiB after "), "{text}");
    assert!(text.contains("64.0 MiB more than planned"), "{text}");
    assert!(text.contains("plan and ledger disagree by 67108864 B"), "{text}");
}

#[test]
fn a_knob_that_moves_nothing_is_inert() {
    let (_copied, machine) = copied_board("x86-no-gpu");
    let tried = |text: String| {
        text.replace("    maxInputLen: [64]", "  one_at_a_time:\n    gdnPrefillMaxSeq: [256, 64]")
    };
    let (verdict, text, _) = swept(&scenario(&["good"], tried), &machine, |_| {});
    assert_eq!(verdict.levers[0].word, LeverWord::Inert, "{text}");
    assert!(text.contains("inert"), "{text}");
}

/// Writes to a file of the copied machine.
fn write(machine: &Path, file: &str, text: &str) {
    std::fs::write(machine.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
}

#[test]
fn a_throttled_trial_decides_nothing_and_says_why() {
    let (copied, machine) = copied_board("orin-nx-16gb");
    let counter = "sys/class/hwmon/hwmon4/oc3_event_cnt";
    let budget = "budgets: [{id: total, total: {fail: 500 MiB}, why: a test}]\n";
    let plant = |moment| {
        if let Moment::Enters(Phase::Decode) = moment {
            write(copied.path(), counter, "5\n");
        }
    };
    let (verdict, text, _) = swept(&scenario(&["good"], |text| text + budget), &machine, plant);
    assert_eq!(verdict.cells[0].word, Word::Inconclusive, "{text}");
    assert!(text.contains("the machine slowed itself down in decode: oc3 counted 3 more"), "{text}");
}

#[test]
fn a_sensor_that_disappears_half_way_is_named_with_its_phase() {
    let (copied, machine) = copied_board("orin-nx-16gb");
    let plant = |moment| {
        if let Moment::Enters(Phase::Decode) = moment {
            let counter = copied.path().join("sys/class/hwmon/hwmon4/oc3_event_cnt");
            std::fs::remove_file(counter).expect("ours");
        }
    };
    let (_, text, _) = swept(&scenario(&["good"], |text| text), &machine, plant);
    let lost = "trial 0: throttle counter oc3 could be read before and not at the end of decode";
    assert!(text.contains(lost), "{text}");
    assert_eq!(text.matches("throttle counter oc3").count(), 1, "once, not at every phase: {text}");
}

#[test]
fn what_a_trial_leaves_behind_makes_the_next_one_inconclusive() {
    let (copied, machine) = copied_board("orin-nx-16gb");
    let total = "sys/kernel/debug/nvmap/stats/total_memory";
    let before = std::fs::read_to_string(copied.path().join(total)).expect("recorded");
    let before: u64 = before.trim().parse().expect("bytes");
    let twice =
        |text: String| text.replace("trials: 1", "trials: 3\nfloor: {tolerance: 64 MiB, timeout: 300 ms}");
    let plant = |moment| match moment {
        Moment::Ended(0) => write(copied.path(), total, &format!("{}\n", before + (212 << 20))),
        Moment::Ended(1) => write(copied.path(), total, &format!("{before}\n")),
        _ => {}
    };
    let (verdict, text, run) = swept(&scenario(&["good"], twice), &machine, plant);
    let left = "it began before the floor was back: 212.0 MiB of device memory that trial 0 of model=good maxInputLen=64 left";
    assert!(text.contains(left), "{text}");
    let found: Vec<u32> = verdict.cells[0].inconclusive_trials.iter().map(|found| found.trial).collect();
    assert_eq!(found, [1], "once it is back, trials count again: {text}");
    let waited = |trial: usize| run.trials[trial].record.floor.as_ref().expect("recorded").settled_us.0;
    assert!(waited(0) < 300_000 && waited(1) >= 300_000 && waited(2) < 300_000);
    assert!(!run.trials[1].record.is_finished(), "a later run does not take it over");
}

#[test]
fn a_floor_that_comes_back_in_time_is_waited_for() {
    let (copied, machine) = copied_board("x86-no-gpu");
    let path = copied.path().join("proc/meminfo");
    let before = std::fs::read_to_string(&path).expect("recorded");
    let line = before.lines().find(|line| line.starts_with("MemAvailable:")).expect("it has one");
    let taken = before.replace(line, "MemAvailable:    1000000 kB");
    let twice = |text: String| text.replace("trials: 1", "trials: 2\nfloor: {tolerance: 64 MiB}");
    let plant = |moment| {
        if let Moment::Ended(0) = moment {
            std::fs::write(&path, &taken).expect("ours");
            let (path, before) = (path.clone(), before.clone());
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(400));
                std::fs::write(path, before).expect("ours");
            });
        }
    };
    let (verdict, text, run) = swept(&scenario(&["good"], twice), &machine, plant);
    assert!(verdict.cells[0].inconclusive_trials.is_empty(), "{text}");
    let floor = run.trials[1].record.floor.as_ref().expect("recorded");
    assert!(floor.settled_us.0 >= 300_000, "{floor:?}");
}

#[test]
fn a_runtime_of_an_earlier_run_is_named_by_its_number() {
    let (copied, machine) = copied_board("x86-no-gpu");
    let process = copied.path().join("proc/4711");
    std::fs::create_dir(&process).expect("ours");
    std::fs::write(process.join("cmdline"), "/opt/sweep\0serve\0--port-file\0p\0").expect("ours");
    let status = "RssAnon: 2097152 kB\nRssFile: 0 kB\nRssShmem: 0 kB\nVmHWM: 9 kB\nVmSwap: 0 kB\n";
    std::fs::write(process.join("status"), status).expect("ours");
    let impatient = |text: String| text.replace("trials: 1", "trials: 1\nfloor: {timeout: 200 ms}");
    let (verdict, text, _) = swept(&scenario(&["good"], impatient), &machine, |_| {});
    assert_eq!(verdict.cells[0].word, Word::Inconclusive);
    assert!(text.contains("process 4711 of an earlier run still holds 2,048.0 MiB"), "{text}");
}
