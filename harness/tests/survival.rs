//! Faults from outside: kills at any moment, disks that are full or cannot be written, clocks that jump. No record is corrupt, no
//! finished cell is lost, and nothing is left running.

mod fake;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use fake::sweep::{GUARD, RUNS, Run as FakeRun, command, start, sweep, try_sweep};
use harness::probe::ProcRoot;
use harness::record::{CellId, CellRecord, Journal, Outcome, Run, TrialEvent, TrialRecord, recover};
use harness::sweep::SweepError;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

/// Longer than anything takes that is not stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that look random, the same ones for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

/// What is done to a run at a random moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    KillHarness,
    KillTarget,
    KillGuardian,
    Terminate,
    InterruptOnce,
    InterruptTwice,
}

impl Blow {
    /// The harness is killed as often as all else together.
    const ALL: [Blow; 10] = [
        Blow::KillHarness,
        Blow::KillHarness,
        Blow::KillHarness,
        Blow::KillHarness,
        Blow::KillHarness,
        Blow::KillTarget,
        Blow::KillGuardian,
        Blow::Terminate,
        Blow::InterruptOnce,
        Blow::InterruptTwice,
    ];
}

/// Every process of the runs below `runs`, with its environment; the dead that wait for their parents have none.
fn processes_of(runs: &Path) -> Vec<(u32, String)> {
    let entry = format!("{RUNS}={}\0", runs.display());
    let root = ProcRoot::default();
    let all = root.processes().into_iter().map(|process| {
        let environment = std::fs::read(root.of_process(process.pid, "environ")).unwrap_or_default();
        (process.pid, String::from_utf8_lossy(&environment).into_owned())
    });
    all.filter(|(_, environment)| environment.contains(&entry)).collect()
}

fn send(pid: u32, signal: Signal) {
    // It may have ended a moment ago.
    let _ = kill_process(Pid::from_raw(pid as i32).expect("a number of a process"), signal);
}

