//! Logs of other programs: what they say is kept with its place, and what they do not say is not made up.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::import::{Account, LogKind, read_log};
use harness::record::Reading;
use ledger::{BufferClass, Bytes, Role};

fn logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/logs")
}

fn account(names: &[&str]) -> Account {
    Account::of(names.iter().map(|name| read(&logs().join(name))).collect())
}

fn read(path: &Path) -> (PathBuf, Vec<LogKind>, harness::import::Evidence) {
    let (kinds, evidence) = read_log(path).expect("it says something");
    (path.to_owned(), kinds, evidence)
}

/// The account of `text` in a file.
fn said(text: &str) -> Account {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    std::fs::write(&path, text).expect("writable");
    Account::of(vec![read(&path)])
}

fn sweep(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sweep"));
    command.arg("import").args(arguments).current_dir(logs()).output().expect("it starts")
}

#[test]
fn the_reported_case_shows_what_nobody_owns() {
    let output = sweep(&["reported-case.free", "reported-case.log", "--part", "kv_cache=128MiB"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout));

    let account = account(&["reported-case.free", "reported-case.log"]);
    let named = Bytes::mib(2003 + 374 + 2048) + Bytes(248_320 * 2560 * 2);
    assert_eq!(account.named_bytes, named);
    let unexplained = Bytes::mib(12_947).signed_difference(named);
    assert_eq!(account.unexplained_bytes, Reading::Measured(unexplained));
    assert_eq!(account.device.measured().map(|device| device.bytes), Some(Bytes::mib(11_891)));
    assert!(
        !account.parts.iter().any(|part| part.bytes == Bytes::mib(11_891)),
        "a device is no part of a target"
    );
    let draft = account.parts.iter().find(|part| part.role == Role::Draft).expect("the second engine");
    assert_eq!((draft.class, draft.bytes, draft.place.line), (BufferClass::WeightsDraft, Bytes::mib(374), 5));
}

#[test]
fn the_reported_case_is_kept_as_a_run_with_a_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let runs = folder.path().to_str().expect("plain");
    let output = sweep(&[
        "reported-case.free",
        "reported-case.log",
        "--part",
        "kv_cache=128MiB",
        "--run",
        "--output",
        runs,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let html = said.lines().find_map(|line| line.strip_prefix("report: ")).expect("it says where");
    let page = std::fs::read_to_string(html).expect("a page");
    let waterfall = page.split("<svg class=\"chart\"").nth(1).expect("a chart").split("</svg>").next();
    let waterfall = waterfall.expect("it ends");
    // Each part with its name and size, what nobody owns, and the whole.
    for (name, size) in [
        ("prefill_workspace", "2,048.0"),
        ("weights.linear", "2,003.0"),
        ("weights.embedding", "1,212.5"),
        ("weights.draft", "374.0"),
        ("kv_cache", "128.0"),
        ("unexplained", "7,181.5"),
        ("used by the machine", "12,947.0"),
    ] {
        let name = waterfall.find(&format!(">{name}<")).unwrap_or_else(|| panic!("{name}: {waterfall}"));
        let size = waterfall[name..].find(&format!(">{size}<"));
        assert!(size.is_some_and(|distance| distance < 400), "{waterfall}");
    }
    assert!(page.contains("11,891.0 MiB were taken of the whole device"));
    assert!(page.contains("reported-case.log:5") && page.contains("Nothing of this was measured by sweep"));
    assert!(page.contains("sweep import reported-case.free reported-case.log --part kv_cache=128MiB</code>"));
    assert!(page.contains("logs do not say") && !page.contains("logical processors"), "missing is not zero");
    assert!(!page.contains("id=\"cells\"") && !page.contains("sweep run FILE"));

    // From its records alone, at any later time.
    let run = Path::new(html).parent().expect("a folder");
    let check = Command::new(env!("CARGO_BIN_EXE_sweep")).arg("check").arg(run).output().expect("it starts");
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stderr));
    let verdict = String::from_utf8_lossy(&check.stdout).into_owned();
    let headline = "NO BUDGET: 12,947.0 MiB are used by the machine: 5,765.5 MiB are named by the logs, 7,181.5 MiB are unexplained";
    assert!(verdict.contains(headline), "{verdict}");

    let path = run.join("account.json");
    let newer = std::fs::read_to_string(&path).expect("kept").replacen(
        "\"format_version\": 1",
        "\"format_version\": 2",
        1,
    );
    std::fs::write(&path, newer).expect("ours");
    let check = Command::new(env!("CARGO_BIN_EXE_sweep")).arg("check").arg(run).output().expect("it starts");
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(said.contains("account.json: its format version is 2"), "{said}");
}

