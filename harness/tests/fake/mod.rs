//! A runtime that misbehaves on request. It is this very test program, started again with an order in its environment:
//! the test [`target`] obeys it, and does nothing in an ordinary test run.

#![allow(dead_code, unreachable_pub, reason = "every test program uses a part of it")]

pub mod edge_llm;
pub mod llama_server;
pub mod program;
pub mod sweep;
pub mod trial;

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, abort, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::engines::{Engine, EngineError, EngineErrorKind, EngineProvider, Forecast, Progress};
use harness::probe::SystemRoot;
use harness::scenario::{BuildOptions, Cell, ModelSource};
use harness::target::{Abilities, AccountSource, Address, Interface, Launch, ProcessAbility, Start, Target};
use ledger::plan::PAGE;
use ledger::{
    Backing, BufferClass, Bytes, DeviceReport, ElementType, LedgerEntry, LedgerSnapshot, Lifetime,
    MemoryKind, MemoryPlan, MemoryReport, PlannedBuffer, ProgramMemory, Reading, Role,
};

/// Bytes that the fake's only buffer holds once it is loaded.
pub const WEIGHTS: Bytes = Bytes::mib(48);
/// What the driver of the behaviour `card` takes, and what it gives to nobody that is known.
pub const CONTEXT: Bytes = Bytes::mib(300);
/// See [`CONTEXT`].
pub const STRAY: Bytes = Bytes::mib(5);
/// What the behaviour `planted` holds beyond its plan, in recurrent state.
pub const PLANTED: Bytes = Bytes::mib(64);
/// What the behaviour `spike` holds for 15 ms before its first token.
pub const SPIKE: Bytes = Bytes::mib(900);

/// Starts this test program as a target whose behaviour is the model's name, up to the first `.`.
pub struct FakeTarget {
    /// Whether it can listen before it loads.
    pub can_wait: bool,
}

impl Target for FakeTarget {
    fn name(&self) -> &str {
        "fake"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            can_wait: self.can_wait,
            account: AccountSource::Interface,
            can_hang_up: true,
            takes_ids: true,
            process: ProcessAbility::Started,
        }
    }

    fn start(&self, launch: &Launch<'_>) -> io::Result<Start> {
        let behaviour = launch.model.split('.').next().unwrap_or_default();
        let program = env::current_exe()?;
        let mut command = if behaviour == "stubborn" {
            // What a shell ignores, the program that it becomes ignores, too.
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "trap '' TERM; exec \"$0\" \"$@\""]).arg(program);
            shell
        } else {
            Command::new(program)
        };
        command.args(["--exact", "fake::target", "--nocapture", "--test-threads=1"]);
        command.env("FAKE_TARGET", behaviour).env("FAKE_PORT_FILE", launch.port_file);
        command.env("FAKE_WAITS", if launch.waits_for_go { "yes" } else { "no" });
        Ok(Start::Process { command, address: Address::PortFile, interface: Interface::Completions })
    }
}

/// Engines that exist already, and need 48 MiB.
pub struct FakeEngines;

impl EngineProvider for FakeEngines {
    fn ensure(
        &self,
        source: &ModelSource,
        _: &BuildOptions,
        _: &dyn Progress,
    ) -> Result<Engine, EngineError> {
        match source {
            ModelSource::Engine(path) => {
                Ok(Engine { folder: PathBuf::from(path), vocab_size: 1000, kept: None })
            }
            ModelSource::Checkpoint(path) if path == "slow" => {
                // A build that never asks whether it should stop.
                let runs = env::var_os("FAKE_SWEEP").map(PathBuf::from).unwrap_or_default();
                std::fs::write(runs.join("building"), "").expect("writable");
                std::thread::sleep(Duration::from_secs(60));
                Ok(Engine { folder: runs, vocab_size: 1000, kept: None })
            }
            other => Err(EngineError {
                what: format!("build an engine from {}", other.describe()),
                hint: None,
                kind: EngineErrorKind::Environment,
            }),
        }
    }