fn wait_for(harness: &mut Child) -> ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = harness.try_wait().expect("it is ours") {
            return status;
        }
        assert!(Instant::now() < until, "the harness hangs");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn wait_until_nothing_is_left(runs: &Path) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let left = processes_of(runs);
        if left.is_empty() {
            break;
        }
        if Instant::now() > until {
            let root = ProcRoot::default();
            let name =
                |pid: &u32| std::fs::read_to_string(root.of_process(*pid, "cmdline")).unwrap_or_default();
            let names: Vec<String> = left.iter().map(|(pid, _)| format!("{pid} {}", name(pid))).collect();
            left.iter().for_each(|(pid, _)| send(*pid, Signal::KILL));
            panic!("left behind: {names:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Names of the memory cgroups that trials have left anywhere.
fn cgroups_left() -> Vec<PathBuf> {
    let mut left = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = waiting.pop() {
        let folders = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for folder in folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if folder.file_name().to_string_lossy().starts_with("sweep-") {
                left.push(folder.path());
            }
            waiting.push(folder.path());
        }
    }
    left
}

type TrialName = (CellId, u32);

/// Everything below `runs`, read back; whatever cannot be read fails the test.
fn read_all(runs: &Path) -> BTreeMap<PathBuf, Run> {
    let folders = std::fs::read_dir(runs).expect("readable").flatten().map(|entry| entry.path());
    // A kill before the first word leaves a folder that says nothing.
    let folders = folders.filter(|folder| folder.join("run.json").exists());
    folders
        .map(|folder| {
            let run = Run::load(&folder).unwrap_or_else(|error| panic!("{error}"));
            assert!(run.unreadable.is_empty(), "{:?}", run.unreadable);
            for trial in &run.trials {
                let samples = folder.join("samples");
                let series = samples.join(format!("{}-{}.csv", trial.record.cell.id.0, trial.record.trial));
                let is_empty = std::fs::read(&series).is_ok_and(|text| text.is_empty());
                let read = trial.series.measured().is_some() || !series.exists() || is_empty;
                assert!(read || is_without_samples(&trial.series), "{:?}", trial.series);
            }
            (folder, run)
        })
        .collect()
}

/// True for a series that was killed between its header and its first sample.
fn is_without_samples(series: &harness::record::Reading<harness::record::Series>) -> bool {
    matches!(series, harness::record::Reading::Unavailable(why) if why == "the series holds no sample")
}

fn finished(runs: &BTreeMap<PathBuf, Run>) -> BTreeSet<TrialName> {
    let trials = runs.values().flat_map(|run| &run.trials).map(|trial| &trial.record);
    let finished = trials.filter(|trial| trial.is_finished());
    finished.map(|trial| (trial.cell.id.clone(), trial.trial)).collect()
}

/// What a campaign of kills came to.
#[derive(Debug, Default)]
struct Tally {
    blows: BTreeMap<Blow, u32>,
    /// By what was torn: how many phases of the trial that was under way had ended.
    torn_after_phases: BTreeMap<usize, u32>,
    runs_completed: u32,
    trials_taken_over: u32,
    missed: u32,
}

/// Deals `count` blows to short runs, each at a random moment, takes every run up again until it is complete, and checks after each
/// blow that all is whole.
fn deal(count: u32, seed: u64) -> Tally {
    let mut dice = Dice(seed);
    let mut tally = Tally::default();
    let mut place = tempfile::tempdir().expect("a folder");
    let unharmed = Instant::now();
    let status = wait_for(&mut start(FakeRun::Short, place.path()));
    assert!(status.success(), "unharmed, it ends well: {status}");
    let mut lasts = unharmed.elapsed();
    wait_until_nothing_is_left(place.path());
    let groups_before = cgroups_left();
    place = tempfile::tempdir().expect("a folder");
    let mut known: BTreeSet<PathBuf> = BTreeSet::new();
    let mut done: BTreeSet<TrialName> = BTreeSet::new();
    let mut dealt = 0;
    while dealt < count {
        let runs = place.path();
        let blow = Blow::ALL[dice.below(Blow::ALL.len() as u64) as usize];
        let after = Duration::from_micros(dice.below(lasts.as_micros() as u64 * 11 / 10));
        let mut harness = start(FakeRun::Short, runs);
        let started = Instant::now();
        std::thread::sleep(after);
        if strike(blow, &mut harness, runs) {
            dealt += 1;
            *tally.blows.entry(blow).or_default() += 1;
        } else {
            tally.missed += 1;
        }
        let status = wait_for(&mut harness);
        if status.success() {
            // A run that takes up another one is shorter; most moments are to be before its end.
            lasts = lasts.min(started.elapsed().max(Duration::from_millis(300)));
        }
        wait_until_nothing_is_left(runs);
        let groups: Vec<PathBuf> =
            cgroups_left().into_iter().filter(|group| !groups_before.contains(group)).collect();
        assert!(groups.is_empty(), "{groups:?}");
        let told = format!("seed {seed}, blow {dealt}: {blow:?} after {after:?}, {status}");
        let ended_well = matches!(status.code(), Some(0 | 130)) || status.signal().is_some();
        assert!(ended_well, "{told}");

        let all = read_all(runs);
        let new: Vec<&Run> =
            all.iter().filter(|(folder, _)| !known.contains(*folder)).map(|(_, run)| run).collect();
        assert!(new.len() <= 1, "{told}: one harness made {} runs", new.len());
        for run in &new {
            let records = run.trials.iter().map(|trial| &trial.record);
            for record in records {
                let name = (record.cell.id.clone(), record.trial);
                let is_taken = record.resumed_from.is_some();
                assert!(is_taken || !done.contains(&name), "{told}: {name:?} was finished, and ran again");
                tally.trials_taken_over += u32::from(is_taken);
                if record.outcome == Outcome::Interrupted {
                    *tally.torn_after_phases.entry(record.phases.len()).or_default() += 1;
                }
            }
        }
        let now = finished(&all);
        assert!(now.is_superset(&done), "{told}: a finished trial is gone");
        let is_complete = new.first().is_some_and(|run| run.record.is_complete());
        known = all.into_keys().collect();
        done = now;
        if is_complete {
            tally.runs_completed += 1;
            place = tempfile::tempdir().expect("a folder");
            known.clear();
            done.clear();
        }
    }
    tally
}

/// False where the blow met nobody.
fn strike(blow: Blow, harness: &mut Child, runs: &Path) -> bool {
    if harness.try_wait().expect("it is ours").is_some() {
        return false;
    }
    let one_with = |variable: &str| {
        let all = processes_of(runs).into_iter();
        let mut bearers = all.filter(|(_, environment)| environment.contains(&format!("{variable}=")));
        bearers.next().map(|(pid, _)| pid)
    };
    match blow {
        Blow::KillHarness => send(harness.id(), Signal::KILL),
        Blow::Terminate => send(harness.id(), Signal::TERM),
        Blow::InterruptOnce => send(harness.id(), Signal::INT),
        Blow::InterruptTwice => {
            send(harness.id(), Signal::INT);
            std::thread::sleep(Duration::from_millis(30));
            send(harness.id(), Signal::INT);
        }
        Blow::KillTarget | Blow::KillGuardian => {
            let variable = if blow == Blow::KillTarget { "FAKE_TARGET" } else { GUARD };
            let Some(pid) = one_with(variable) else { return false };
            send(pid, Signal::KILL);
        }
    }
    true
}

#[test]
fn random_kills_corrupt_nothing_lose_nothing_and_leave_nothing() {
    let tally = deal(8, 20_260_131);
    assert_eq!(tally.blows.values().sum::<u32>(), 8, "{tally:?}");
}

/// Run by `ci/kills.sh`.
#[test]
#[ignore = "takes as long as it is told to: bash ci/kills.sh"]
fn random_kills_at_length() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("SWEEP_KILLS").unwrap_or(1000);
    let seed = number("SWEEP_SEED").unwrap_or(1);
    let (started, mut dealt) = (Instant::now(), 0);
    let limit = number("SWEEP_SECONDS").map_or(Duration::MAX, Duration::from_secs);
    // In portions, so that what was done is told even where time ends first.
    while dealt < count && started.elapsed() < limit {
        let portion = (count - dealt).min(25);
        let tally = deal(portion as u32, seed.wrapping_add(dealt));
        dealt += portion;
        println!("{dealt} of {count} kills after {:.0} s: {tally:?}", started.elapsed().as_secs_f64());
    }
    println!("{dealt} kills: no record corrupt, no finished trial lost, no process and no cgroup left");
}

