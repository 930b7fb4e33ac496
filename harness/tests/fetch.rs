//! `sweep fetch` against a hub on loopback: every fault has an error of its own, and leaves nothing behind but what a later fetch
//! takes up.

#[allow(dead_code, unreachable_pub, reason = "every test program uses a part of it")]
mod fake_hub;

use std::cell::Cell;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fake_hub::{COMMIT, Content, How, Hub, REPOSITORY};
use harness::engines::Progress;
use harness::fetch::{Endpoint, FetchError, Fetched, Patience, Pinning, Request, Token, fetch};
use harness::lock::{ENGINES_LOCK, EngineLock, LockedEngine, Places, State, status};
use ledger::Bytes;

const CONFIG: &[u8] = b"{}";
const WEIGHTS: &str = "model.safetensors";

/// Stops the work once so many bytes have arrived.
struct StopAfter {
    left: Cell<i64>,
}

impl StopAfter {
    fn never() -> StopAfter {
        StopAfter { left: Cell::new(i64::MAX) }
    }
}

impl Progress for StopAfter {
    fn begin(&self, _: &str, _: Option<Bytes>) {}

    fn advance(&self, done: Bytes) {
        self.left.set(self.left.get() - done.0 as i64);
    }

    fn end(&self) {}

    fn is_interrupted(&self) -> bool {
        self.left.get() <= 0
    }
}

/// A folder with a lock of one engine.
struct Workplace {
    folder: tempfile::TempDir,
    places: Places,
}

impl Workplace {
    fn new() -> Workplace {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let places =
            Places { lock: at(ENGINES_LOCK), engines: at("engines"), checkpoints: at("checkpoints") };
        let text = format!(
            "format_version = 1\n# Of a test.\n[[engine]]\nname = \"tiny\"\nsource = \"hf:{REPOSITORY}@main\"\n"
        );
        std::fs::write(&places.lock, text).expect("ours");
        Workplace { folder, places }
    }

    fn engine(&self) -> LockedEngine {
        EngineLock::load(&self.places.lock).expect("a lock").engine("tiny").expect("it is there").clone()
    }

    fn checkpoint(&self) -> PathBuf {
        self.places.checkpoints.join(format!("acme--tiny-{}", &COMMIT[..12]))
    }

    /// Every file of the checkpoint's folder.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.checkpoint()).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What is in the folder of checkpoints: checkpoints and locks.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.places.checkpoints).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn fetch(
        &self,
        endpoint: &str,
        pinning: Pinning,
        progress: &dyn Progress,
    ) -> Result<Fetched, FetchError> {
        self.fetch_as(endpoint, pinning, None, progress)
    }

    fn fetch_as(
        &self,
        endpoint: &str,
        pinning: Pinning,
        token: Option<Token>,
        progress: &dyn Progress,
    ) -> Result<Fetched, FetchError> {
        let patience = Patience {
            tries: 3,
            first: Duration::from_millis(2),
            longest: Duration::from_millis(20),
            silence: Duration::from_millis(400),
        };
        let endpoint: Endpoint = endpoint.parse()?;
        let (engine, places) = (&self.engine(), &self.places);
        fetch(&Request { engine, places, endpoint: &endpoint, token, patience, pinning }, progress)
    }

    fn pin(&self, hub: &Hub) -> Result<Fetched, FetchError> {
        self.fetch(&hub.address, Pinning::Pin, &StopAfter::never())
    }
}

fn hub(weights: Content) -> Hub {
    let readme = Content::Bytes(b"not needed".to_vec());
    Hub::start([("config.json", Content::Bytes(CONFIG.to_vec())), (WEIGHTS, weights), ("README.md", readme)])
}

/// Weights of some size that are not all alike.
fn some() -> Content {
    Content::Bytes((0..300_000_u32).flat_map(u32::to_le_bytes).collect())
}

fn hash_of(path: &Path) -> String {
    runtime::engine_dir::hash_file(path).expect("it is there")
}

