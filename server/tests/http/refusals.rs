//! Requests that are wrong in one way or another.

use serde_json::{Value, json};
use server::ServeOptions;

use crate::client::{Exchange, post_bytes};
use crate::fake::{FAIL, LONGEST, NO_ROOM, PANIC, Server, VOCABULARY, any_port, engine, no_memory};

#[test]
fn each_mistake_has_its_error_and_the_next_request_works() {
    let server = Server::start();
    let with = |name: &str, value: Value| {
        let mut body = json!({"prompt": "x"});
        body[name] = value;
        body.to_string()
    };
    let long = "x".repeat(LONGEST.0 as usize + 1);
    let endless = "x".repeat(100_000);
    let cases: Vec<(String, u16, Value, Value, &str)> = vec![
        ("{".to_owned(), 400, Value::Null, Value::Null, "EOF while parsing"),
        (String::new(), 400, Value::Null, Value::Null, "not a JSON object"),
        ("[1]".to_owned(), 400, Value::Null, Value::Null, "not a JSON object"),
        ("\u{0}".to_owned(), 400, Value::Null, Value::Null, "not a JSON object"),
        ("{}".to_owned(), 400, json!("prompt"), json!("invalid_value"), "`prompt` is missing"),
        (with("prompt", json!(null)), 400, json!("prompt"), json!("invalid_value"), "`prompt` is missing"),
        (with("prompt", json!("")), 400, json!("prompt"), json!("invalid_value"), "the prompt is empty"),
        (with("prompt", json!([])), 400, json!("prompt"), json!("invalid_value"), "the prompt is empty"),
        (
            with("prompt", json!({})),
            400,
            json!("prompt"),
            json!("invalid_value"),
            "expected a text, a list of token ids",
        ),
        (with("prompt", json!(["a", "b"])), 400, json!("prompt"), json!("invalid_value"), "several prompts"),
        (
            with("prompt", json!([1, "b"])),
            400,
            json!("prompt"),
            json!("invalid_value"),
            "texts and token ids",
        ),
        (with("prompt", json!([[1]])), 400, json!("prompt"), json!("invalid_value"), "a token id or a text"),
        (
            with("prompt", json!([1, -1])),
            400,
            json!("prompt"),
            json!("invalid_value"),
            "invalid type: integer `-1`",
        ),
        (with("prompt", json!([1, 2.5])), 400, json!("prompt"), json!("invalid_value"), "floating point"),
        (
            with("prompt", json!([1_u64 << 40])),
            400,
            json!("prompt"),
            json!("invalid_value"),
            "1099511627776 is not a token id",
        ),
        (
            with("prompt", json!([1, VOCABULARY])),
            400,
            json!("prompt"),
            json!("invalid_value"),
            "token id 260 at position 1",
        ),
        (
            with("prompt", json!(long)),
            400,
            json!("prompt"),
            json!("context_length_exceeded"),
            "has 65 tokens; this server takes prompts of up to 64",
        ),
        (
            with("prompt", json!(endless)),
            400,
            json!("prompt"),
            json!("context_length_exceeded"),
            "has at least 3334 tokens",
        ),
        (with("max_tokens", json!(0)), 400, json!("max_tokens"), json!("invalid_value"), "`max_tokens` is 0"),
        (
            with("max_tokens", json!(-5)),
            400,
            json!("max_tokens"),
            json!("invalid_value"),
            "`max_tokens` is -5",
        ),
        (
            with("max_tokens", json!(1.5)),
            400,
            json!("max_tokens"),
            json!("invalid_value"),
            "`max_tokens` is 1.5",
        ),
        (
            with("max_tokens", json!(80)),
            400,
            json!("max_tokens"),
            json!("context_length_exceeded"),
            "1 tokens and `max_tokens` is 80; the context holds 80",
        ),
        (
            with("max_tokens", json!(u64::MAX)),
            400,
            json!("max_tokens"),
            json!("context_length_exceeded"),
            "the context holds 80",
        ),
        (
            with("max_tokens", json!("5")),
            400,
            json!("max_tokens"),
            json!("invalid_value"),
            "`max_tokens` cannot be read",
        ),
        (
            with("model", json!("other")),
            404,
            json!("model"),
            json!("model_not_found"),
            "`other` does not exist here; this server has `fake`",
        ),
        (with("model", json!(5)), 400, json!("model"), json!("invalid_value"), "expected a string"),
        (with("temperature", json!(-1)), 400, json!("temperature"), json!("invalid_value"), "temperature -1"),
        (with("temperature", json!(2.1)), 400, json!("temperature"), json!("invalid_value"), "goes up to 2"),
        (with("top_p", json!(0)), 400, json!("top_p"), json!("invalid_value"), "top_p 0 is not above 0"),
        (with("top_k", json!(-2)), 400, json!("top_k"), json!("invalid_value"), "`top_k` is -2"),
        (with("seed", json!("x")), 400, json!("seed"), json!("invalid_value"), "`seed` cannot be read"),
        (with("stream", json!("yes")), 400, json!("stream"), json!("invalid_value"), "expected a boolean"),
        (
            with("stream_options", json!({})),
            400,
            json!("stream_options"),
            json!("invalid_value"),
            "needs `stream`",
        ),
        (with("stop", json!(5)), 400, json!("stop"), json!("invalid_value"), "a text or a list of texts"),
        (with("stop", json!("")), 400, json!("stop"), json!("invalid_value"), "none of them empty"),
        (
            with("stop", json!(["a", "b", "c", "d", "e"])),
            400,
            json!("stop"),
            json!("invalid_value"),
            "more than 4",
        ),
        (with("n", json!(2)), 400, json!("n"), json!("unsupported_parameter"), "`n` other than 1"),
        (
            with("echo", json!(true)),
            400,
            json!("echo"),
            json!("unsupported_parameter"),
            "`echo` is not supported",
        ),
        (
            with("logprobs", json!(3)),
            400,
            json!("logprobs"),
            json!("unsupported_parameter"),
            "`logprobs` is not supported",
        ),
    ];
    for (body, status, param, code, expected) in cases {
        let reply = server.post("/v1/completions", &body);
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.status, &error["param"], &error["code"]),
            (status, &param, &code),
            "{body} {error}"
        );
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    }
    assert_eq!(server.control.started(), 0);
    server.assert_works();
}

