//! A stand-in for llama.cpp's server: its words, its log, its health while it loads, and its streams.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::program::{after, begin_stream, listen, words};
use super::{reply, request};

/// The buffer that the stand-in really holds, as its log says, where `FAKE_MODEL_MIB` asks for no other.
pub const MODEL_MIB: u64 = 32;

#[test]
fn llama_server() {
    let Some(words) = words() else { return };
    serve(&words).unwrap_or_else(|error| panic!("the stand-in of llama-server: {error}"));
    std::process::exit(0);
}

fn serve(words: &[String]) -> io::Result<()> {
    assert!(after(words, "--model").is_some_and(|file| std::path::Path::new(file).is_file()), "{words:?}");
    let context: u64 = after(words, "--ctx-size").and_then(|size| size.parse().ok()).expect("a number");
    let says_buffers = after(words, "--log-verbosity") == Some("4");
    let listener = listen(words)?;
    let loaded = Arc::new(AtomicBool::new(false));
    let ready = Arc::clone(&loaded);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let ready = Arc::clone(&ready);
            std::thread::spawn(move || while answer(&stream, &ready).is_ok() {});
        }
    });
    std::thread::sleep(Duration::from_millis(60));
    let asked = std::env::var("FAKE_MODEL_MIB").ok().and_then(|size| size.parse().ok());
    let mib: u64 = asked.unwrap_or(MODEL_MIB);
    let model = vec![1_u8; (mib << 20) as usize];
    if says_buffers {
        eprintln!(
            "0.01 I llama_model_loader: loaded meta data with 29 key-value pairs and 426 tensors from m.gguf"
        );
        eprintln!("0.02 I load_tensors:          CPU model buffer size = {:8.2} MiB", mib as f64);
        eprintln!("0.03 I llama_kv_cache:        CPU KV buffer size = {:8.2} MiB", context as f64 / 64.0);
        eprintln!("0.04 I llama_memory_recurrent:        CPU RS buffer size =    0.25 MiB");
        eprintln!("0.05 I sched_reserve:        CPU compute buffer size =     0.50 MiB");
    }
    loaded.store(true, Ordering::Release);
    loop {
        std::thread::park();
        std::hint::black_box(&model);
    }
}

fn answer(stream: &TcpStream, loaded: &AtomicBool) -> io::Result<()> {
    let (path, body) = request(stream)?;
    match (path.as_str(), loaded.load(Ordering::Acquire)) {
        ("/health", true) => reply(stream, "200 OK", r#"{"status":"ok"}"#),
        (_, false) => reply(stream, "503 Service Unavailable", r#"{"error":{"message":"Loading model"}}"#),
        ("/v1/completions", true) => complete(stream, &serde_json::from_slice(&body)?),
        _ => reply(stream, "404 Not Found", r#"{"error":{"message":"File Not Found"}}"#),
    }
}

/// A character may be cut in the middle of a token: every third piece is held back until it is whole. Only who asks for timings
/// or usage learns how many tokens there were.
fn complete(mut stream: &TcpStream, request: &serde_json::Value) -> io::Result<()> {
    begin_stream(stream)?;
    let tokens = request["max_tokens"].as_u64().unwrap_or(0);
    let is_timed = request["timings_per_token"].as_bool() == Some(true);
    for token in 1..=tokens {
        std::thread::sleep(Duration::from_millis(3));
        if token % 3 == 2 && token != tokens {
            continue;
        }
        let timings =
            if is_timed { format!(r#","timings":{{"predicted_n":{token}}}"#) } else { String::new() };
        write!(stream, "data: {{\"choices\":[{{\"text\":\"x\",\"finish_reason\":null}}]{timings}}}\n\n")?;
    }
    write!(
        stream,
        "data: {{\"choices\":[{{\"text\":\"\",\"finish_reason\":\"length\"}}]}}\n\ndata: [DONE]\n\n"
    )?;
    stream.shutdown(Shutdown::Both)
}