    fn forecast(&self, _: &Cell) -> Result<Forecast, EngineError> {
        Ok(Forecast { plan: plan(), program: Bytes::mib(4), ..Forecast::default() })
    }
}

fn plan() -> MemoryPlan {
    MemoryPlan {
        buffers: vec![PlannedBuffer {
            role: Role::Target,
            sequence: 0,
            class: BufferClass::WeightsLinear,
            layer: None,
            name: "weights".to_owned(),
            element: ElementType::U8,
            shape: vec![WEIGHTS.0],
            bytes: WEIGHTS,
            lifetime: Lifetime::Resident,
            backing: Backing::Anonymous,
            memory: MemoryKind::Host,
            page: Bytes(PAGE),
            growth: None,
            formula: "48 MiB".to_owned(),
        }],
    }
}

#[test]
fn target() {
    let Ok(behaviour) = env::var("FAKE_TARGET") else { return };
    serve(&behaviour).unwrap_or_else(|error| panic!("the fake target: {error}"));
    // Not back to the test harness: a target that is told to end does not report test results.
    exit(0);
}

struct State {
    behaviour: String,
    loaded: AtomicBool,
    weights: Mutex<Vec<u8>>,
    /// What nobody asked for.
    hoard: Mutex<Vec<Vec<u8>>>,
    at_start: Bytes,
}

fn serve(behaviour: &str) -> io::Result<()> {
    println!("fake target: {behaviour}");
    let score = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    println!("oom_score_adj: {}", score.trim());
    if behaviour == "mute" {
        // Alive, and never heard of.
        std::thread::sleep(Duration::from_secs(1000));
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let state = Arc::new(State {
        behaviour: behaviour.to_owned(),
        loaded: AtomicBool::new(false),
        weights: Mutex::new(Vec::new()),
        hoard: Mutex::new(Vec::new()),
        at_start: resident(),
    });
    let port_file = PathBuf::from(env::var("FAKE_PORT_FILE").unwrap_or_default());
    let draft = port_file.with_extension("draft");
    std::fs::write(&draft, format!("{}\n", listener.local_addr()?))?;
    std::fs::rename(&draft, &port_file)?;
    let server = Arc::clone(&state);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&server);
            std::thread::spawn(move || while answer(&stream, &state).is_ok() {});
        }
    });
    if env::var("FAKE_WAITS").as_deref() == Ok("yes") {
        io::stdin().lock().read_line(&mut String::new())?;
    }
    load(&state)?;
    loop {
        match state.behaviour.as_str() {
            "leak" => {
                // A mebibyte a second.
                state.keep(Bytes::kib(64));
                std::thread::sleep(Duration::from_micros(62_500));
            }
            _ => std::thread::park(),
        }
    }
}

impl State {
    fn keep(&self, bytes: Bytes) {
        self.hoard.lock().expect("no panic holds it").push(vec![1; bytes.0 as usize]);
    }
}

fn load(state: &State) -> io::Result<()> {
    match state.behaviour.as_str() {
        "hang_load" => return Ok(()),
        "crash_load" => {
            eprintln!("about to abort");
            abort();
        }
        "exit_load" => exit(3),
        "oom_load" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 16 << 20]);
            }
        }
        "fork" | "fork_and_hang" => {
            Command::new("sleep").arg("1000").spawn()?;
            // The shell ends at once, so that its child loses its parent.
            Command::new("/bin/sh").args(["-c", "sleep 1000 & exit 0"]).status()?;
        }
        "planted" => state.keep(PLANTED),
        "daemon" => {
            // One in a session of its own, and nobody's: no tree and no group has it.
            Command::new("/bin/sh").args(["-c", "setsid sleep 2000 & exit 0"]).status()?;
        }
        _ => {}
    }
    *state.weights.lock().expect("no panic holds it") = vec![1; WEIGHTS.0 as usize];
    state.loaded.store(true, Ordering::Release);
    Ok(())
}

