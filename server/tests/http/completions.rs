//! Completions that go well.

use serde_json::{Value, json};
use server::ServeOptions;

use crate::fake::{END, PREFILL, SCRIPT, Server, any_port, engine, no_memory};

#[test]
fn a_text_is_completed_to_the_end_of_the_sequence() {
    let server = Server::start();
    let reply =
        server.complete(&json!({"model": "fake", "prompt": "ab", "max_tokens": 40, "temperature": 0}));
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("application/json")),
        "{}",
        reply.body
    );
    let reply = reply.json();
    assert_eq!(reply["object"], "text_completion");
    assert_eq!(reply["model"], "fake");
    assert!(reply["id"].as_str().unwrap().starts_with("cmpl-") && reply["created"].is_u64());
    let choice = &reply["choices"][0];
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(SCRIPT), &json!("stop")));
    assert_eq!(choice["token_ids"], json!(SCRIPT.as_bytes()));
    let usage = &reply["usage"];
    assert_eq!(usage["prompt_tokens"], 2);
    assert_eq!(usage["completion_tokens"], SCRIPT.len());
    assert_eq!(usage["total_tokens"], 2 + SCRIPT.len());
    let timing = |name: &str| usage["timings"][name].as_f64().unwrap();
    assert!(timing("prefill_ms") >= PREFILL.as_secs_f64() * 1000.0);
    assert!(timing("decode_ms") >= 0.0 && timing("queue_ms") >= 0.0);
    assert_eq!(reply.get("speculation"), None, "an engine without a draft does not speak of one");
    assert_eq!(*server.control.prompts.lock().unwrap(), [b"ab".map(u32::from)]);
}

#[test]
fn the_limit_of_tokens_and_the_end_of_the_sequence() {
    let server = Server::start();
    let choice = |body: Value| server.complete(&body).json()["choices"][0].clone();
    let short = choice(json!({"prompt": ["ab"], "max_tokens": 2}));
    assert_eq!((&short["text"], &short["finish_reason"]), (&json!("on"), &json!("length")));
    // Without a limit, OpenAI's default applies.
    assert_eq!(
        choice(json!({"prompt": [1, 2, 3], "ignore_eos": true}))["token_ids"].as_array().unwrap().len(),
        16
    );
    let on = choice(
        json!({"prompt": [1], "ignore_eos": true, "max_tokens": 20, "stop": null, "n": 1, "echo": false}),
    );
    assert_eq!(on["text"], format!("{SCRIPT}one "));
    assert_eq!(on["token_ids"][SCRIPT.len()], END);
}

#[test]
fn without_a_tokenizer_ids_go_in_and_come_out() {
    let options = ServeOptions::new(any_port(), "fake");
    let server = Server::start_with(options, no_memory(), |control| {
        let mut fake = engine(control);
        (fake.tokenizer, fake.chat_template) = (None, None);
        fake
    });
    let choice = server.complete(&json!({"prompt": [5], "max_tokens": 3})).json()["choices"][0].clone();
    assert_eq!((&choice["text"], &choice["token_ids"]), (&json!(""), &json!(b"one")));
    let chunks = server.complete(&json!({"prompt": [5], "max_tokens": 3, "stream": true})).chunks();
    assert_eq!(chunks[2]["choices"][0]["token_ids"], json!([b'e']));

    for (body, param) in
        [(json!({"prompt": "text"}), "prompt"), (json!({"prompt": [5], "stop": "x"}), "stop")]
    {
        let refused = server.complete(&body);
        assert_eq!(
            (refused.status, &refused.json()["error"]["param"]),
            (400, &json!(param)),
            "{}",
            refused.body
        );
    }
    let refused = server.chat(&json!({"messages": [{"role": "user", "content": "x"}]}));
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("no chat template"), "{}", refused.body);
}

#[test]
fn a_stream_has_a_chunk_for_each_token() {
    let server = Server::start();
    let body = json!({
        "prompt": "ab", "max_tokens": 40, "stream": true, "stream_options": {"include_usage": true},
    });
    let reply = server.complete(&body);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
    let chunks = reply.chunks();
    assert_eq!(chunks.len(), SCRIPT.len() + 2);
    let mut text = String::new();
    for (chunk, byte) in chunks.iter().zip(SCRIPT.bytes()) {
        assert_eq!((&chunk["object"], &chunk["id"]), (&json!("text_completion"), &chunks[0]["id"]));
        assert_eq!(chunk["choices"][0]["token_ids"], json!([byte]));
        assert_eq!(chunk["choices"][0]["finish_reason"], Value::Null);
        assert_eq!(chunk.get("usage"), None);
        text += chunk["choices"][0]["text"].as_str().unwrap();
    }
    assert_eq!(text, SCRIPT);
    let last = &chunks[SCRIPT.len()]["choices"][0];
    assert_eq!((&last["text"], &last["finish_reason"]), (&json!(""), &json!("stop")));
    let usage = &chunks[SCRIPT.len() + 1];
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(SCRIPT.len())));

    let plain = server.complete(&json!({"prompt": "ab", "max_tokens": 1, "stream": true})).chunks();
    assert_eq!(plain.len(), 2);
    assert_eq!(plain[1]["choices"][0]["finish_reason"], "length");
}

#[test]
fn stop_strings_end_the_text_and_never_show() {
    let server = Server::start();
    let run = |stop: Value, stream: bool| {
        let body =
            json!({"prompt": "x", "max_tokens": 40, "ignore_eos": true, "stop": stop, "stream": stream});
        let made = server.control.made.load(std::sync::atomic::Ordering::SeqCst);
        let reply = server.complete(&body);
        let choices: Vec<Value> = match stream {
            false => vec![reply.json()["choices"][0].clone()],
            true => reply.chunks().iter().map(|chunk| chunk["choices"][0].clone()).collect(),
        };
        let text: String = choices.iter().map(|choice| choice["text"].as_str().unwrap()).collect();
        let reason = choices.last().unwrap()["finish_reason"].clone();
        (text, reason, server.control.made.load(std::sync::atomic::Ordering::SeqCst) - made)
    };
    for stream in [false, true] {
        // Nothing is made beyond the stop string.
        assert_eq!(run(json!(" two"), stream), ("one".to_owned(), json!("stop"), 7));
        assert_eq!(run(json!(["never", "é"]), stream), ("one two thr".to_owned(), json!("stop"), 13));
        // What looked like the beginning of a stop string until the end is text after all.
        let held = json!(["one!", "e two thrée one two thrée one two thrée X"]);
        assert_eq!(run(held, stream), (format!("{SCRIPT}{SCRIPT}one two "), json!("length"), 40));
    }
}
