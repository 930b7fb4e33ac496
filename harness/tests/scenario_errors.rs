//! Every mistake in a scenario file is shown where it is, with what to do about it.

mod planted;

use std::path::Path;

use harness::scenario;

/// A scenario without mistakes; each test plants one.
const SMALL: &str = r#"name: small
why: A scenario for tests.
models:
  a: {synthetic: {architecture: Qwen3-0.6B, seed: 1}}
  b: {checkpoint: models/b}
axes:
  grid:
    model: [a, b]
    maxInputLen: [128, 256]
exclude:
  - {when: {model: b, maxInputLen: 256}, why: too long for b}
target: builtin
trials: 1
phases:
  - load: {timeout: 10 s}
  - prefill: {promptTokens: 100, timeout: 10 s}
  - decode: {outputTokens: 8, timeout: 10 s}
budgets:
  - {id: total, when: {model: a}, total: {warn: 90 MiB, fail: 100 MiB}, why: it must fit}
  - {id: kv, class: kv_cache, phase: decode, bytes: {fail: 1 MiB}, why: small}
"#;

/// What the user sees when `from` is replaced by `to` in it.
fn shown(from: &str, to: &str) -> String {
    planted::shown(SMALL, from, to)
}

#[test]
fn the_scenario_without_mistakes_is_accepted() {
    let scenario = scenario::parse(Path::new("scenario.yaml"), SMALL.to_owned()).expect("valid");
    let expansion = scenario.expand();
    let cells: Vec<String> = expansion.cells.iter().map(|cell| cell.describe()).collect();
    assert_eq!(cells, ["model=a maxInputLen=128", "model=a maxInputLen=256", "model=b maxInputLen=128"]);
    assert_eq!(expansion.excluded.len(), 1);
    assert_eq!(expansion.excluded[0].why, "too long for b");
}