/// Reads one request: its path, and its body.
pub fn request(stream: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    if head.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((head.split(' ').nth(1).unwrap_or_default().to_owned(), body))
}

fn answer(stream: &TcpStream, state: &State) -> io::Result<()> {
    let (path, body) = request(stream)?;
    let loaded = state.loaded.load(Ordering::Acquire);
    match path.as_str() {
        "/health" => reply(stream, if loaded { "200 OK" } else { "503 Loading" }, "{}"),
        "/v1/memory" if state.behaviour == "silent" => reply(stream, "404 Not Found", "no such thing"),
        "/v1/memory" => reply(stream, "200 OK", &serde_json::to_string(&memory(state))?),
        _ => {
            match state.behaviour.as_str() {
                "drift" => {
                    state.keep(Bytes::mib(1));
                    // Long enough for a sample.
                    std::thread::sleep(Duration::from_millis(30));
                }
                "spike" => {
                    let spike = std::hint::black_box(vec![1_u8; SPIKE.0 as usize]);
                    std::thread::sleep(Duration::from_millis(15));
                    drop(spike);
                }
                _ => {}
            }
            complete(stream, &state.behaviour, &serde_json::from_slice(&body)?)
        }
    }
}

/// Answers with `body`, which is JSON.
pub fn reply(mut stream: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn complete(mut stream: &TcpStream, behaviour: &str, request: &serde_json::Value) -> io::Result<()> {
    match behaviour {
        "refuse" => {
            return reply(
                stream,
                "400 Bad Request",
                r#"{"error":{"message":"the prompt is not to my taste"}}"#,
            );
        }
        "no_memory" => return reply(stream, "500 Error", r#"{"error":{"message":"CUDA out of memory"}}"#),
        _ => {}
    }
    stream.set_nodelay(true)?;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")?;
    let tokens = request["max_tokens"].as_u64().unwrap_or(0);
    let tokens = if behaviour == "short" { 3 } else { tokens };
    if behaviour == "drafts" {
        return draft(stream, tokens);
    }
    for token in 0..tokens {
        match (behaviour, token) {
            ("garbage", 1) => write!(stream, "data: this is not JSON\n\n")?,
            ("hang_stream" | "fork_and_hang", 2) => std::thread::sleep(Duration::from_secs(1000)),
            ("crash_stream", 2) => {
                // Long enough for the end of prefill to be read.
                std::thread::sleep(Duration::from_millis(300));
                abort();
            }
            ("error_stream", 2) => {
                write!(stream, "data: {{\"error\":{{\"message\":\"a cable fell out\"}}}}\n\n")?
            }
            _ => {}
        }
        write!(stream, "data: {{\"choices\":[{{\"text\":\"x\",\"finish_reason\":null}}]}}\n\n")?;
        std::thread::sleep(Duration::from_millis(2));
    }
    write!(
        stream,
        "data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":{tokens}}}}}\n\ndata: [DONE]\n\n"
    )?;
    stream.shutdown(std::net::Shutdown::Both)
}

/// One token, then rounds of three tokens, two of which were drafted, until there are `tokens`.
fn draft(mut stream: &TcpStream, tokens: u64) -> io::Result<()> {
    let mut made = 1;
    write!(
        stream,
        "data: {{\"choices\":[{{\"text\":\"x\",\"finish_reason\":null,\"token_ids\":[1]}}]}}\n\n"
    )?;
    for round in 1.. {
        if made >= tokens {
            break;
        }
        std::thread::sleep(Duration::from_millis(6));
        made += 3;
        let (drafted, accepted) = (round * 3, round * 2);
        write!(
            stream,
            "data: {{\"choices\":[{{\"text\":\"xyz\",\"finish_reason\":null,\"token_ids\":[1,2,3]}}],\"speculation\":\
             {{\"round_count\":{round},\"drafted\":{drafted},\"accepted\":{accepted},\"acceptance_length\":3.0}}}}\n\n"
        )?;
    }
    write!(stream, "data: [DONE]\n\n")?;
    stream.shutdown(std::net::Shutdown::Both)
}