#[test]
fn what_is_needed_arrives_and_is_pinned() {
    let (hub, work) = (hub(some()), Workplace::new());
    let error = work.fetch(&hub.address, Pinning::AsLocked, &StopAfter::never()).expect_err("not pinned");
    assert!(matches!(error, FetchError::Unpinned { .. }), "{error}");
    assert_eq!(hub.asked(), [], "nobody is asked for what nobody knows");

    let fetched = work.pin(&hub).expect("a hub that behaves");
    assert_eq!(work.files(), ["config.json", WEIGHTS], "and no README");
    assert_eq!((fetched.fetched.len(), fetched.kept.len(), fetched.lock_changed), (2, 0, true));
    assert_eq!(hash_of(&work.checkpoint().join(WEIGHTS)), some().sha256());
    let text = std::fs::read_to_string(&work.places.lock).expect("a lock");
    assert!(text.contains(&format!("hf:{REPOSITORY}@{COMMIT}")) && text.contains("# Of a test."), "{text}");
    let engine = work.engine();
    assert!(engine.has_pinned_source());
    assert_eq!(engine.unpinned(), ["engine_format", "sha256"]);

    assert_eq!(status(&engine, &work.places).state, State::Missing, "nobody has built it yet");

    // From now on the lock alone says what is wanted, and what is there is not fetched again.
    let before = hub.asked().len();
    let again = work.fetch(&hub.address, Pinning::AsLocked, &StopAfter::never()).expect("all is there");
    assert_eq!((again.fetched.len(), again.kept.len(), again.lock_changed), (0, 2, false));
    assert_eq!(hub.asked().len(), before);

    // What is damaged is replaced, and only that.
    std::fs::write(work.checkpoint().join("config.json"), "[ ]").expect("ours");
    assert_eq!(status(&engine, &work.places).state, State::NotFetched);
    let repaired = work.fetch(&hub.address, Pinning::AsLocked, &StopAfter::never()).expect("it is repaired");
    assert_eq!(repaired.fetched.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["config.json"]);
    assert_eq!(std::fs::read(work.checkpoint().join("config.json")).expect("there"), CONFIG);
}

#[test]
fn what_passes_is_waited_for_and_the_rest_is_asked_for() {
    let cases: [(&str, Vec<How>, bool); 6] = [
        ("it broke off", vec![How::Cut(400_000), How::Cut(1), How::Cut(300_000)], true),
        ("too much to do", vec![How::Status(429, Some(0)), How::Status(503, None)], false),
        ("a server without ranges", vec![How::Cut(500_000), How::Whole], true),
        (
            "a server that refuses ranges",
            vec![How::Cut(500_000), How::Status(416, None), How::Cut(600_000)],
            true,
        ),
        ("another part than was asked for", vec![How::Cut(500_000), How::OtherPart], true),
        ("silence", vec![How::Cut(500_000), How::Silently], true),
    ];
    for (what, answers, in_parts) in cases {
        let (hub, work) = (hub(some()), Workplace::new());
        hub.answers_first(answers);
        work.pin(&hub).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(hash_of(&work.checkpoint().join(WEIGHTS)), some().sha256(), "{what}");
        assert_eq!(work.files(), ["config.json", WEIGHTS], "{what}");
        let asked = hub.asked_for(WEIGHTS);
        assert_eq!(asked.iter().any(|asked| asked.from.is_some()), in_parts, "{what}: {asked:?}");
        // The rest is only wanted of the file whose beginning is there.
        let name = Some(format!("\"{}\"", some().length()));
        assert!(
            asked.iter().all(|asked| asked.from.is_none() || asked.if_range == name),
            "{what}: {asked:?}"
        );
    }
}

