//! The process tree on a `/proc` made of plain files: numbers that are reused, parents that change, orphans.

use std::fs;
use std::path::Path;

use harness::probe::{Probe, ProcRoot, ProcessMemory, ProcessTree, SystemMemory, SystemRoot};
use harness::record::Reading;
use ledger::Bytes;

const HARNESS: u32 = 50;
const LEADER: u32 = 100;

/// Puts a process into the fake `/proc`. Its memory is `kib` of anonymous pages, and as many of the other kinds.
fn process(root: &Path, pid: u32, parent: u32, session: u32, start: u64, children: &str, kib: u64) {
    let folder = root.join(pid.to_string());
    let task = folder.join("task").join(pid.to_string());
    fs::create_dir_all(&task).expect("writable");
    fs::write(task.join("children"), children).expect("writable");
    let stat = format!(
        "{pid} (a b) c) S {parent} {session} {session} 0 -1 0 1 2 3 4 5 6 7 8 20 0 3 0 {start} 9 9\n"
    );
    fs::write(folder.join("stat"), stat).expect("writable");
    let status = format!(
        "Name:\tx\nVmHWM:\t{} kB\nRssAnon:\t{kib} kB\nRssFile:\t{kib} kB\nRssShmem:\t{kib} kB\nVmSwap:\t{kib} kB\n",
        kib * 4
    );
    fs::write(folder.join("status"), status).expect("writable");
    fs::write(folder.join("smaps_rollup"), format!("Rss: {kib} kB\nPss: {} kB\n", kib * 2))
        .expect("writable");
    fs::write(folder.join("clear_refs"), "").expect("writable");
}

fn small_world(root: &Path) {
    process(root, HARNESS, 1, 50, 10, "100 103 104 105", 1_000_000);
    process(root, LEADER, HARNESS, LEADER, 200, "101 102", 1);
    process(root, 101, LEADER, LEADER, 210, "", 10);
    // The kernel lists 102, but by now the number belongs to someone else's child.
    process(root, 102, 7, 7, 220, "", 1_000_000);
    // An orphan of the target came to its subreaper; so did one of another session, and one from before.
    process(root, 103, HARNESS, LEADER, 230, "106", 100);
    process(root, 104, HARNESS, 104, 240, "", 1_000_000);
    process(root, 105, HARNESS, LEADER, 150, "", 1_000_000);
    // A child that is older than its parent is no child of it.
    process(root, 106, 103, LEADER, 100, "", 1_000_000);
}

fn pids(memory: &ProcessMemory) -> Vec<u32> {
    let mut pids: Vec<u32> = memory.identities().iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    pids
}

#[test]
fn only_the_targets_own_processes_count() {
    let folder = tempfile::tempdir().expect("a folder");
    small_world(folder.path());
    let root = ProcRoot::at(folder.path());
    let memory = ProcessMemory::new(ProcessTree::of(&root, LEADER).expect("it is there"));
    assert_eq!(pids(&memory), [100, 101, 103]);
    let reading = memory.read_now().expect("three processes");
    assert_eq!(reading.processes, 3);
    assert_eq!(reading.resident.anonymous_bytes, Bytes::kib(111));
    assert_eq!(reading.resident.total(), Bytes::kib(333));
    assert_eq!(reading.high_water, Bytes::kib(444));
    assert_eq!(reading.swapped, Bytes::kib(111));
    assert_eq!(memory.proportional(), Reading::Measured(Bytes::kib(222)));
    memory.reset_peak().expect("writable");
    for pid in [100, 101, 103] {
        assert_eq!(fs::read_to_string(root.of_process(pid, "clear_refs")).expect("readable"), "5");
    }
    assert_eq!(fs::read_to_string(root.of_process(104, "clear_refs")).expect("readable"), "");
}

#[test]
fn new_processes_are_found_and_a_reused_number_is_another_process() {
    let folder = tempfile::tempdir().expect("a folder");
    small_world(folder.path());
    let root = ProcRoot::at(folder.path());
    let memory = ProcessMemory::new(ProcessTree::of(&root, LEADER).expect("it is there"));

    process(folder.path(), LEADER, HARNESS, LEADER, 200, "101 107", 1);
    process(folder.path(), 107, LEADER, LEADER, 300, "", 1000);
    // 101 ended, and its number went to a stranger.
    fs::remove_dir_all(folder.path().join("101")).expect("writable");
    process(folder.path(), 101, 1, 1, 900, "", 1_000_000);
    memory.refresh();
    assert_eq!(pids(&memory), [100, 103, 107]);
    assert_eq!(memory.read_now().expect("alive").resident.anonymous_bytes, Bytes::kib(1101));

    // A process that left its parent and its session was seen before, and stays in the tree.
    process(folder.path(), LEADER, HARNESS, LEADER, 200, "", 1);
    process(folder.path(), 107, 1, 107, 300, "", 1000);
    memory.refresh();
    assert_eq!(pids(&memory), [100, 103, 107]);
}

#[test]
fn what_is_gone_is_absent_and_never_zero() {
    let folder = tempfile::tempdir().expect("a folder");
    small_world(folder.path());
    let root = ProcRoot::at(folder.path());
    assert!(ProcessTree::of(&root, 999).is_none());
    let memory = ProcessMemory::new(ProcessTree::of(&root, LEADER).expect("it is there"));
    for pid in [100, 101, 103] {
        fs::write(root.of_process(pid, "status"), "Name:\tx\nState:\tZ (zombie)\n").expect("writable");
    }
    assert_eq!(memory.read_now(), None);
    for pid in [100, 101, 103] {
        fs::remove_dir_all(folder.path().join(pid.to_string())).expect("writable");
    }
    memory.refresh();
    assert_eq!(pids(&memory), Vec::<u32>::new());
    assert!(matches!(memory.proportional(), Reading::Unavailable(_)));
}

#[test]
fn the_machines_memory_has_a_reason_where_it_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = SystemRoot::recorded(folder.path()).expect("a folder");
    let absent = SystemMemory::open(&root);
    assert!(matches!(absent.available_now(), Reading::Unavailable(why) if why.contains("meminfo")));
    assert!(matches!(absent.cadence(), Reading::Unavailable(_)));
    assert_eq!(absent.oom_kills(), None);
    fs::create_dir(folder.path().join("proc")).expect("writable");
    fs::write(folder.path().join("proc/meminfo"), "MemTotal: 9 kB\n").expect("writable");
    assert!(
        matches!(SystemMemory::open(&root).available_now(), Reading::Unavailable(why) if why.contains("MemAvailable"))
    );
    fs::write(folder.path().join("proc/meminfo"), "MemTotal: 9 kB\nMemAvailable: 4 kB\n").expect("writable");
    fs::write(folder.path().join("proc/vmstat"), "oom_kill 3\n").expect("writable");
    let present = SystemMemory::open(&root);
    assert_eq!(present.available_now(), Reading::Measured(Bytes::kib(4)));
    assert_eq!(present.oom_kills(), Some(3));
}
