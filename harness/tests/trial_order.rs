//! Which trial comes next, and how long the machine rests before it.

mod fake;

use fake::scenario;
use fake::sweep::{sweep, sweep_on};
use harness::record::Run;

#[test]
fn blocks_visit_every_cell_in_their_own_order_and_are_taken_up_in_it() {
    let runs = tempfile::tempdir().expect("a folder");
    let models = ["good.a", "good.b", "good.c"];
    let blocked = |text: String| {
        text.replace("order: as_written", "order: blocked_random")
            .replace("trials: 1", "trials: 2\ncooldown: {for: 60 ms}")
            .replace("50 ms", "20 ms")
    };
    let scenario = scenario(&models, blocked);
    let cells = scenario.expand().cells;
    let visits = scenario.visits(&cells);
    let wanted: Vec<(String, u32)> =
        visits.iter().map(|(at, trial)| (cells[*at].id.0.clone(), *trial)).collect();
    let (end, _) = sweep(&scenario, runs.path(), &[], false, None);
    let read = Run::load(end.folder.path()).expect("whole");
    let began: Vec<(String, u32)> =
        read.record.trials.iter().map(|file| (file.cell.0.clone(), file.trial)).collect();
    assert_eq!(began, wanted);
    let rests: Vec<Option<u64>> = read
        .trials
        .iter()
        .map(|trial| Some(trial.record.floor.as_ref()?.cooldown.as_ref()?.rested_us.0))
        .collect();
    assert_eq!(rests[0], None, "nothing came before the first trial");
    assert!(rests[1..].iter().all(|rest| rest.is_some_and(|rest| rest >= 60_000)), "{rests:?}");

    // It never said that it was over: another one takes up all of it, but for a trial that is gone.
    let (lost, trial) = &wanted[2];
    std::fs::remove_file(end.folder.path().join(format!("trials/{lost}-{trial}.json"))).expect("ours");
    let journal = end.folder.path().join(format!("trials/{lost}-{trial}.jsonl"));
    let text = std::fs::read_to_string(&journal).expect("ours");
    let torn: Vec<&str> = text.lines().take(3).collect();
    std::fs::write(&journal, torn.join("\n") + "\n").expect("ours");
    let (_, notes) = sweep(&scenario, runs.path(), &[], false, None);
    let done: Vec<&str> = notes[1..].iter().map(|note| note.rsplit_once(' ').expect("two words").1).collect();
    assert_eq!(done, ["over", "over", "run", "over", "over", "over"], "{notes:?}");
}

#[test]
fn a_machine_that_is_hot_or_silent_makes_the_next_trial_doubtful() {
    let runs = tempfile::tempdir().expect("a folder");
    let warned = |board: Option<&str>| {
        let scenario = scenario(&["good"], |text| {
            text.replace("trials: 1", "trials: 2\ncooldown: {below: 5 °C, timeout: 100 ms}")
                .replace("50 ms", "20 ms")
        });
        let copied = board.map(fake::copied_board);
        let (end, _) = match &copied {
            Some((_, machine)) => sweep_on(&scenario, runs.path(), machine),
            None => sweep(&scenario, runs.path(), &[], true, None),
        };
        let read = Run::load(end.folder.path()).expect("whole");
        let warnings = |at: usize| read.trials[at].record.warnings.join("; ");
        assert!(!warnings(0).contains("it began hot"), "nothing came before it");
        warnings(1)
    };
    let hot = warned(Some("agx-orin-64gb"));
    assert!(hot.contains("it began hot: ") && hot.contains("and not below 5.0 °C"), "{hot}");
    let silent = warned(None);
    assert!(silent.contains("whether it began below 5.0 °C is not known: "), "{silent}");
}