#[test]
fn every_fault_has_an_error_of_its_own_and_leaves_nothing_wrong_behind() {
    type Is = fn(&FetchError) -> bool;
    let part = format!("{WEIGHTS}.part");
    let elsewhere = |to: &str| How::Elsewhere(to.to_owned());
    let cases: [(&str, How, Is, bool); 13] = [
        ("broken off", How::Cut(1000), |error| matches!(error, FetchError::Broken { tries: 3, .. }), true),
        ("mute", How::Silently, |error| matches!(error, FetchError::Broken { tries: 3, .. }), false),
        (
            "busy",
            How::Status(429, None),
            |error| matches!(error, FetchError::Busy { status: 429, tries: 3, .. }),
            false,
        ),
        ("ill", How::Status(502, None), |error| matches!(error, FetchError::Busy { status: 502, .. }), false),
        (
            "gone",
            How::Status(404, None),
            |error| matches!(error, FetchError::Refused { status: 404, .. }),
            false,
        ),
        (
            "private",
            How::Status(401, None),
            |error| matches!(error, FetchError::Refused { status: 401, .. }),
            false,
        ),
        ("other bytes", How::OtherBytes, |error| matches!(error, FetchError::WrongHash { .. }), false),
        ("too long", How::Endless, |error| matches!(error, FetchError::Length { .. }), false),
        ("another length", How::OtherLength, |error| matches!(error, FetchError::Length { .. }), false),
        ("another file", How::OtherEtag, |error| matches!(error, FetchError::OtherFile { .. }), false),
        ("another commit", How::OtherCommit, |error| matches!(error, FetchError::OtherCommit { .. }), false),
        ("in a circle", elsewhere("/again"), |error| matches!(error, FetchError::Redirect { .. }), false),
        (
            "a local file",
            elsewhere("file:///etc/passwd"),
            |error| matches!(error, FetchError::Redirect { .. }),
            false,
        ),
    ];
    for (what, how, is, leaves_part) in cases {
        let (hub, work) = (hub(some()), Workplace::new());
        let mut arrived = 0;
        hub.answers(move |asked| {
            let of_weights = asked.path.ends_with(WEIGHTS) || asked.path.ends_with("/again");
            match (&how, of_weights) {
                (_, false) => How::Well,
                // What is cut brings nothing more after the first time.
                (How::Cut(bytes), true) => {
                    arrived += 1;
                    How::Cut(if arrived == 1 { *bytes } else { 0 })
                }
                (how, true) => how.clone(),
            }
        });
        let error = work.pin(&hub).expect_err(what);
        assert!(is(&error), "{what}: {error:?}");
        let left = work.files();
        assert_eq!(left.contains(&part), leaves_part, "{what}: {left:?}");
        assert!(!left.contains(&WEIGHTS.to_owned()), "{what}: {left:?}");
        assert!(!work.engine().has_pinned_source(), "{what}: nothing is pinned that did not arrive");
        // What is left is of use.
        hub.answers(|_| How::Well);
        work.pin(&hub).unwrap_or_else(|error| panic!("{what}, then well: {error}"));
        assert_eq!(hash_of(&work.checkpoint().join(WEIGHTS)), some().sha256(), "{what}");
    }
}

