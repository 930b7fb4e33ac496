//! Templates with the constructs that real ones use; the checkpoints' own are in `tests/`.

use serde_json::{Map, Value, json};

use super::*;

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::from_checkpoint(Some(source), None).unwrap().unwrap()
}

fn render_with(source: &str, messages: Value, variables: Value) -> Result<String, ChatTemplateError> {
    let Value::Object(variables) = variables else { panic!("variables are an object") };
    let conversation =
        Conversation { messages: messages.as_array().unwrap(), tools: None, variables: &variables };
    template(source).render(&conversation)
}

fn render(source: &str, messages: Value) -> String {
    render_with(source, messages, json!({})).unwrap()
}

const FRAME: &str = r"
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}";

#[test]
fn the_usual_frame() {
    let messages = json!([{"role": "user", "content": "Hi <b>&\"you\"</b>"}]);
    let expected = "<|im_start|>user\nHi <b>&\"you\"</b><|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(render(FRAME, messages.clone()), expected);
    let quiet = render_with(FRAME, messages.clone(), json!({"enable_thinking": false})).unwrap();
    assert_eq!(quiet, format!("{expected}<think>\n\n</think>\n\n"));
    let closed = render_with(FRAME, messages, json!({"add_generation_prompt": false})).unwrap();
    assert!(closed.ends_with("<|im_end|>\n"));
}

#[test]
fn python_methods_slices_and_namespaces() {
    let source = r"
{%- set ns = namespace(found=false, index=-1) %}
{%- for message in messages[::-1] %}
    {%- if not ns.found and message.role == 'user' and not message.content.startswith('<tool>') %}
        {%- set ns.found = true %}
        {%- set ns.index = (messages|length - 1) - loop.index0 %}
    {%- endif %}
{%- endfor %}
{{- ns.index }},{{ messages[0].content.split('</think>')[-1].lstrip('\n').rstrip('x').strip() }},
{%- for message in messages %}
    {%- if loop.previtem and loop.previtem.role == message.role %}={% endif %}
    {%- if loop.nextitem is defined %}>{% endif %}
{%- endfor %}
{%- macro twice(text) %}{{ text }}{{ text }}{% endmacro %}
{{- twice('ab') | upper }}{% for name, value in {'z': 1, 'a': 2}|items %}{{ name }}{{ value }}{% endfor %}";
    let messages = json!([
        {"role": "user", "content": "<think>a</think>\n\nbxx"},
        {"role": "user", "content": "<tool>"},
    ]);
    assert_eq!(render(source, messages), "0,b,>=ABABz1a2");
}

#[test]
fn json_is_spelled_as_python_does() {
    let value = json!([{"z": [1, 2.5, "é<\"\n"], "a": {}, "n": null, "t": true}]);
    let text = r#"{"z": [1, 2.5, "é<\"\n"], "a": {}, "n": null, "t": true}"#;
    assert_eq!(render("{{ messages[0] | tojson }}", value.clone()), text);
    assert_eq!(
        render("{{ messages[0].z | tojson(ensure_ascii=true) }}", value.clone()),
        r#"[1, 2.5, "\u00e9<\"\n"]"#
    );
    assert_eq!(render("{{ messages[0].z[:2] | tojson(indent=1) }}", value), "[\n 1,\n 2.5\n]");
}

#[test]
fn words_are_python_words() {
    assert_eq!(render("{{ none }} {{ true }} {{ 1 == 2 }} {{ missing }}", json!([])), "None True False ");
}

#[test]
fn what_a_template_refuses_is_told_in_its_own_words() {
    let source =
        "{% macro check() %}{{ raise_exception('No user query found.') }}{% endmacro %}{{ check() }}";
    let error = render_with(source, json!([]), json!({})).unwrap_err();
    assert!(
        matches!(&error, ChatTemplateError::Refused { message } if message == "No user query found."),
        "{error}"
    );
    let error = render_with("{{ messages[0].role.nothing.at_all }}", json!([]), json!({})).unwrap_err();
    assert!(matches!(error, ChatTemplateError::Render { .. }), "{error}");
}

#[test]
fn the_time_can_be_asked_for() {
    let year = render("{{ strftime_now('%Y') }}", json!([]));
    assert!(year.parse::<i32>().unwrap() >= 2024);
    assert!(render_with("{{ strftime_now('%!') }}", json!([]), json!({})).is_err());
}

#[test]
fn templates_come_from_either_file() {
    let from = |config: Value| ChatTemplate::from_checkpoint(None, Some(config.to_string().as_bytes()));
    let no_variables = Map::new();
    let tools = [json!({"name": "f"})];
    let plain = Conversation { messages: &[], tools: None, variables: &no_variables };
    let with_tools = Conversation { tools: Some(&tools), ..plain };

    assert!(from(json!({})).unwrap().is_none());
    assert!(from(json!({"chat_template": null})).unwrap().is_none());
    let single =
        from(json!({"chat_template": "{{ eos_token }}{{ bos_token }}", "eos_token": {"content": "E"}}));
    assert_eq!(single.unwrap().unwrap().render(&plain).unwrap(), "E");
    let named = from(json!({"chat_template": [
        {"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools[0].name }}"},
    ]}));
    let named = named.unwrap().unwrap();
    assert_eq!(named.render(&plain).unwrap(), "plain");
    assert_eq!(named.render(&with_tools).unwrap(), "f");
    let broken = from(json!({"chat_template": "{% if %}"})).unwrap_err();
    assert!(matches!(broken, ChatTemplateError::Compile { .. }), "{broken}");
}
