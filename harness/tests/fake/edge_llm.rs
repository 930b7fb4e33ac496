//! A stand-in for the server of TensorRT Edge-LLM: its log, its late port, its streams without usage and with several tokens a
//! piece, and its end when a second client comes.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::program::{after, begin_stream, listen, words};
use super::{reply, request};

/// Words that one piece of an answer brings.
pub const WORDS_A_PIECE: u64 = 2;

/// What it says while it loads. The first figure of memory is of the whole device, whoever holds it.
pub const LOG: &str = "\
[00:00:01.000] [INFO] [TensorRT] [MemUsageChange] Init CUDA: CPU +2, GPU +0, now: CPU 37, GPU 1957 (MiB)
[00:00:01.100] [INFO] [llmEngineRunner.cpp:101:load] Loading engine file: llm.engine
[00:00:01.200] [INFO] [TensorRT] Loaded engine size: 24 MiB
[00:00:01.300] [INFO] [TensorRT] [MemUsageChange] TensorRT-managed allocation in engine deserialization: CPU +0, GPU +24, now: CPU 0, GPU 24 (MiB)
[00:00:01.400] [INFO] [runtime.cpp:55:init] Loaded FP16 embedding: [1024, 512]
[00:00:01.500] [DEBUG] [tensor.cpp:77:allocate] Tensor kvCache_0 of shape [1, 2, 4, 128, 64] with size 2097152 bytes (2.00 MB) allocated on GPU
[00:00:01.600] [INFO] [runtime.cpp:90:init] Setup shared execution context memory: 8388608 bytes (base requires: 8388608)
";

#[test]
fn edge_llm() {
    let Some(words) = words() else { return };
    serve(&words).unwrap_or_else(|error| panic!("the stand-in of TensorRT Edge-LLM: {error}"));
    std::process::exit(0);
}

/// Generation is in progress. It has no queue, and what is left behind is never tidied up.
#[derive(Default)]
struct Runtime {
    is_busy: AtomicBool,
}

fn serve(words: &[String]) -> io::Result<()> {
    assert_eq!(words.iter().filter(|word| *word == "-c").count(), 1, "the launcher comes as a word");
    assert!(words.iter().any(|word| word.contains("from experimental.server import LLM")), "{words:?}");
    let engine = after(words, "--engine-dir").expect("it was told which engine");
    assert!(Path::new(engine).join("llm.engine").is_file(), "{engine}");
    assert!(std::env::var_os("PYTHONPATH").is_some_and(|path| Path::new(&path).is_dir()));
    print!("{LOG}");
    io::stdout().flush()?;
    // Its port opens when the engine is loaded, and not before.
    std::thread::sleep(Duration::from_millis(120));
    let listener = listen(words)?;
    let runtime = Arc::new(Runtime::default());
    for stream in listener.incoming().flatten() {
        let runtime = Arc::clone(&runtime);
        std::thread::spawn(move || while answer(&stream, &runtime).is_ok() {});
    }
    Ok(())
}

fn answer(stream: &TcpStream, runtime: &Runtime) -> io::Result<()> {
    let (path, body) = request(stream)?;
    match path.as_str() {
        "/health" => {
            reply(stream, "200 OK", r#"{"status":"healthy","model":"m","speculative_decoding":false}"#)
        }
        "/v1/chat/completions" => {
            if runtime.is_busy.swap(true, Ordering::AcqRel) {
                eprintln!("[TensorRT] Error Code 1: Myelin (Called with an already loaded binary graph.)");
                std::process::abort();
            }
            // A client that hung up leaves the graph loaded: only the end of the stream lets the next one in.
            chat(stream, &serde_json::from_slice(&body)?)?;
            runtime.is_busy.store(false, Ordering::Release);
            stream.shutdown(Shutdown::Both)
        }
        _ => reply(stream, "404 Not Found", r#"{"detail":"Not Found"}"#),
    }
}

fn chat(mut stream: &TcpStream, request: &serde_json::Value) -> io::Result<()> {
    begin_stream(stream)?;
    let prompt = request["messages"][0]["content"].as_str().unwrap_or_default();
    assert!(!prompt.is_empty(), "it takes texts only: {request}");
    let mut piece = |delta: &str, finish: &str| {
        write!(
            stream,
            "data: {{\"id\":\"chatcmpl-1\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    piece(r#"{"role":"assistant"}"#, "null")?;
    // Long enough for a client to be gone before the end.
    let pause = Duration::from_millis(if request["model"] == "slow" { 200 } else { 4 });
    let mut left = request["max_tokens"].as_u64().unwrap_or(0);
    while left > 0 {
        std::thread::sleep(pause);
        let now = left.min(WORDS_A_PIECE);
        piece(&format!(r#"{{"content":"{}"}}"#, " water".repeat(now as usize)), "null")?;
        left -= now;
    }
    piece("{}", r#""length""#)?;
    write!(stream, "data: [DONE]\n\n")
}