#[test]
fn a_list_that_leads_out_of_the_folder_is_refused_whole() {
    let weights = some();
    let entry = |name: &str| format!(r#"{{"rfilename": "{name}", "size": 2}}"#);
    for name in [
        "../outside.json",
        "/etc/outside.json",
        "a/../../outside.json",
        "C:outside.json",
        "a\\\\..\\\\outside.json",
    ] {
        let (hub, work) = (hub(weights.clone()), Workplace::new());
        let large = format!(
            r#"{{"rfilename": "{WEIGHTS}", "size": 2, "lfs": {{"sha256": "{}"}}}}"#,
            weights.sha256()
        );
        let siblings = [entry("config.json"), large, entry(name)].join(", ");
        hub.lists(format!(r#"{{"sha": "{COMMIT}", "siblings": [{siblings}]}}"#));
        let error = work.pin(&hub).expect_err(name);
        assert!(matches!(error, FetchError::UnsafeName { .. }), "{name}: {error:?}");
        assert_eq!(hub.asked_for(".json").len(), 0, "{name}");
        assert!(!work.places.checkpoints.exists(), "{name}");
    }
    let (hub, work) = (hub(weights), Workplace::new());
    hub.lists("{\"sha\": 7}".to_owned());
    let error = work.pin(&hub).expect_err("no list");
    assert!(matches!(error, FetchError::List { .. }), "{error:?}");
}

#[test]
fn a_link_in_the_place_of_a_part_is_not_followed() {
    let (hub, work) = (hub(some()), Workplace::new());
    let outside = work.folder.path().join("outside");
    std::fs::write(&outside, "precious").expect("ours");
    std::fs::create_dir_all(work.checkpoint()).expect("ours");
    symlink(&outside, work.checkpoint().join(format!("{WEIGHTS}.part"))).expect("ours");
    let error = work.pin(&hub).expect_err("it is a trap");
    assert!(matches!(error, FetchError::Io { action: "open", .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&outside).expect("there"), "precious");
    // One in the place of the file itself is replaced, and what it leads to stays.
    std::fs::remove_file(work.checkpoint().join(format!("{WEIGHTS}.part"))).expect("ours");
    symlink(&outside, work.checkpoint().join(WEIGHTS)).expect("ours");
    work.pin(&hub).expect("it is replaced");
    assert_eq!(std::fs::read_to_string(&outside).expect("there"), "precious");
    assert_eq!(hash_of(&work.checkpoint().join(WEIGHTS)), some().sha256());
}

#[test]
fn a_disk_that_is_too_small_is_found_out_before_anything_is_fetched() {
    let (hub, work) = (hub(some()), Workplace::new());
    let large = format!(
        r#"{{"rfilename": "{WEIGHTS}", "size": {}, "lfs": {{"sha256": "{}"}}}}"#,
        1_u64 << 60,
        "a".repeat(64)
    );
    hub.lists(format!(
        r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "config.json", "size": 2}}, {large}]}}"#
    ));
    let error = work.pin(&hub).expect_err("nobody has an exbibyte");
    let FetchError::DiskFull { needed, .. } = error else { panic!("{error:?}") };
    assert_eq!(needed, Bytes((1 << 60) + 2) + Bytes::mib(64));
    assert_eq!(hub.asked_for("config.json").len() + hub.asked_for(WEIGHTS).len(), 0);
    assert_eq!(work.left(), [""; 0]);
}

#[test]
fn what_brings_nothing_leaves_nothing() {
    for how in [How::Cut(0), How::Status(404, None), How::OtherBytes, How::Endless, How::OtherCommit] {
        let (hub, work) = (hub(some()), Workplace::new());
        hub.answers({
            let how = how.clone();
            move |asked| if asked.path.contains("/resolve/") { how.clone() } else { How::Well }
        });
        work.pin(&hub).expect_err("nothing comes");
        assert_eq!(work.left(), [""; 0], "{how:?}");
    }
}

#[test]
fn a_token_stays_with_the_host_that_it_is_for() {
    let (near, far, work) = (hub(some()), hub(some()), Workplace::new());
    let cdn = format!("{}/signed/{WEIGHTS}?signature=secret", far.address);
    near.answers(move |asked| match asked.path.as_str() {
        // A repository that has another name now: the same host.
        path if path.contains("/resolve/") && path.ends_with("config.json") => {
            How::Elsewhere("/renamed/config.json".to_owned())
        }
        path if path.ends_with(WEIGHTS) => How::Elsewhere(cdn.clone()),
        _ => How::Well,
    });
    let token = Token::new("hf_very_secret");
    assert!(!format!("{token:?}").contains("secret"));
    work.fetch_as(&near.address, Pinning::Pin, token.clone(), &StopAfter::never()).expect("both behave");
    let bearer = Some("Bearer hf_very_secret".to_owned());
    assert!(
        near.asked().len() == 4 && near.asked().iter().all(|asked| asked.token == bearer),
        "{:?}",
        near.asked()
    );
    let asked = far.asked_for("secret");
    assert!(asked.len() == 1 && asked[0].token.is_none(), "{asked:?}");

    // Nor does it stand in an error, nor does a signature.
    far.answers(|_| How::Status(403, None));
    std::fs::remove_dir_all(work.checkpoint()).expect("ours");
    let error =
        work.fetch_as(&near.address, Pinning::AsLocked, token, &StopAfter::never()).expect_err("refused");
    let said = format!("{error} {error:?} {:?}", error.hint());
    assert!(said.contains("403") && !said.contains("secret"), "{said}");
}

