//! Starting, reporting, stopping.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use ledger::{LedgerSnapshot, MemoryPlan, MemoryReport, ProgramMemory};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use server::{MemoryHandle, ServeError, ServeOptions, TextEngine, serve, serve_until};

use crate::client::Exchange;
use crate::fake::{Control, Server, any_port, engine, no_memory};

/// Set for the copy of this program that serves until it is told to stop.
const CHILD: &str = "SERVER_TEST_CHILD";

#[test]
fn a_server_answers_before_its_model_is_loaded() {
    let (finish_loading, loading) = mpsc::channel::<()>();
    let (sender, address) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let control = Arc::new(Control::default());
    let own_control = control.clone();
    let thread = std::thread::spawn(move || {
        let load = move || {
            loading.recv().unwrap();
            Ok::<_, Infallible>(Box::new(engine(&own_control)) as Box<dyn TextEngine>)
        };
        let stop = async {
            let _ = stopped.await;
            Ok(())
        };
        serve_until(
            ServeOptions::new(any_port(), "fake"),
            load,
            no_memory(),
            |at| sender.send(at).unwrap(),
            stop,
        )
    });
    let address = address.recv().unwrap();
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
        Exchange::send(address, request.as_bytes()).response()
    };
    let early = get("/health");
    assert_eq!((early.status, &early.json()["status"]), (503, &json!("loading")));
    assert_eq!(get("/v1/models").json()["data"][0]["id"], "fake");
    assert_eq!(get("/v1/memory").json()["error"]["code"], "model_loading");
    let refused = Exchange::post(address, "/v1/completions", r#"{"prompt":[1]}"#).response();
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("model_loading")));
    finish_loading.send(()).unwrap();
    control.wait_until(|_| get("/health").status == 200);
    assert_eq!(get("/health").json()["status"], "ok");
    stop.send(()).unwrap();
    assert!(thread.join().unwrap().is_ok());
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_server() {
    let run = |load: fn() -> Result<Box<dyn TextEngine>, String>| {
        let options = ServeOptions::new(any_port(), "fake");
        serve_until(options, load, no_memory(), |_| (), std::future::pending()).unwrap_err()
    };
    let failed = run(|| Err("no such directory".to_owned()));
    assert_eq!(failed.to_string(), "cannot load the model: no such directory");
    let panicked = run(|| panic!("bad weights"));
    assert!(matches!(panicked, ServeError::LoadPanicked { message } if message == "bad weights"));
}

#[test]
fn an_address_in_use_is_an_error() {
    let server = Server::start();
    let load = || Err::<Box<dyn TextEngine>, _>("never called".to_owned());
    let options = ServeOptions::new(server.address, "fake");
    let error = serve_until(options, load, no_memory(), |_| (), std::future::pending()).unwrap_err();
    assert!(matches!(error, ServeError::Bind { .. }), "{error}");
}

#[test]
fn memory_is_told_while_a_generation_runs() {
    let asked = Arc::new(AtomicUsize::new(0));
    let own_asked = asked.clone();
    let report = MemoryReport {
        format_version: ledger::FORMAT_VERSION,
        plan: serde_json::from_value::<MemoryPlan>(serde_json::to_value(MemoryPlan::default()).unwrap())
            .unwrap(),
        ledger: LedgerSnapshot::default(),
        program: ProgramMemory::default(),
        by_class_bytes: BTreeMap::from([(ledger::BufferClass::KvCache, ledger::Bytes(4096))]),
        device: None,
    };
    let memory: MemoryHandle = Arc::new(move || {
        own_asked.fetch_add(1, Ordering::SeqCst);
        Some(report.clone())
    });
    let server = Server::start_with(ServeOptions::new(any_port(), "fake"), memory, engine);
    server.control.permit(Some(1));
    let running = Exchange::post(server.address, "/v1/completions", r#"{"prompt":[1],"max_tokens":2}"#);
    server.control.wait_until(|control| control.made.load(Ordering::SeqCst) == 1);
    let reply = server.get("/v1/memory");
    assert_eq!((reply.status, &reply.json()["by_class_bytes"]["kv_cache"]), (200, &json!(4096)));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    server.control.permit(None);
    assert_eq!(running.response().status, 200);
}

#[test]
fn stopping_refuses_those_who_wait_and_cancels_the_one_that_runs() {
    let server = Server::start();
    server.control.permit(Some(1));
    let mut streaming = Exchange::post(server.address, "/v1/completions", r#"{"prompt":[1],"stream":true}"#);
    streaming.first_event();
    let waiting = Exchange::post(server.address, "/v1/completions", r#"{"prompt":[2]}"#);
    server.control.wait_until(|_| server.get("/health").json()["waiting"] == 1);
    let control = server.control.clone();
    assert!(server.stop().is_ok());
    let refused = waiting.response();
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("shutting_down")));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut streaming.reader, &mut rest).unwrap();
    assert!(rest.contains("shutting_down") && !rest.contains("[DONE]"), "{rest}");
    assert_eq!((control.started(), control.made.load(Ordering::SeqCst)), (1, 1));
}

/// Not a test of its own: the process that the tests below start.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let control = Arc::new(Control::default());
    control.permit(Some(1));
    let load = move || Ok::<_, Infallible>(Box::new(engine(&control)) as Box<dyn TextEngine>);
    let ended = serve(ServeOptions::new(any_port(), "fake"), load, no_memory(), |address| {
        println!("\nlistening on http://{address}");
    });
    std::process::exit(i32::from(ended.is_err()));
}

fn start_child() -> (Child, std::net::SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::child", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listening on http://").map(|address| address.parse().unwrap()));
    (child, address.unwrap())
}

#[test]
fn sigterm_ends_the_process_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        for busy in [false, true] {
            let (mut child, address) = start_child();
            let status = || Exchange::send(address, b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n").response();
            Control::default().wait_until(|_| status().status == 200);
            let running = busy.then(|| {
                let mut running =
                    Exchange::post(address, "/v1/completions", r#"{"prompt":[1],"stream":true}"#);
                running.first_event();
                running
            });
            kill_process(Pid::from_child(&child), signal).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0), "{signal:?} {busy}");
            if let Some(mut running) = running {
                let mut rest = String::new();
                std::io::Read::read_to_string(&mut running.reader, &mut rest).unwrap();
                let error = rest.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                let error: Value = serde_json::from_str(error).unwrap();
                assert_eq!(error["error"]["code"], "shutting_down");
            }
        }
    }
}