#[test]
fn an_empty_file_is_refused() {
    let error = scenario::parse(Path::new("scenario.yaml"), String::new()).expect_err("empty");
    assert!(error.to_string().starts_with("error: this file says nothing"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = scenario::load(Path::new("no/such/scenario.yaml")).expect_err("missing");
    assert!(error.to_string().contains("no/such/scenario.yaml"), "{error}");
}

#[test]
fn yaml_that_is_not_closed() {
    let shown = shown("    model: [a, b]", "    model: [a, b");
    insta::assert_snapshot!(shown, @r#"
    error: illegal placement of ':' indicator
     --> scenario.yaml:9:16
      |
    9 |     maxInputLen: [128, 256]
      |                ^^^^^^^^^^^^
    "#);
}

#[test]
fn tabs_as_indentation() {
    let shown = shown("  grid:\n", "\tgrid:\n");
    insta::assert_snapshot!(shown, @r#"
    error: tabs disallowed within this context (block indentation)
     --> scenario.yaml:7:2
      |
    7 |     grid:
      |     ^^^^^
    "#);
}

#[test]
fn unknown_field_suggests_the_nearest() {
    let shown = shown("trials: 1", "trails: 1");
    insta::assert_snapshot!(shown, @r#"
    error: unknown field `trails`
      --> scenario.yaml:13:1
       |
    13 | trails: 1
       | ^^^^^^
       |
       = hint: did you mean `trials`?
    "#);
}

#[test]
fn unknown_setting_suggests_the_nearest() {
    let shown = shown("target: builtin", "settings: {maxInputLength: 4}\ntarget: builtin");
    insta::assert_snapshot!(shown, @r#"
    error: unknown field `maxInputLength`
      --> scenario.yaml:12:12
       |
    12 | settings: {maxInputLength: 4}
       |            ^^^^^^^^^^^^^^
       |
       = hint: did you mean `maxInputLen`?
    "#);
}

#[test]
fn misspelt_section() {
    let shown = shown("models:\n", "modelz:\n");
    insta::assert_snapshot!(shown, @r#"
    error: unknown field `modelz`
     --> scenario.yaml:3:1
      |
    3 | modelz:
      | ^^^^^^
      |
      = hint: did you mean `models`?
    "#);
}

#[test]
fn duplicate_key() {
    let shown = shown("target: builtin", "target: builtin\nname: again");
    insta::assert_snapshot!(shown, @r#"
    error: `name` stands here for the second time
      --> scenario.yaml:13:1
       |
    13 | name: again
       | ^^^^
       |
       = hint: keep one of them
    "#);
}

#[test]
fn unit_that_means_two_sizes() {
    let shown = shown("fail: 100 MiB", "fail: 100 MB");
    insta::assert_snapshot!(shown, @r#"
    error: unknown unit `MB`: write B, KiB, MiB, GiB or TiB (powers of 1024)
      --> scenario.yaml:19:63
       |
    19 |   - {id: total, when: {model: a}, total: {warn: 90 MiB, fail: 100 MB}, why: it must fit}
       |                                                               ^^^^^^
    "#);
}

#[test]
fn size_without_unit() {
    let shown = shown("fail: 1 MiB", "fail: 1048576");
    insta::assert_snapshot!(shown, @r#"
    error: a size needs a unit: B, KiB, MiB, GiB or TiB
      --> scenario.yaml:20:60
       |
    20 |   - {id: kv, class: kv_cache, phase: decode, bytes: {fail: 1048576}, why: small}
       |                                                            ^^^^^^^
    "#);
}

#[test]
fn duration_without_unit() {
    let shown = shown("load: {timeout: 10 s}", "load: {timeout: 10}");
    insta::assert_snapshot!(shown, @r#"
    error: a duration needs a number and a unit: us, ms, s or min, for example 300 ms
      --> scenario.yaml:15:21
       |
    15 |   - load: {timeout: 10}
       |                     ^^
    "#);
}

#[test]
fn negative_count() {
    let shown = shown("trials: 1", "trials: -1");
    insta::assert_snapshot!(shown, @r#"
    error: expected a whole number that is not negative
      --> scenario.yaml:13:9
       |
    13 | trials: -1
       |         ^^
    "#);
}

#[test]
fn phase_without_timeout() {
    let shown = shown("load: {timeout: 10 s}", "load: {}");
    insta::assert_snapshot!(shown, @r#"
    error: the field `timeout` is missing here
      --> scenario.yaml:15:11
       |
    15 |   - load: {}
       |           ^
    "#);
}

#[test]
fn unknown_phase() {
    let shown = shown("- decode:", "- decoding:");
    insta::assert_snapshot!(shown, @r#"
    error: unknown value `decoding`
      --> scenario.yaml:17:5
       |
    17 |   - decoding: {outputTokens: 8, timeout: 10 s}
       |     ^^^^^^^^
       |
       = hint: known here: idle, load, prefill, decode, settle, unload
    "#);
}

#[test]
fn exclusion_without_why() {
    let shown = shown(", why: too long for b", "");
    insta::assert_snapshot!(shown, @r#"
    error: the field `why` is missing here
      --> scenario.yaml:11:6
       |
    11 |   - {when: {model: b, maxInputLen: 256}}
       |      ^^^^
    "#);
}

#[test]
fn unknown_model_shows_every_place() {
    let shown = shown("model: [a, b]", "model: [a, c]");
    insta::assert_snapshot!(shown, @r#"
    error: there is no model `c`
     --> scenario.yaml:8:16
      |
    8 |     model: [a, c]
      |                ^
      |
      = hint: known here: a, b

    error: the axis `model` has no value `b`
      --> scenario.yaml:11:20
       |
    11 |   - {when: {model: b, maxInputLen: 256}, why: too long for b}
       |                    ^
       |
       = hint: known here: a, c
    "#);
}

#[test]
fn unknown_axis() {
    let shown = shown("maxInputLen: [128, 256]", "maxInputLn: [128, 256]");
    insta::assert_snapshot!(shown, @r#"
    error: there is no axis `maxInputLn`
     --> scenario.yaml:9:5
      |
    9 |     maxInputLn: [128, 256]
      |     ^^^^^^^^^^
      |
      = hint: did you mean `maxInputLen`?

    error: there is no axis `maxInputLen`
      --> scenario.yaml:11:23
       |
    11 |   - {when: {model: b, maxInputLen: 256}, why: too long for b}
       |                       ^^^^^^^^^^^
       |
       = hint: did you mean `maxInputLn`?
    "#);
}

#[test]
fn axis_without_values() {
    let shown = shown("maxInputLen: [128, 256]", "maxInputLen: []");
    insta::assert_snapshot!(shown, @r#"
    error: the axis `maxInputLen` has no values
     --> scenario.yaml:9:5
      |
    9 |     maxInputLen: []
      |     ^^^^^^^^^^^

    error: the axis `maxInputLen` has no value `256`
      --> scenario.yaml:11:36
       |
    11 |   - {when: {model: b, maxInputLen: 256}, why: too long for b}
       |                                    ^^^
    "#);
}

#[test]
fn axis_value_of_the_wrong_kind() {
    let shown = shown("maxInputLen: [128, 256]", "maxInputLen: [128, 1 MiB]");
    insta::assert_snapshot!(shown, @r#"
    error: `maxInputLen` cannot be `1 MiB`
     --> scenario.yaml:9:24
      |
    9 |     maxInputLen: [128, 1 MiB]
      |                        ^^^^^
      |
      = hint: it takes a number of tokens from 1 to 1048576, without a unit

    error: the axis `maxInputLen` has no value `256`
      --> scenario.yaml:11:36
       |
    11 |   - {when: {model: b, maxInputLen: 256}, why: too long for b}
       |                                    ^^^
       |
       = hint: known here: 128, 1 MiB
    "#);
}

#[test]
fn exclusion_with_empty_why() {
    let shown = shown("why: too long for b", r#"why: """#);
    insta::assert_snapshot!(shown, @r#"
    error: an exclusion needs a reason: `why` is empty
      --> scenario.yaml:11:12
       |
    11 |   - {when: {model: b, maxInputLen: 256}, why: ""}
       |            ^
    "#);
}

#[test]
fn exclusion_of_a_value_that_no_axis_has() {
    let shown = shown("maxInputLen: 256}", "maxInputLen: 512}");
    insta::assert_snapshot!(shown, @r#"
    error: the axis `maxInputLen` has no value `512`
      --> scenario.yaml:11:36
       |
    11 |   - {when: {model: b, maxInputLen: 512}, why: too long for b}
       |                                    ^^^
       |
       = hint: known here: 128, 256
    "#);
}

#[test]
fn no_trials() {
    let shown = shown("trials: 1", "trials: 0");
    insta::assert_snapshot!(shown, @r#"
    error: a cell needs 1 to 1000 trials
      --> scenario.yaml:13:9
       |
    13 | trials: 0
       |         ^
    "#);
}

#[test]
fn phases_out_of_order() {
    let shown = shown(
        "  - load: {timeout: 10 s}\n  - prefill: {promptTokens: 100, timeout: 10 s}\n",
        "  - prefill: {promptTokens: 100, timeout: 10 s}\n  - load: {timeout: 10 s}\n",
    );
    insta::assert_snapshot!(shown, @r#"
    error: the phase `load` cannot come after `prefill`
      --> scenario.yaml:16:5
       |
    16 |   - load: {timeout: 10 s}
       |     ^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: the order is idle, load, prefill, decode, settle, unload
    "#);
}

#[test]
fn no_load_phase() {
    let shown = shown("  - load: {timeout: 10 s}\n", "");
    insta::assert_snapshot!(shown, @r#"
    error: the phase `load` is missing
      --> scenario.yaml:15:3
       |
    15 |   - prefill: {promptTokens: 100, timeout: 10 s}
       |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: add `- load: {timeout: 120 s}`
    "#);
}

#[test]
fn budget_on_an_unknown_class() {
    let shown = shown("class: kv_cache", "class: kvcache");
    insta::assert_snapshot!(shown, @r#"
    error: there is no buffer class `kvcache`
      --> scenario.yaml:20:21
       |
    20 |   - {id: kv, class: kvcache, phase: decode, bytes: {fail: 1 MiB}, why: small}
       |                     ^^^^^^^
       |
       = hint: did you mean `kv_cache`?
    "#);
}

#[test]
fn budget_on_a_phase_that_never_runs() {
    let shown = shown("phase: decode", "phase: settle");
    insta::assert_snapshot!(shown, @r#"
    error: no trial has a phase `settle`, so this budget would never be checked
      --> scenario.yaml:20:38
       |
    20 |   - {id: kv, class: kv_cache, phase: settle, bytes: {fail: 1 MiB}, why: small}
       |                                      ^^^^^^
    "#);
}

#[test]
fn budget_without_a_limit() {
    let shown = shown(", bytes: {fail: 1 MiB}", "");
    insta::assert_snapshot!(shown, @r#"
    error: what does the budget `kv` limit?
      --> scenario.yaml:20:10
       |
    20 |   - {id: kv, class: kv_cache, phase: decode, why: small}
       |          ^^
       |
       = hint: give it `total`, `device`, `hostAndDevice` or `stack`, or `class` with one of `bytes` and `share`, or `growth`, `leak` or `drift`
    "#);
}

#[test]
fn budget_with_warn_above_fail() {
    let shown = shown("warn: 90 MiB", "warn: 190 MiB");
    insta::assert_snapshot!(shown, @r#"
    error: `warn` is above `fail` and would never be seen
      --> scenario.yaml:19:42
       |
    19 |   - {id: total, when: {model: a}, total: {warn: 190 MiB, fail: 100 MiB}, why: it must fit}
       |                                          ^
    "#);
}

#[test]
fn prompt_longer_than_a_cell_accepts() {
    let shown = shown("promptTokens: 100", "promptTokens: 200");
    insta::assert_snapshot!(shown, @r#"
    error: a prompt of 200 tokens does not fit maxInputLen 128 of the cell model=a maxInputLen=128
      --> scenario.yaml:16:29
       |
    16 |   - prefill: {promptTokens: 200, timeout: 10 s}
       |                             ^^^
    "#);
}

#[test]
fn prompt_limit_above_the_capacity() {
    let shown = shown("target: builtin", "settings: {maxKVCacheCapacity: 130}\ntarget: builtin");
    insta::assert_snapshot!(shown, @r#"
    error: maxInputLen 256 is larger than maxKVCacheCapacity 130 in the cell model=a maxInputLen=256
      --> scenario.yaml:12:32
       |
    12 | settings: {maxKVCacheCapacity: 130}
       |                                ^^^
       |
       = hint: raise maxKVCacheCapacity, lower maxInputLen, or leave maxKVCacheCapacity out
    "#);
}

#[test]
fn unknown_architecture_suggests_the_nearest() {
    let shown = shown("Qwen3-0.6B", "qwen3-0.6b");
    insta::assert_snapshot!(shown, @r#"
    error: the model `a` asks for `qwen3-0.6b`, which is no architecture
     --> scenario.yaml:4:3
      |
    4 |   a: {synthetic: {architecture: qwen3-0.6b, seed: 1}}
      |   ^
      |
      = hint: did you mean `Qwen3-0.6B`?
    "#);
}

#[test]
fn the_shapes_of_values_are_named_in_plain_words() {
    let first = |from: &str, to: &str| shown(from, to).lines().next().unwrap_or_default().to_owned();
    let said = [
        first("maxInputLen: [128, 256]", "maxInputLen: 128"),
        first("    model: [a, b]\n    maxInputLen: [128, 256]\n", ""),
        first("  - prefill:", "    prefill:"),
        first("why: A scenario for tests.", "why:"),
        first("target: builtin", "target: {}"),
        first("target: builtin", "---\ntarget: builtin"),
    ];
    insta::assert_snapshot!(said.join("\n"), @r#"
    error: expected a list, for example `[1024, 4096]`
    error: expected names with values, for example `name: value`
    error: only one name may stand here
    error: expected a text, found nothing
    error: a name is missing here
    error: the field `trials` is missing here
    "#);
}

#[test]
fn a_file_without_end_or_without_text_is_refused() {
    let error = scenario::load(Path::new("/dev/zero")).expect_err("endless");
    assert!(error.to_string().contains("1 MiB"), "{error}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), b"name: a\nwhy: \xff\n").expect("writable");
    let error = scenario::load(file.path()).expect_err("no text");
    assert!(error.to_string().contains("line 2 is not UTF-8"), "{error}");
}

#[test]
fn vocabulary_that_is_neither_a_number_nor_a_file() {
    let shown = shown("target: builtin", "build: {vocab: fulll}\ntarget: builtin");
    insta::assert_snapshot!(shown, @r#"
    error: `vocab` cannot be `fulll`
      --> scenario.yaml:12:16
       |
    12 | build: {vocab: fulll}
       |                ^^^^^
       |
       = hint: it takes full, a number of rows such as 32k, or a file of ids such as vocab_map.safetensors or ./ids.txt
    "#);
}

#[test]
fn vocabulary_of_no_rows() {
    let shown = shown("target: builtin", "build: {vocab: 0}\ntarget: builtin");
    insta::assert_snapshot!(shown, @r#"
    error: `vocab` cannot be `0`
      --> scenario.yaml:12:16
       |
    12 | build: {vocab: 0}
       |                ^
       |
       = hint: it takes full, a number of rows such as 32k, or a file of ids such as vocab_map.safetensors or ./ids.txt
    "#);
}

#[test]
fn vocabulary_with_a_unit_on_an_axis() {
    let shown =
        shown("maxInputLen: [128, 256]\n", "maxInputLen: [128, 256]\n    vocab: [full, 64k, 32 KiB]\n");
    insta::assert_snapshot!(shown, @r#"
    error: `vocab` cannot be `32 KiB`
      --> scenario.yaml:10:24
       |
    10 |     vocab: [full, 64k, 32 KiB]
       |                        ^^^^^^
       |
       = hint: it takes full, a number of rows such as 32k, or a file of ids such as vocab_map.safetensors or ./ids.txt
    "#);
}

#[test]
fn vocabulary_on_an_axis_is_part_of_the_build() {
    let axis = "maxInputLen: [128, 256]\n    vocab: [full, 64k, 1000, maps/vocab_map.safetensors]\n";
    let text = SMALL.replacen("maxInputLen: [128, 256]\n", axis, 1);
    let expansion = scenario::parse(Path::new("scenario.yaml"), text).expect("valid").expand();
    let vocabularies: Vec<String> =
        expansion.cells[..4].iter().map(|cell| cell.build.to_map()["vocab"].clone()).collect();
    assert_eq!(vocabularies, ["full", "64k", "1000", "maps/vocab_map.safetensors"]);
    let ids: std::collections::BTreeSet<_> = expansion.cells.iter().map(|cell| &cell.id.0).collect();
    assert_eq!(ids.len(), expansion.cells.len());
}

#[test]
fn a_need_of_a_probe_that_does_not_exist_suggests_the_nearest() {
    let planted = "target: builtin\nneeds: {swap: none, probes: [power, nvmapp]}";
    insta::assert_snapshot!(shown("target: builtin", planted), @r"
    error: there is no probe `nvmapp`
      --> scenario.yaml:13:37
       |
    13 | needs: {swap: none, probes: [power, nvmapp]}
       |                                     ^^^^^^
       |
       = hint: did you mean `nvmap`?
    ");
}

#[test]
fn needs_are_words_and_sizes_of_their_own() {
    let said = |needs: &str| shown("target: builtin", &format!("target: builtin\nneeds: {needs}"));
    assert_eq!(said("{availableMemory: 6 GiB, freeDisk: 1 GiB, clocks: locked, powerMode: 15W}"), "accepted");
    for (needs, expected) in [
        ("{availableMemory: 6}", "a size needs a unit"),
        ("{swap: off}", "unknown value `off`"),
        ("{clocks: fast}", "unknown value `fast`"),
        ("{powerMode: ''}", "a power mode needs a name"),
        ("{powermode: MAXN}", "unknown field `powermode`"),
    ] {
        assert!(said(needs).contains(expected), "{needs}: {}", said(needs));
    }
}

#[test]
fn runtimes_and_the_models_that_they_read_are_checked() {
    let first = |from: &str, to: &str| shown(from, to).lines().next().unwrap_or_default().to_owned();
    let hint = |from: &str, to: &str| {
        let shown = shown(from, to);
        shown.lines().find(|line| line.contains("hint:")).unwrap_or_default().trim().to_owned()
    };
    let llama =
        |arguments: &str| format!("target: {{llama-server: {{program: l, arguments: [{arguments}]}}}}");
    let both = "targets: {builtin: builtin, llama: {llama-server: {program: l}}}";
    let said = [
        first("{checkpoint: models/b}", "{}"),
        first("{checkpoint: models/b}", "{checkpoint: models/b, engine: engines/b}"),
        first("target: builtin\n", ""),
        first("target: builtin", &format!("target: builtin\n{both}")),
        first("target: builtin", both),
        first("target: builtin", &llama("")),
        hint("target: builtin", &llama("")),
        first("target: builtin", &llama("--ctx-size=4096")),
        first("target: builtin", "target: {openai: {url: localhost}}"),
        first("    model: [a, b]\n", "    model: [a, b]\n    target: [builtin]\n"),
    ];
    insta::assert_snapshot!(said.join("\n"), @r"
    error: the model `b` has no source
    error: the model `b` has both `checkpoint` and `engine`
    error: the field `target` is missing
    error: `target` and `targets` cannot stand together
    error: no cell would have a target
    error: the model `a` has no form that the target `llama-server` reads
    = hint: llama-server reads `gguf`
    error: the argument `--ctx-size=4096` is decided by `maxKVCacheCapacity`
    error: `localhost` is no address
    error: there is only one target
    ");
}

#[test]
fn co_residents_that_cannot_be_started_or_told_apart() {
    let with =
        |co_residents: &str| shown("trials: 1\n", &format!("trials: 1\nco_residents:\n{co_residents}"));
    let (says, holds) = ("ready: {says: up}", "standIn: {host: 1 MiB}");
    for (co_residents, message, hint) in [
        (
            format!("  - {{name: a, command: [], {says}, why: x}}\n"),
            "`a` has no program",
            "write it as a list",
        ),
        ("  - {name: a, command: [b], why: x}\n".to_owned(), "nothing says when `a` is ready", "add `ready:"),
        (format!("  - {{name: a, {says}, why: x}}\n"), "`a` needs one program", "`command` or `standIn`"),
        (
            format!("  - {{name: a, {holds}, {says}, why: x}}\n"),
            "a stand-in knows itself",
            "leave `ready` out",
        ),
        ("  - {name: a, standIn: {host: 0 B}, why: x}\n".to_owned(), "a stand-in holds something", "512 MiB"),
        (
            "  - {name: a, standIn: {host: 1 MiB, reads: 1 GiB/s}, why: x}\n".to_owned(),
            "reading less than 256.0 MiB again and again is done by caches",
            "leave `reads` out",
        ),
        (
            "  - {name: a, standIn: {host: 1 MiB, reads: 1 GiB}, why: x}\n".to_owned(),
            "a rate is a size a second",
            "2 GiB/s",
        ),
        (format!("  - {{name: a b, {holds}, why: x}}\n"), "becomes part of file names", "use letters"),
        (
            format!("  - {{name: a, {holds}, why: \"\"}}\n"),
            "a co-resident needs a reason",
            "scenario.yaml:15",
        ),
        (
            format!("  - {{name: a, {holds}, why: x}}\n").repeat(2),
            "stands here for the second time",
            "scenario.yaml:16",
        ),
        (
            (0..17).map(|at| format!("  - {{name: a{at}, {holds}, why: x}}\n")).collect(),
            "a scenario can have 16 co-residents",
            "scenario.yaml:31",
        ),
    ] {
        let shown = with(&co_residents);
        assert!(shown.contains(message) && shown.contains(hint), "{shown}");
    }
    assert_eq!(with(&format!("  - {{name: a, {holds}, why: x}}\n")), "accepted");
}

/// What the user sees of the `when` of a budget, or of an exclusion.
fn condition(of: &str, when: &str) -> String {
    match of {
        "budget" => shown("when: {model: a}, total", &format!("when: {when}, total")),
        _ => shown("when: {model: b, maxInputLen: 256}", &format!("when: {when}")),
    }
}

#[test]
fn conditions_are_shown_where_they_are_wrong() {
    insta::assert_snapshot!(condition("budget", "'model == a and maxInputLenn > 128'"), @r"
    error: there is no axis `maxInputLenn`
      --> scenario.yaml:19:39
       |
    19 |   - {id: total, when: 'model == a and maxInputLenn > 128', total: {warn: 90 MiB, fail: 100 MiB}, why: it must fit}
       |                                       ^^^^^^^^^^^^
       |
       = hint: did you mean `maxInputLen`?
    ");
    insta::assert_snapshot!(condition("budget", "model = a"), @r"
    error: `=` is no sign of a condition
      --> scenario.yaml:19:29
       |
    19 |   - {id: total, when: model = a, total: {warn: 90 MiB, fail: 100 MiB}, why: it must fit}
       |                             ^
       |
       = hint: write `==`
    ");
    for (of, when, words) in [
        ("budget", "lmHead > int4", "`lmHead` has no larger and smaller values"),
        ("budget", "maxInputLen > 1 GiB", "`maxInputLen` cannot be `1GiB`"),
        ("budget", "weightStreamingBudget > 1000", "`weightStreamingBudget` cannot be `1000`"),
        ("budget", "weightStreamingBudget > off", "nothing is larger or smaller than `off`"),
        ("budget", "maxInputLen", "hint: compare it: `maxInputLen >= VALUE`"),
        ("budget", "model == c", "the axis `model` has no value `c`"),
        ("budget", "cell == nosuch", "no cell has the name `nosuch`"),
        ("budget", "\"kvCacheType in [f16, int5]\"", "`kvCacheType` cannot be `int5`"),
        ("budget", "model == a &&  mtp", "hint: write `and`"),
        ("budget", "lmHeadd == int4", "hint: did you mean `lmHead`?"),
        ("budget", "model == a mtp", "expected `and`, `or` or the end here"),
        ("budget", "(model == a", "this bracket does not close"),
        ("budget", "''", "this condition is empty"),
        ("exclusion", "mtp", "there is no axis `mtp`"),
        ("exclusion", "5", "expected names with values, or a condition"),
        ("exclusion", "maxInputLen > 1", "every combination is excluded"),
    ] {
        let said = condition(of, when);
        assert!(said.contains(words), "{when}: {said}");
    }
    for (of, when) in [
        ("budget", "model == a and (maxInputLen > 128 or not mtp)"),
        ("budget", "'vocab in [32k, full]'"),
        ("budget", "weightStreamingBudget <= 1 GiB"),
        ("exclusion", "model == b and maxInputLen >= 200"),
    ] {
        assert_eq!(condition(of, when), "accepted", "{when}");
    }
}

#[test]
fn gates_that_cannot_be_held() {
    let gate = |gate: &str| shown("budgets:\n", &format!("gates:\n  - {{id: g, {gate}}}\nbudgets:\n"));
    for (written, words) in [
        ("metric: peek, allow: 1 MiB, why: x", "hint: did you mean `peak`?"),
        ("metric: class kv, allow: 1 MiB, why: x", "there is no buffer class `kv`"),
        ("metric: planned unaccounted, allow: 0 B, why: x", "no plan has `unaccounted`"),
        ("metric: ttft, allow: 1 MiB, why: x", "hint: for example `5 %`"),
        ("metric: peak, allow: 5, why: x", "`5` is neither a size nor a share"),
        ("metric: peak, allow: 1 %, why: ' '", "a gate needs a reason"),
        ("metric: peak, when: mtpp, allow: 1 %, why: x", "there is no axis `mtpp`"),
    ] {
        let said = gate(written);
        assert!(said.contains(words), "{written}: {said}");
    }
    for written in [
        "metric: class kv_cache, when: maxInputLen > 128, allow: 0 B, why: x",
        "metric: ttft, allow: 5 %, why: x",
    ] {
        assert_eq!(gate(written), "accepted");
    }
}