#[test]
fn two_fetches_into_one_folder_do_the_work_once() {
    let (hub, work) = (hub(some()), Workplace::new());
    hub.answers_first([How::Slowly(100_000, Duration::from_millis(30))]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| work.pin(&hub).expect("one after the other"));
        }
    });
    assert_eq!(hub.asked_for(WEIGHTS).len(), 1);
    assert_eq!(
        work.left(),
        [work.checkpoint().file_name().expect("a name").to_string_lossy()],
        "and no lock"
    );
    assert_eq!(hash_of(&work.checkpoint().join(WEIGHTS)), some().sha256());
}

#[test]
fn a_folder_stands_for_the_hub() {
    let (hub, work) = (hub(some()), Workplace::new());
    let mirror = work.folder.path().join("mirror");
    let repository = mirror.join(REPOSITORY);
    std::fs::create_dir_all(&repository).expect("ours");
    for (name, bytes) in [("config.json", CONFIG), (WEIGHTS, b"not these"), ("README.md", b"not needed")] {
        std::fs::write(repository.join(name), bytes).expect("ours");
    }
    let endpoint = format!("file://{}", mirror.display());
    let from_folder = |pinning| work.fetch(&endpoint, pinning, &StopAfter::never());
    let error = from_folder(Pinning::Pin).expect_err("which commit?");
    assert!(matches!(error, FetchError::NoCommit { .. }), "{error:?}");

    work.pin(&hub).expect("a hub that behaves");
    std::fs::remove_dir_all(work.checkpoint()).expect("ours");
    let error = from_folder(Pinning::AsLocked).expect_err("another length");
    assert!(matches!(error, FetchError::Length { .. }), "{error:?}");
    let Content::Bytes(mut bytes) = some() else { panic!("they are bytes") };
    bytes[7] ^= 1;
    std::fs::write(repository.join(WEIGHTS), &bytes).expect("ours");
    let error = from_folder(Pinning::AsLocked).expect_err("another byte");
    assert!(matches!(error, FetchError::WrongHash { .. }), "{error:?}");
    assert_eq!(work.files(), ["config.json"], "the wrong one is gone");
    bytes[7] ^= 1;
    std::fs::write(repository.join(WEIGHTS), &bytes).expect("ours");
    let asked = hub.asked().len();
    from_folder(Pinning::AsLocked).expect("now it is right");
    assert_eq!(
        (work.files(), hub.asked().len()),
        (vec!["config.json".to_owned(), WEIGHTS.to_owned()], asked)
    );
}

