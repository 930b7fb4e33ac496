//! Several clients, and clients that go away.

use std::sync::atomic::Ordering;

use serde_json::json;
use server::ServeOptions;

use crate::client::Exchange;
use crate::fake::{END, SCRIPT, Server, any_port, engine, no_memory};

fn request(server: &Server, id: u32, stream: bool) -> Exchange {
    let body = json!({"prompt": [id], "max_tokens": 5, "stream": stream}).to_string();
    Exchange::post(server.address, "/v1/completions", &body)
}

#[test]
fn a_client_that_vanishes_in_a_stream_ends_its_generation() {
    let server = Server::start();
    server.control.permit(Some(1));
    let mut exchange = request(&server, 1, true);
    assert!(exchange.first_event().contains(r#""text":"o""#));
    drop(exchange);
    // The engine is blocked on its next token, as in a long prefill; it hears of it all the same.
    server.control.wait_until(|control| control.ended.load(Ordering::SeqCst) == 1);
    assert_eq!(server.control.made.load(Ordering::SeqCst), 1);
    server.control.permit(None);
    server.assert_works();
}

#[test]
fn a_client_that_vanishes_while_it_waits_for_the_whole_ends_its_generation() {
    let server = Server::start();
    server.control.permit(Some(2));
    let exchange = request(&server, 1, false);
    server.control.wait_until(|control| control.made.load(Ordering::SeqCst) == 2);
    drop(exchange);
    server.control.wait_until(|control| control.ended.load(Ordering::SeqCst) == 1);
    assert_eq!(server.control.made.load(Ordering::SeqCst), 2);
    server.control.permit(None);
    server.assert_works();
}

#[test]
fn requests_run_in_the_order_in_which_they_came() {
    let mut options = ServeOptions::new(any_port(), "fake");
    options.queue_limit = 2;
    let server = Server::start_with(options, no_memory(), engine);
    server.control.permit(Some(0));
    let mut exchanges = vec![request(&server, 1, false)];
    server.control.wait_until(|control| control.started() == 1);
    for id in [2, 3] {
        exchanges.push(request(&server, id, false));
        wait_for_queue(&server, id - 1);
    }
    let refused = request(&server, 4, false).response();
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("queue_full")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    server.control.permit(None);
    for exchange in exchanges {
        let reply = exchange.response().json();
        assert_eq!(reply["choices"][0]["text"], "one t");
    }
    assert_eq!(*server.control.prompts.lock().unwrap(), [[1], [2], [3]]);
}

#[test]
fn a_waiting_request_whose_client_vanishes_never_runs() {
    let mut options = ServeOptions::new(any_port(), "fake");
    options.queue_limit = 1;
    let server = Server::start_with(options, no_memory(), engine);
    server.control.permit(Some(0));
    let first = request(&server, 1, true);
    server.control.wait_until(|control| control.started() == 1);
    let second = request(&server, 2, true);
    wait_for_queue(&server, 1);
    drop(second);
    wait_for_queue(&server, 0);
    // Its place is free again.
    let third = request(&server, 3, true);
    wait_for_queue(&server, 1);
    server.control.permit(None);
    assert_eq!(first.response().chunks().len(), 6);
    assert_eq!(third.response().chunks().len(), 6);
    assert_eq!(*server.control.prompts.lock().unwrap(), [[1], [3]]);
    assert_eq!(server.control.made.load(Ordering::SeqCst), 10);
}

#[test]
fn requests_share_the_batch_and_leave_it_one_by_one() {
    let server = Server::start_with(ServeOptions::new(any_port(), "fake"), no_memory(), |control| {
        control.batch.store(3, Ordering::SeqCst);
        engine(control)
    });
    server.control.permit(Some(0));
    let body = |id: u32, tokens: u32| json!({"prompt": [id], "max_tokens": tokens}).to_string();
    let post = |id: u32, tokens: u32| Exchange::post(server.address, "/v1/completions", &body(id, tokens));
    // The first holds the engine until the others wait.
    let mut exchanges = vec![post(1, 9)];
    server.control.wait_until(|control| control.started() == 1);
    for (id, tokens) in [(2, 5), (3, 3), (4, 7)] {
        exchanges.push(post(id, tokens));
        wait_for_queue(&server, id - 1);
    }
    server.control.permit(None);
    let texts: Vec<_> = exchanges
        .into_iter()
        .map(|exchange| exchange.response().json()["choices"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    // Each gets its own text, whoever it ran with; the fourth came in when the third had left.
    assert_eq!(texts, ["one two t", "one t", "one", "one two"]);
    assert_eq!(server.control.largest_step.load(Ordering::SeqCst), 3);
    assert_eq!(server.control.ended.load(Ordering::SeqCst), 4);
}

#[test]
fn a_failure_while_others_run_leaves_the_server_working() {
    let server = Server::start_with(ServeOptions::new(any_port(), "fake"), no_memory(), |control| {
        control.batch.store(2, Ordering::SeqCst);
        engine(control)
    });
    server.control.permit(Some(0));
    let first = request(&server, 1, false);
    server.control.wait_until(|control| control.started() == 1);
    let second = request(&server, crate::fake::PANIC, false);
    wait_for_queue(&server, 1);
    server.control.permit(None);
    assert_eq!(second.response().status, 500, "a panic at the beginning is that request's own");
    assert_eq!(first.response().json()["choices"][0]["text"], "one t");
    assert_eq!(server.control.ended.load(Ordering::SeqCst), 2);
    server.assert_works();
}

#[test]
fn rounds_are_reported_and_no_token_too_many_is_given() {
    let server = Server::start();
    server.control.drafts.store(3, Ordering::SeqCst);
    // One token from the prompt, four from the first round, and the second round stops in its middle.
    let whole = request(&server, 1, false).response().json();
    assert_eq!(whole["choices"][0]["text"], "one t");
    let script: Vec<u32> = crate::fake::SCRIPT.bytes().map(u32::from).collect();
    assert_eq!(
        whole["speculation"],
        json!({"round_count": 1, "drafted": 3, "accepted": 3, "acceptance_length": 4.0, "rounds": [
            {"drafts": script[1..4], "accepted": 3, "emitted": script[1..5]},
        ]})
    );
    let body =
        json!({"prompt": [1], "max_tokens": 7, "stream": true, "stream_options": {"include_usage": true}});
    let chunks = Exchange::post(server.address, "/v1/completions", &body.to_string()).response().chunks();
    let reports: Vec<_> = chunks.iter().map(|chunk| chunk["speculation"]["round_count"].as_u64()).collect();
    assert_eq!(reports, [None, Some(1), None, None, None, Some(2), None, None, Some(2)]);
    assert_eq!(chunks[1]["speculation"]["rounds"][0]["accepted"], 3);
    assert_eq!(chunks[8]["speculation"]["acceptance_length"], 4.0);
}

#[test]
fn a_round_that_ends_a_completion_with_its_first_token_is_reported() {
    let server = Server::start();
    server.control.drafts.store(6, Ordering::SeqCst);
    // One token from the prompt, the other fourteen of the script in two rounds, and a third that begins with the end.
    let body = |stream: bool| json!({"prompt": [1], "max_tokens": 30, "stream": stream}).to_string();
    let post = |stream| Exchange::post(server.address, "/v1/completions", &body(stream)).response();
    let whole = post(false).json();
    assert_eq!(
        (&whole["choices"][0]["text"], &whole["choices"][0]["finish_reason"]),
        (&json!(SCRIPT), &json!("stop"))
    );
    assert_eq!(whole["speculation"]["round_count"], 3);
    let rounds = whole["speculation"]["rounds"].as_array().unwrap();
    assert_eq!((rounds.len(), &rounds[2]["emitted"][0]), (3, &json!(END)));
    let chunks = post(true).chunks();
    let last = chunks.last().unwrap();
    assert_eq!(
        (&last["choices"][0]["finish_reason"], &last["speculation"]["round_count"]),
        (&json!("stop"), &json!(3))
    );
    assert_eq!(last["speculation"]["rounds"], json!([rounds[2]]));
}

#[test]
fn those_who_left_let_go_before_others_come_in() {
    let server = Server::start_with(ServeOptions::new(any_port(), "fake"), no_memory(), |control| {
        control.batch.store(2, Ordering::SeqCst);
        engine(control)
    });
    server.control.permit(Some(1));
    let mut first = request(&server, 1, true);
    first.first_event();
    server.control.wait_until(|control| control.largest_step.load(Ordering::SeqCst) == 1);
    let second = request(&server, 2, false);
    wait_for_queue(&server, 1);
    // The engine is blocked in its first step, until it hears that nobody waits for it.
    drop(first);
    server.control.wait_until(|control| control.started() == 2);
    server.control.permit(None);
    assert_eq!(second.response().json()["choices"][0]["text"], "one t");
    assert_eq!(server.control.most_open.load(Ordering::SeqCst), 1);
}

fn wait_for_queue(server: &Server, length: u32) {
    server.control.wait_until(|_| server.get("/health").json()["waiting"] == length);
}