#[test]
fn a_disk_that_fills_up_ends_the_run_and_what_was_finished_counts() {
    let place = tempfile::tempdir().expect("a folder");
    // No file may have more than 96 KiB: the second trial's series gets there.
    let full = "trap '' XFSZ; ulimit -f 192; exec \"$@\"";
    let mut harness = command(FakeRun::Series, place.path(), Some(full)).spawn().expect("a shell");
    assert_eq!(wait_for(&mut harness).code(), Some(70), "the harness says that it failed");
    wait_until_nothing_is_left(place.path());
    let runs = read_all(place.path());
    let (_, run) = runs.first_key_value().expect("the run");
    let outcomes: Vec<&Outcome> = run.trials.iter().map(|trial| &trial.record.outcome).collect();
    assert_eq!(outcomes, [&Outcome::Completed, &Outcome::Interrupted]);
    assert!(!run.record.is_complete(), "it can be taken up");
    // With room again, it goes on.
    let (_, notes) = sweep(&FakeRun::Series.scenario(), place.path(), &[], false, None);
    assert_eq!(notes, ["2 cells, 1 trials, resumed: true", "good.a-0 taken over", "hang_stream.b-0 run"]);
}

/// Writes a journal on a disk that fills up and has room again.
#[test]
fn journal_in_a_process() {
    let Some(path) = std::env::var_os("FAKE_JOURNAL").map(PathBuf::from) else { return };
    let limit = |bytes: Option<u64>| {
        setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("below the hard limit");
    };
    let cell: CellRecord = FakeRun::Short.scenario().expand().cells[0].record();
    let mut journal = Journal::create(&path, cell, 0, "2026-01-31T00:00:00Z".to_owned()).expect("room");
    let length = std::fs::metadata(&path).expect("it is there").len();
    limit(Some(length + 30));
    let refused = journal.append(TrialEvent::Warning("a warning that does not fit".to_owned()));
    assert!(refused.is_err(), "there was no room");
    assert_eq!(std::fs::metadata(&path).expect("it is there").len(), length, "of a line nothing stays");
    limit(None);
    journal.append(TrialEvent::Warning("later".to_owned())).expect("room again");
    std::process::exit(42);
}