fn memory(state: &State) -> MemoryReport {
    let held = Bytes(state.weights.lock().expect("no panic holds it").len() as u64);
    let program = ProgramMemory { resident_at_start: state.at_start, heap_growth: Bytes::ZERO };
    let entry = |key: String, class, bytes| LedgerEntry {
        key,
        role: Role::Target,
        class,
        layer: None,
        memory: MemoryKind::Host,
        now: bytes,
        peak: bytes,
        reserved: bytes,
    };
    let mut entries = vec![entry(plan().buffers[0].key(), BufferClass::WeightsLinear, held)];
    let mut peak_total = held;
    if state.behaviour == "planted" && held > Bytes::ZERO {
        let class = BufferClass::RecurrentState;
        entries.push(entry("target/recurrent_state/planted".to_owned(), class, PLANTED));
        peak_total += PLANTED;
    }
    let ledger = LedgerSnapshot { entries, peak_total, phases: Vec::new() };
    MemoryReport::new(plan(), ledger, program, (state.behaviour == "card").then(card))
}

/// A card that holds nothing but its driver's context: what the fake allocates is in host memory.
fn card() -> DeviceReport {
    DeviceReport {
        name: "a card".to_owned(),
        architecture: "sm_90".to_owned(),
        driver: "CUDA 13.0".to_owned(),
        unified: false,
        total: Bytes::gib(8),
        free_at_start: Bytes::gib(6),
        free_now: Bytes::gib(6) - STRAY,
        context: CONTEXT,
        driver_on_host: Bytes::ZERO,
        buffers: Bytes::ZERO,
        used_by_process: Reading::default(),
        unaccounted: Reading::default(),
    }
    .witnessed(Reading::Unavailable("the fake has no library to ask".to_owned()))
}

fn resident() -> Bytes {
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    let status = harness::probe::ProcessStatus::parse(&status).unwrap_or_default();
    status.anonymous + status.file + status.shared
}

/// A machine whose memory nobody else moves.
pub fn still_machine() -> SystemRoot {
    let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/boards/x86-no-gpu");
    SystemRoot::recorded(&board).expect("a recorded machine")
}

/// The recorded machine `name`, whose files may be changed while a trial runs.
pub fn copied_board(name: &str) -> (tempfile::TempDir, SystemRoot) {
    let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/boards").join(name);
    let copied = tempfile::tempdir().expect("a folder");
    let status = Command::new("cp").arg("-a").arg(board.join(".")).arg(copied.path()).status();
    assert!(status.expect("cp is there").success());
    let machine = SystemRoot::recorded(copied.path()).expect("a recorded machine");
    (copied, machine)
}

/// A scenario over the behaviours `models`, each of them a cell.
pub fn scenario(models: &[&str], change: impl Fn(String) -> String) -> harness::scenario::Scenario {
    let defined: String = models.iter().map(|model| format!("  {model}: {{engine: nowhere}}\n")).collect();
    let text = format!(
        "name: fake\nwhy: A test.\nseed: 7\nmodels:\n{defined}axes:\n  grid:\n    model: [{}]\n    maxInputLen: [64]\n\
         target: builtin\ntrials: 1\norder: as_written\nphases:\n  - idle: {{for: 50 ms, timeout: 10 s}}\n  - load: {{timeout: 10 s}}\n  \
         - prefill: {{promptTokens: 8, timeout: 10 s}}\n  - decode: {{outputTokens: 6, timeout: 10 s}}\n  \
         - settle: {{for: 50 ms, timeout: 10 s}}\n  - unload: {{timeout: 10 s}}\n",
        models.join(", ")
    );
    harness::scenario::parse(std::path::Path::new("fake.yaml"), change(text))
        .unwrap_or_else(|error| panic!("{error}"))
}