/// A file of `length` bytes, stopped five times by the user and then five times by the server, arrives whole, and goes on each time.
fn interrupted_ten_times(length: u64) {
    let weights = Content::Made(length);
    let sha256 = weights.sha256();
    let (hub, work) = (hub(weights), Workplace::new());
    let piece = length / 16;
    let mut asked = 0;
    hub.answers(move |it| match it.path.ends_with(WEIGHTS) {
        true => {
            asked += 1;
            match asked {
                1..=5 => How::Slowly((piece / 8) as usize, Duration::from_millis(1)),
                6..=10 => How::Cut(piece),
                _ => How::Well,
            }
        }
        false => How::Well,
    });
    let mut by_the_user = 0;
    loop {
        // What is there already is told as done, too.
        let there = std::fs::metadata(work.checkpoint().join(format!("{WEIGHTS}.part")));
        let enough = there.map_or(0, |there| there.len()) + CONFIG.len() as u64 + piece;
        let left = if by_the_user < 5 { enough as i64 } else { i64::MAX };
        match work.fetch(&hub.address, Pinning::Pin, &StopAfter { left: Cell::new(left) }) {
            Err(FetchError::Interrupted) => by_the_user += 1,
            Err(error) => panic!("{error}"),
            Ok(_) => break,
        }
    }
    let froms: Vec<u64> = hub.asked_for(WEIGHTS).iter().map(|asked| asked.from.unwrap_or(0)).collect();
    println!("{length} B, {by_the_user} times stopped by the user, asked for from bytes {froms:?}");
    assert_eq!((by_the_user, froms.len()), (5, 11), "{froms:?}");
    assert!(froms.windows(2).all(|pair| pair[0] < pair[1]), "it always went on: {froms:?}");
    assert_eq!(hash_of(&work.checkpoint().join(WEIGHTS)), sha256);
    assert_eq!(work.files(), ["config.json", WEIGHTS]);
}

#[test]
fn a_file_that_is_interrupted_ten_times_arrives_whole() {
    interrupted_ten_times(12_000_001);
}

#[test]
#[ignore = "2 GB of disk: cargo test -p harness --test fetch -- --ignored --nocapture"]
fn two_gigabytes_that_are_interrupted_ten_times_arrive_whole() {
    interrupted_ten_times(2_000_000_001);
}

fn sweep(work: &Workplace, hub: &Hub) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sweep"));
    command.current_dir(work.folder.path()).env("HF_ENDPOINT", &hub.address).env("NO_PROXY", "127.0.0.1");
    command.env_remove("HF_TOKEN").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn ctrl_c_ends_a_fetch_with_130_and_the_same_command_goes_on() {
    let (hub, work) = (hub(some()), Workplace::new());
    hub.answers_first([How::Slowly(20_000, Duration::from_millis(50))]);
    let child = sweep(&work, &hub).args(["fetch", "tiny", "--pin"]).spawn().expect("it starts");
    let part = work.checkpoint().join(format!("{WEIGHTS}.part"));
    while std::fs::metadata(&part).map_or(0, |part| part.len()) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is ours");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("the same command goes on"), "{said}");
    let there = std::fs::metadata(&part).expect("it stays").len();
    assert!(there > 0 && there < some().length());

    let output = sweep(&work, &hub).args(["fetch", "tiny", "--pin", "--json"]).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["format_version"], 1);
    assert_eq!(answer["fetched"][0]["commit"], COMMIT);
    assert_eq!(answer["fetched"][0]["lock_changed"], true);
    assert_eq!(hub.asked_for(WEIGHTS).last().and_then(|asked| asked.from), Some(there));
    assert_eq!(hash_of(&work.checkpoint().join(WEIGHTS)), some().sha256());
}

#[test]
fn what_cannot_be_fetched_is_told_with_what_to_do() {
    let (hub, work) = (hub(some()), Workplace::new());
    let answer = |arguments: &[&str]| {
        let output = sweep(&work, &hub).args(arguments).output().expect("it starts");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, code, words) in [
        (["fetch", "tiny"], 2, "hint: `--pin` fetches what there is now"),
        (["fetch", "tyny"], 2, "did you mean `tiny`?"),
        (["fetch", "--pin"], 2, "<NAME>"),
    ] {
        let (found, said) = answer(&arguments);
        assert!(found == code && said.contains(words), "{arguments:?}: {found}: {said}");
    }
    hub.answers(|_| How::Status(401, None));
    let (code, said) = answer(&["fetch", "tiny", "--pin"]);
    assert!(code == 6 && said.contains("set HF_TOKEN"), "{code}: {said}");
}
