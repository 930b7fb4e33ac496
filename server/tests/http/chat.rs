//! Chats.

use serde_json::json;

use crate::fake::{SCRIPT, Server};

fn prompt(server: &Server) -> String {
    let prompts = server.control.prompts.lock().unwrap();
    String::from_utf8(prompts.last().unwrap().iter().map(|id| *id as u8).collect()).unwrap()
}

#[test]
fn messages_go_through_the_template() {
    let server = Server::start();
    let reply = server.chat(&json!({"model": "fake", "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ], "chat_template_kwargs": {"enable_thinking": false}}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(prompt(&server), "system:S;user:a\nb;!");
    let reply = reply.json();
    assert_eq!(reply["object"], "chat.completion");
    assert!(reply["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(reply["choices"][0]["message"], json!({"role": "assistant", "content": SCRIPT}));
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
}

#[test]
fn tools_and_calls_reach_the_template() {
    let server = Server::start();
    let call =
        json!({"type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Ulm\"}"}});
    let reply = server.chat(&json!({
        "messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": null, "tool_calls": [call]}],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
    }));
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(prompt(&server), "user:u;assistant:;Ulm;weather;");
}

#[test]
fn a_chat_goes_on_to_the_end_of_the_context() {
    let server = Server::start();
    let body = json!({"messages": [{"role": "u", "content": "x"}], "ignore_eos": true});
    let usage = server.chat(&body).json()["usage"].clone();
    assert_eq!(usage["total_tokens"], crate::fake::LONGEST.1);
    let body = json!({"messages": [{"role": "u", "content": "x"}], "max_completion_tokens": 2});
    assert_eq!(server.chat(&body).json()["choices"][0]["finish_reason"], "length");
}

#[test]
fn a_chat_streams_deltas() {
    let server = Server::start();
    let body = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "stream": true});
    let chunks = server.chat(&body).chunks();
    let deltas: Vec<_> = chunks.iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
    let expected = [
        json!({"role": "assistant", "content": "o"}),
        json!({"content": "n"}),
        json!({"content": "e"}),
        json!({}),
    ];
    assert_eq!(deltas, expected);
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "length");
    assert_eq!(chunks[0]["object"], "chat.completion.chunk");
}

#[test]
fn messages_that_cannot_be_are_refused() {
    let server = Server::start();
    let image = json!([{"type": "image_url", "image_url": {"url": "data:"}}]);
    let cases = [
        (json!([]), "`messages` is empty"),
        (json!("hello"), "`messages` cannot be read: invalid type: string"),
        (json!(["hello"]), "message 0 is not an object"),
        (json!([{"content": "x"}]), "message 0 has no `role`"),
        (json!([{"role": "user"}]), "message 0 has no `content`"),
        (
            json!([{"role": "user", "content": "x"}, {"role": "user", "content": image}]),
            "message 1 has a part of type `image_url`",
        ),
        (json!([{"role": "user", "content": 5}]), "neither a text nor a list"),
        (json!([{"role": "critic", "content": "x"}]), "no critics"),
    ];
    for (messages, expected) in cases {
        let reply = server.chat(&json!({"messages": messages}));
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["param"]), (400, &json!("messages")), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    }
    let missing = server.chat(&json!({}));
    assert!(missing.body.contains("`messages` is missing"), "{}", missing.body);
    server.assert_works();
}
