//! Tokenizer and chat template of every fixture against what `transformers` made of them.

#![expect(clippy::unwrap_used, reason = "where a fixture cannot be read, the test fails")]

use std::fs;
use std::path::PathBuf;

use runtime::generate::chat_template::{ChatTemplate, ChatTemplateError, Conversation};
use runtime::generate::tokenizer::{Decoder, SpecialTokens, Tokenizer, compile};
use serde_json::{Map, Value};

struct Fixture {
    name: String,
    tokenizer: Tokenizer,
    chat_template: ChatTemplate,
    reference: Value,
}

fn fixtures() -> Vec<Fixture> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/checkpoints");
    let fixtures: Vec<Fixture> = fs::read_dir(root)
        .unwrap()
        .map(|entry| {
            let folder = entry.unwrap().path();
            let config = fs::read(folder.join("tokenizer_config.json")).unwrap();
            let source = fs::read(folder.join("tokenizer.json")).unwrap();
            let jinja = fs::read_to_string(folder.join("chat_template.jinja")).ok();
            Fixture {
                name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
                tokenizer: Tokenizer::open(compile(&source, Some(&config)).unwrap()).unwrap(),
                chat_template: ChatTemplate::from_checkpoint(jinja.as_deref(), Some(&config))
                    .unwrap()
                    .unwrap(),
                reference: serde_json::from_slice(&fs::read(folder.join("reference.json")).unwrap()).unwrap(),
            }
        })
        .collect();
    assert!(fixtures.len() >= 7, "{}", fixtures.len());
    fixtures
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap()
}

#[test]
fn ids_are_those_of_the_reference() {
    for fixture in fixtures() {
        let cases = list(&fixture.reference, "tokenizer");
        assert!(cases.len() >= 20);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let expected: Vec<u32> = list(case, "ids").iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(fixture.tokenizer.encode(text).unwrap(), expected, "{}: {text:?}", fixture.name);

            let whole = fixture.tokenizer.decode(&expected, SpecialTokens::Keep);
            let mut decoder = Decoder::new(SpecialTokens::Keep);
            let mut pieces: String =
                expected.iter().map(|id| decoder.push(&fixture.tokenizer, *id)).collect();
            pieces.push_str(&decoder.finish());
            assert_eq!(pieces, whole, "{}: {text:?}", fixture.name);
            // ASCII text has no other form, and comes back as it was.
            if text.is_ascii() {
                assert_eq!(whole, text, "{}", fixture.name);
            }
        }
    }
}

/// Renders a case; `tools` are an argument of their own, everything else is a variable.
fn render(fixture: &Fixture, case: &Value) -> Result<String, ChatTemplateError> {
    let mut variables: Map<String, Value> = case["kwargs"].as_object().cloned().unwrap_or_default();
    let tools = variables.remove("tools");
    fixture.chat_template.render(&Conversation {
        messages: list(case, "messages"),
        tools: tools.as_ref().map(|tools| tools.as_array().unwrap().as_slice()),
        variables: &variables,
    })
}

#[test]
fn prompts_are_those_of_the_reference() {
    for fixture in fixtures() {
        let cases = list(&fixture.reference, "chat");
        assert!(cases.len() >= 4);
        for case in cases {
            assert_eq!(
                render(&fixture, case).unwrap(),
                case["text"],
                "{}: {}",
                fixture.name,
                case["messages"]
            );
        }
    }
}

#[test]
fn templates_refuse_what_the_reference_refuses() {
    let mut refused = 0;
    for fixture in fixtures() {
        for case in fixture.reference["chat_refused"].as_array().into_iter().flatten() {
            let error = render(&fixture, case).unwrap_err();
            let ChatTemplateError::Refused { message } = error else { panic!("{}: {error}", fixture.name) };
            assert_eq!(message, case["error"], "{}", fixture.name);
            refused += 1;
        }
    }
    assert!(refused > 0);
}