#[test]
fn other_routes_and_methods() {
    let server = Server::start();
    let unknown = server.get("/v1/nothing");
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &json!("unknown_url")));
    assert!(unknown.body.contains("GET /v1/nothing"));
    let wrong = server.get("/v1/completions");
    assert_eq!((wrong.status, &wrong.json()["error"]["code"]), (405, &json!("method_not_supported")));
    assert_eq!(wrong.header("allow"), Some("POST"));
    assert_eq!(server.post("/health", "").status, 405);
}

#[test]
fn a_body_over_the_limit_is_refused_however_it_comes() {
    let mut options = ServeOptions::new(any_port(), "fake");
    options.body_limit = ledger::Bytes::kib(64);
    let server = Server::start_with(options, no_memory(), engine);
    let body = json!({"prompt": "x".repeat(200_000)}).to_string();
    let whole = post_bytes("/v1/completions", &body);
    let announced = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    );
    let chunked = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for request in [whole, announced, chunked] {
        let reply = Exchange::send(server.address, request.as_bytes()).response();
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (413, &json!("body_too_large")),
            "{}",
            reply.body
        );
        assert!(reply.body.contains("64.0 KiB"));
    }
    server.assert_works();
}

#[test]
fn slow_clients_lose_their_connection() {
    let mut options = ServeOptions::new(any_port(), "fake");
    options.read_timeout = std::time::Duration::from_millis(100);
    let server = Server::start_with(options, no_memory(), engine);
    // Headers that never end: the connection closes, whether or not with an answer.
    let mut rest = String::new();
    let mut exchange = Exchange::send(server.address, b"POST /v1/completions HTTP/1.1\r\nHost: t\r\n");
    std::io::Read::read_to_string(&mut exchange.reader, &mut rest).unwrap();
    assert!(!rest.contains("200 OK"), "{rest}");
    // A body that never ends.
    let request = b"POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 50\r\n\r\n{";
    assert_eq!(Exchange::send(server.address, request).response().status, 408);
    server.assert_works();
}

#[test]
fn a_request_that_finds_no_memory_may_come_again() {
    let server = Server::start();
    let refused = server.complete(&json!({"prompt": [NO_ROOM]}));
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["code"]), (503, &json!("out_of_memory")));
    assert!(refused.body.contains("cannot commit 10.0 MiB"), "{error}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    server.assert_works();
}

#[test]
fn an_engine_that_panics_or_fails_serves_the_next_request() {
    let server = Server::start();
    let panicked = server.complete(&json!({"prompt": [PANIC]}));
    let error = &panicked.json()["error"];
    assert_eq!(
        (panicked.status, &error["type"], &error["code"]),
        (500, &json!("server_error"), &json!("engine_failed"))
    );
    assert!(panicked.body.contains("the prompt asks for a panic"), "{error}");
    server.assert_works();

    let failed = server.complete(&json!({"prompt": [FAIL]}));
    assert_eq!((failed.status, &failed.json()["error"]["code"]), (500, &json!("engine_failed")));
    // In a stream, the status has been sent with the first token; the error is the last event.
    let streamed = server.complete(&json!({"prompt": [FAIL], "stream": true}));
    assert_eq!((streamed.status, streamed.events().len()), (200, 3));
    let last: Value = serde_json::from_str(streamed.events()[2]).unwrap();
    assert_eq!(last["error"]["code"], "engine_failed");
    let panicked = server.complete(&json!({"prompt": [PANIC], "stream": true}));
    assert_eq!(panicked.status, 500);
    server.assert_works();
}