#[test]
fn what_is_unexplained_is_not_known_without_the_machine() {
    let account = account(&["reported-case.log"]);
    assert!(matches!(&account.unexplained_bytes, Reading::Unavailable(why) if why.contains("free -m")));
    assert!(account.unknown_classes.contains(&BufferClass::KvCache));
    assert!(!account.unknown_classes.contains(&BufferClass::WeightsEmbedding));
    let output = sweep(&["reported-case.log"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("What is unexplained is not known: ") && !text.contains("100.0 %"), "{text}");
}

#[test]
fn each_tensor_counts_once_and_what_was_freed_does_not() {
    let account = account(&["edge-llm-debug.log"]);
    let parts: Vec<_> = account.parts.iter().map(|part| (part.class, part.bytes)).collect();
    assert_eq!(
        parts,
        [
            (BufferClass::KvCache, Bytes::mib(16)),
            (BufferClass::Rollback, Bytes::mib(16)),
            (BufferClass::Logits, Bytes(7_946_240)),
        ],
        "the manager's sum has the tensors in it"
    );
    let manager = "KVCacheManager(dtype=fp16, layers=8) allocated 128.00 MB total GPU memory\n";
    assert_eq!(said(manager).named_bytes, Bytes::mib(128));
}

#[test]
fn llama_cpp_keeps_target_and_draft_apart() {
    let account = account(&["llama-server.log"]);
    let of = |role: Role, class: BufferClass| {
        let parts = account.parts.iter().filter(|part| part.role == role && part.class == class);
        parts.map(|part| part.bytes.0).sum::<u64>()
    };
    let mib = |mib: f64| (mib * f64::from(1 << 20)) as u64;
    assert_eq!(of(Role::Target, BufferClass::WeightsLinear), mib(2375.95) + mib(497.11));
    assert_eq!(of(Role::Draft, BufferClass::WeightsDraft), mib(372.65));
    assert_eq!(of(Role::Target, BufferClass::KvCache), mib(128.0));
    assert_eq!(of(Role::Draft, BufferClass::KvCache), mib(16.0));
    assert_eq!(of(Role::Target, BufferClass::RecurrentState), mib(50.25));
    assert_eq!(account.parts.len(), 8);
    let all: u64 = account.parts.iter().map(|part| part.bytes.0).sum();
    assert_eq!(all - account.named_bytes.0, mib(497.11), "a mapped file is page cache");
}

#[test]
fn free_is_read_in_the_unit_that_it_was_written_in() {
    let used = |line: &str| said(line).used.measured().map(|used| (used.used_bytes, used.total_bytes));
    assert_eq!(used("Mem: 15656 12947 312 55 2396 1904\n"), Some((Bytes::mib(12_947), Bytes::mib(15_656))));
    assert_eq!(used("Mem: 16032376 13257728 1\n"), Some((Bytes::kib(13_257_728), Bytes::kib(16_032_376))));
    assert_eq!(used("Mem: 15Gi 12Gi 312Mi\n"), Some((Bytes::gib(12), Bytes::gib(15))));
    // A small number beside a large total is in the total's unit.
    assert_eq!(used("Mem: 16032376 900 1\n"), Some((Bytes::kib(900), Bytes::kib(16_032_376))));
}

#[test]
fn tegrastats_gives_the_highest_and_the_lowest() {
    let boards =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/boards/agx-orin-64gb/tegrastats.txt");
    let account = Account::of(vec![read(&boards)]);
    assert_eq!(account.logs[0].1, [LogKind::Tegrastats]);
    assert_eq!(account.used.measured().map(|used| used.used_bytes), Some(Bytes::mib(20_642)));
    assert_eq!(account.least_used.measured().map(|used| used.used_bytes), Some(Bytes::mib(2257)));
}

#[test]
fn one_log_may_hold_lines_of_several_programs() {
    let mixed = "RAM 100/2000MB (lfb 1x4MB)\n[TRT] [I] Loaded engine size: 10 MiB\nMem: 2000 90 1\n";
    let account = said(mixed);
    assert_eq!(account.logs[0].1, [LogKind::Tegrastats, LogKind::TensorRt, LogKind::Free]);
    assert_eq!(account.unexplained_bytes, Reading::Measured(90 << 20));
}

#[test]
fn a_log_that_says_nothing_is_refused_by_name() {
    for (log, expected) in [
        ("no-such.log", "read the log no-such.log: "),
        ("../README.md", "the log ../README.md has no line of free, tegrastats, TensorRT or llama.cpp"),
    ] {
        let output = sweep(&[log]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2));
        assert!(said.contains(expected), "{said}");
    }
    for part in ["kv_cache", "kv=1MiB", "kv_cache=1", "unaccounted=1MiB"] {
        assert_eq!(sweep(&["reported-case.log", "--part", part]).status.code(), Some(2), "{part}");
    }
}

#[test]
fn sizes_that_no_machine_has_are_left_out() {
    let huge = "Loaded engine size: 99999999999999999999 MiB\nLoaded engine size: -5 MiB\nLoaded engine size: 7 MiB
Loaded FP16 embedding: [99999999999999, 99999999999999]\nTensor a of shape [1] with size nan bytes (x MB) allocated on GPU
load_tensors: CUDA0 model buffer size = inf MiB\nload_tensors: CUDA0 model buffer size = NaN MiB\nMem: 5 9 1\n";
    let account = said(huge);
    assert_eq!(account.parts.iter().map(|part| part.bytes).collect::<Vec<_>>(), [Bytes::mib(7)]);
    assert!(account.used.measured().is_none(), "more used than there is");
}

proptest::proptest! {
    #[test]
    fn no_log_makes_it_panic(text in "(Loaded engine size: |\\[MemUsageChange\\] |: CPU |GPU |now: |Tensor |Mem: | of shape | buffer size = |MiB|Loaded FP16 embedding: |[\\PC\n]){0,40}") {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, text).expect("writable");
        if let Ok((kinds, evidence)) = read_log(&path) {
            let account = Account::of(vec![(path, kinds, evidence)]);
            serde_json::to_string(&account).expect("it has a form");
        }
    }
}