#[test]
fn a_journal_is_whole_lines_even_where_there_was_no_room_for_one() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("a-0.jsonl");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(std::env::current_exe().expect("a program"));
    shell.args(["--exact", "journal_in_a_process", "--nocapture"]).env("FAKE_JOURNAL", &path);
    let output = shell.output().expect("a shell");
    assert_eq!(output.status.code(), Some(42), "{}", String::from_utf8_lossy(&output.stderr));
    let record: TrialRecord = recover(&path).expect("whole lines");
    assert_eq!(record.warnings, ["later"]);
}

#[test]
fn a_place_that_cannot_be_written_is_named_before_anything_starts() {
    // Nobody can make a folder there, whoever runs this.
    let nowhere = Path::new("/proc/sweep/runs");
    let (end, notes) = try_sweep(&FakeRun::Short.scenario(), nowhere, &[], false, None);
    let error = end.expect_err("there is no such place");
    assert!(matches!(&error, SweepError::Folder { folder, .. } if folder == nowhere), "{error}");
    assert!(error.to_string().contains("/proc/sweep/runs"), "{error}");
    assert_eq!(notes, Vec::<String>::new());
}

/// Waits until the journal of the trial `at` says that `phase` has begun.
fn wait_for_phase(runs: &Path, run: FakeRun, at: usize, phase: &str) {
    let cell = run.scenario().expand().cells[at].id.0.clone();
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let folders = std::fs::read_dir(runs).into_iter().flatten().flatten();
        let journals = folders.map(|folder| folder.path().join("trials").join(format!("{cell}-0.jsonl")));
        let mut texts = journals.filter_map(|journal| std::fs::read_to_string(journal).ok());
        if texts.any(|text| text.contains(&format!("{{\"phase_started\":{{\"phase\":\"{phase}\""))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{phase} was never reached");
}

#[test]
fn the_first_ctrl_c_lets_the_trial_end_and_begins_no_other() {
    let place = tempfile::tempdir().expect("a folder");
    let mut harness = start(FakeRun::Short, place.path());
    wait_for_phase(place.path(), FakeRun::Short, 0, "idle");
    send(harness.id(), Signal::INT);
    assert_eq!(wait_for(&mut harness).code(), Some(130));
    wait_until_nothing_is_left(place.path());
    let runs = read_all(place.path());
    let (_, run) = runs.first_key_value().expect("the run");
    let outcomes: Vec<&Outcome> = run.trials.iter().map(|trial| &trial.record.outcome).collect();
    assert_eq!(outcomes, [&Outcome::Completed], "it was finished, and was the last");
    assert!(!run.record.is_complete());
    let (_, notes) = sweep(&FakeRun::Short.scenario(), place.path(), &[], false, None);
    assert_eq!(notes[1..], ["good.a-0 taken over", "daemon.b-0 run", "good.c-0 run"]);
}

#[test]
fn the_second_ctrl_c_stops_the_trial_and_saves_its_record() {
    let place = tempfile::tempdir().expect("a folder");
    let mut harness = start(FakeRun::Long, place.path());
    wait_for_phase(place.path(), FakeRun::Long, 1, "decode");
    send(harness.id(), Signal::INT);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(harness.try_wait().expect("it is ours"), None, "the first one waits for the trial");
    send(harness.id(), Signal::INT);
    assert_eq!(wait_for(&mut harness).code(), Some(130));
    wait_until_nothing_is_left(place.path());
    let runs = read_all(place.path());
    let (folder, run) = runs.first_key_value().expect("the run");
    let last = &run.trials.last().expect("two trials").record;
    assert_eq!((run.trials.len(), &last.outcome), (2, &Outcome::Interrupted));
    assert!(
        folder.join("trials").join(format!("{}-0.json", last.cell.id.0)).is_file(),
        "its record is whole"
    );
    assert!(run.record.finished_at.is_some() && !run.record.is_complete());
}

#[test]
fn a_clock_that_was_set_back_hides_no_run() {
    let place = tempfile::tempdir().expect("a folder");
    let mut harness = start(FakeRun::Short, place.path());
    wait_for_phase(place.path(), FakeRun::Short, 1, "load");
    send(harness.id(), Signal::KILL);
    wait_for(&mut harness);
    wait_until_nothing_is_left(place.path());
    let (folder, _) = read_all(place.path()).pop_first().expect("the run");
    // As if the clock had been in 2099 then.
    std::fs::rename(&folder, place.path().join("20990101T000000.000Z")).expect("ours");
    let (end, notes) = sweep(&FakeRun::Short.scenario(), place.path(), &[], false, None);
    assert_eq!(notes[..2], ["3 cells, 1 trials, resumed: true", "good.a-0 taken over"]);
    assert!(end.folder.path().ends_with("20990101T000000.000Z-0001"), "{:?}", end.folder.path());
    // It did not finish either, as nobody said so: the newest is found again, and has everything.
    let (_, notes) = sweep(&FakeRun::Short.scenario(), place.path(), &[], false, None);
    assert_eq!(notes[1..], ["good.a-0 taken over", "daemon.b-0 taken over", "good.c-0 taken over"]);
    // Time within a trial is the monotonic clock's.
    for run in read_all(place.path()).values() {
        let phases = run.trials.iter().flat_map(|trial| trial.record.phases.windows(2));
        phases.for_each(|pair| assert!(pair[0].ended_us <= pair[1].started_us));
    }
}

#[test]
fn a_run_that_is_killed_before_it_took_over_everything_loses_nothing() {
    let place = tempfile::tempdir().expect("a folder");
    let scenario = FakeRun::Short.scenario();
    sweep(&scenario, place.path(), &[], false, None);
    // The second run knows of the first, and was killed before its first cell.
    let (folder, run) = read_all(place.path()).pop_first().expect("the run");
    let mut record = run.record.clone();
    record.trials.clear();
    record.resumed_from = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let second = harness::record::RunFolder::make(place.path()).expect("writable");
    harness::record::RunFolder::begin(second, record).expect("writable");
    let (end, notes) = sweep(&scenario, place.path(), &[], false, None);
    assert_eq!(notes[1..], ["good.a-0 taken over", "daemon.b-0 taken over", "good.c-0 taken over"]);
    let from = Run::load(end.folder.path()).expect("whole").trials[0].record.resumed_from.clone();
    assert_eq!(
        from,
        folder.file_name().map(|name| name.to_string_lossy().into_owned()),
        "who has measured it"
    );
}

#[test]
fn a_trial_that_was_announced_and_never_began_is_no_corrupt_record() {
    let place = tempfile::tempdir().expect("a folder");
    let scenario = FakeRun::Short.scenario();
    let (mut end, _) = sweep(&scenario, place.path(), &[], false, None);
    let last = end.folder.record().trials.last().expect("three").clone();
    let paths = harness::record::TrialPaths::of(end.folder.path(), &last);
    for journal in [None, Some(""), Some("{\"started\":{\"format_ver")] {
        let _ = std::fs::remove_file(&paths.record);
        let _ = std::fs::remove_file(&paths.journal);
        if let Some(text) = journal {
            std::fs::write(&paths.journal, text).expect("ours");
        }
        let run = Run::load(end.folder.path()).expect("run.json is whole");
        assert_eq!((run.trials.len(), run.unreadable.len()), (2, 0), "{journal:?}");
    }
    // In a run that came to its end, the same is a record that was lost.
    end.folder.finish("2026-01-31T00:00:00Z".to_owned(), 0).expect("writable");
    let run = Run::load(end.folder.path()).expect("run.json is whole");
    assert_eq!((run.trials.len(), run.unreadable.len()), (2, 1));
}
