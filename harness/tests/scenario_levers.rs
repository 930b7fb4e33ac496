//! Axes that are tried one at a time, named cells, and levers: which cells there are, and what is a mistake.

mod planted;

use harness::record::LeverMetric;
use ledger::Phase;
use planted::parsed;

/// A scenario without mistakes; each test plants one.
const SMALL: &str = r#"name: small
why: A scenario for tests.
models:
  a: {synthetic: {architecture: Qwen3-0.6B, seed: 1}}
  b: {synthetic: {architecture: Qwen3.5-0.8B, seed: 1}}
axes:
  grid:
    model: [a, b]
  one_at_a_time:
    maxInputLen: [256, 128, 512]
    mtp: [false, true]
    weightStreamingBudget: [unset, 1GiB]
include:
  - {name: small-draft, cell: {model: b, mtp: true, lmHead: int4}, why: both at once}
exclude:
  - {when: {model: a, mtp: true}, why: a has no draft}
target: builtin
trials: 1
phases:
  - load: {timeout: 10 s}
  - prefill: {promptTokens: 100, timeout: 10 s}
budgets:
  - {id: total, when: {cell: small-draft}, total: {fail: 100 MiB}, why: it must fit}
levers:
  - {axis: mtp, why: it costs}
  - {axis: maxInputLen, metric: load, works_above: 50 %, why: it sizes nothing}
"#;

/// What the user sees when `from` is replaced by `to` in it.
fn shown(from: &str, to: &str) -> String {
    planted::shown(SMALL, from, to)
}

#[test]
fn each_axis_is_tried_alone_from_one_base_a_model() {
    let scenario = parsed(SMALL).expect("valid");
    let expansion = scenario.expand();
    let bases = scenario.bases();
    let told: Vec<String> = expansion
        .cells
        .iter()
        .map(|cell| format!("{}: {}", cell.model, cell.record().variant(&bases)))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    a: base
    a: maxInputLen 128
    a: maxInputLen 512
    a: weightStreamingBudget 1GiB
    b: base
    b: maxInputLen 128
    b: maxInputLen 512
    b: mtp true
    b: weightStreamingBudget 1GiB
    b: small-draft
    ");
    assert_eq!(
        expansion.cells[1].describe(),
        "model=a maxInputLen=128 mtp=false weightStreamingBudget=unset",
        "every axis has its value"
    );
    assert_eq!(
        expansion.cells[9].describe(),
        "model=b maxInputLen=256 mtp=true weightStreamingBudget=unset lmHead=int4"
    );
    assert_eq!(expansion.excluded.len(), 1);
    assert_eq!(expansion.excluded[0].why, "a has no draft");
    let budget = &scenario.budgets[0];
    let held: Vec<_> = expansion.cells.iter().filter(|cell| cell.record().matches(&budget.when)).collect();
    assert_eq!(held, [&expansion.cells[9]]);
}

#[test]
fn cells_are_the_same_as_on_a_grid() {
    let alone = parsed(SMALL).expect("valid").expand();
    let axes = "  one_at_a_time:\n    maxInputLen: [256, 128, 512]\n    mtp: [false, true]\n    weightStreamingBudget: [unset, 1GiB]\n";
    let grid = SMALL.replacen(axes, "    maxInputLen: [512]\n", 1);
    let grid = grid.replacen("cell: {model: b,", "cell: {model: b, maxInputLen: 512,", 1);
    let grid = grid.replacen(
        "  - {when: {model: a, mtp: true}, why: a has no draft}",
        "  - {when: {model: b}, why: a alone}",
        1,
    );
    let grid = grid.split("budgets:").next().expect("a part").replacen(
        ", mtp: true, lmHead: int4}, why: both",
        "}, why: both",
        1,
    );
    let grid = parsed(grid).unwrap_or_else(|error| panic!("{error}")).expand();
    assert_eq!(grid.cells[0].id, alone.cells[2].id, "an id tells what runs, not how it was written");
}

#[test]
fn a_named_cell_that_the_axes_have_already_is_one_cell() {
    let text = SMALL.replacen("mtp: true, lmHead: int4}", "mtp: true}", 1);
    let expansion = parsed(text).expect("valid").expand();
    assert_eq!(expansion.cells.len(), 9);
    let named: Vec<_> = expansion.cells.iter().filter_map(|cell| cell.name.clone()).collect();
    assert_eq!(named.len(), 1);
    assert!(!named[0].beside_axes && named[0].name == "small-draft");
}

#[test]
fn levers_are_what_is_written_else_every_axis_that_is_tried_alone() {
    let written = parsed(SMALL).expect("valid").levers;
    assert_eq!(written.len(), 2);
    assert_eq!((written[0].axis.as_str(), written[0].base.as_str()), ("mtp", "false"));
    assert_eq!((written[1].metric, written[1].works_above), (LeverMetric::Phase(Phase::Load), 0.5));
    let text = SMALL.split("levers:").next().expect("a part").to_owned();
    let implied = parsed(text).expect("valid").levers;
    let axes: Vec<_> = implied.iter().map(|lever| (lever.axis.as_str(), lever.works_above)).collect();
    assert_eq!(axes, [("maxInputLen", 0.9), ("mtp", 0.9), ("weightStreamingBudget", 0.9)]);
}

#[test]
fn an_axis_in_both_places() {
    let shown = shown("    mtp: [false, true]", "    model: [a, b]\n    mtp: [false, true]");
    insta::assert_snapshot!(shown, @r"
    error: `model` cannot be tried one at a time
      --> scenario.yaml:11:5
       |
    11 |     model: [a, b]
       |     ^^^^^
       |
       = hint: put it on the grid: then every model is a base of its own
    ");
    let grid = self::shown("    model: [a, b]", "    model: [a, b]\n    mtp: [false, true]");
    insta::assert_snapshot!(grid, @r"
    error: the axis `mtp` stands on the grid, too
      --> scenario.yaml:12:5
       |
    12 |     mtp: [false, true]
       |     ^^^
       |
       = hint: keep it in one of the two
    ");
}

#[test]
fn an_axis_without_values_or_with_a_base_alone() {
    insta::assert_snapshot!(shown("    mtp: [false, true]", "    mtp: [false, true]\n    threads: []"), @r"
    error: the axis `threads` has no values
      --> scenario.yaml:12:5
       |
    12 |     threads: []
       |     ^^^^^^^
    ");
    insta::assert_snapshot!(shown("    mtp: [false, true]", "    mtp: [false, true]\n    threads: [2]"), @r"
    error: the axis `threads` has a base and nothing to try
      --> scenario.yaml:12:14
       |
    12 |     threads: [2]
       |              ^
       |
       = hint: add another value, or move it to `settings` or `build`: `threads: 2`
    ");
}

#[test]
fn an_unknown_axis_and_an_unknown_value() {
    insta::assert_snapshot!(shown("    mtp: [false, true]", "    mtq: [false, true]"), @r"
    error: there is no axis `mtq`
      --> scenario.yaml:11:5
       |
    11 |     mtq: [false, true]
       |     ^^^
       |
       = hint: did you mean `mtp`?

    error: there is no axis `mtp`
      --> scenario.yaml:16:23
       |
    16 |   - {when: {model: a, mtp: true}, why: a has no draft}
       |                       ^^^
       |
       = hint: did you mean `mtq`?

    error: there is no axis `mtp` that could be a lever
      --> scenario.yaml:25:12
       |
    25 |   - {axis: mtp, why: it costs}
       |            ^^^
       |
       = hint: did you mean `mtq`?
    ");
    insta::assert_snapshot!(shown("    mtp: [false, true]", "    mtp: [false, maybe]"), @r"
    error: `mtp` cannot be `maybe`
      --> scenario.yaml:11:18
       |
    11 |     mtp: [false, maybe]
       |                  ^^^^^
       |
       = hint: it takes true or false
    ");
}

#[test]
fn a_base_that_is_excluded() {
    insta::assert_snapshot!(shown("{model: a, mtp: true}", "{model: a, mtp: false}"), @r"
    error: the base of the cell model=a maxInputLen=256 mtp=true weightStreamingBudget=unset is excluded: nothing would say what `mtp` moves
      --> scenario.yaml:11:5
       |
    11 |     mtp: [false, true]
       |     ^^^
    ");
    let all = shown("exclude:", "exclude:\n  - {when: {mtp: true}, why: no}");
    insta::assert_snapshot!(all, @r"
    error: every cell that would try `mtp` is excluded
      --> scenario.yaml:11:5
       |
    11 |     mtp: [false, true]
       |     ^^^
    ");
}

#[test]
fn named_cells_that_make_no_sense() {
    insta::assert_snapshot!(shown("cell: {model: b, mtp", "cell: {mtp"), @r"
    error: the cell `small-draft` does not say which `model`
      --> scenario.yaml:14:31
       |
    14 |   - {name: small-draft, cell: {mtp: true, lmHead: int4}, why: both at once}
       |                               ^
       |
       = hint: add one of a, b
    ");
    insta::assert_snapshot!(shown("lmHead: int4", "head: int4"), @r"
    error: there is no setting or build option `head`
      --> scenario.yaml:14:53
       |
    14 |   - {name: small-draft, cell: {model: b, mtp: true, head: int4}, why: both at once}
       |                                                     ^^^^
       |
       = hint: did you mean `lmHead`?
    ");
    insta::assert_snapshot!(shown("{cell: small-draft}", "{cell: small-drafts}"), @r"
    error: no cell has the name `small-drafts`
      --> scenario.yaml:23:30
       |
    23 |   - {id: total, when: {cell: small-drafts}, total: {fail: 100 MiB}, why: it must fit}
       |                              ^^^^^^^^^^^^
       |
       = hint: did you mean `small-draft`?
    ");
    insta::assert_snapshot!(shown("name: small-draft", "name: small draft"), @r"
    error: a cell's name is typed on command lines
      --> scenario.yaml:14:12
       |
    14 |   - {name: small draft, cell: {model: b, mtp: true, lmHead: int4}, why: both at once}
       |            ^^^^^^^^^^^
       |
       = hint: use letters, digits, `-`, `_` and `.`

    error: no cell has the name `small-draft`
      --> scenario.yaml:23:30
       |
    23 |   - {id: total, when: {cell: small-draft}, total: {fail: 100 MiB}, why: it must fit}
       |                              ^^^^^^^^^^^
       |
       = hint: did you mean `small draft`?
    ");
}

#[test]
fn levers_that_make_no_sense() {
    insta::assert_snapshot!(shown("{axis: mtp,", "{axis: model,"), @r"
    error: there is no axis `model` that could be a lever
      --> scenario.yaml:25:12
       |
    25 |   - {axis: model, why: it costs}
       |            ^^^^^
       |
       = hint: known here: maxInputLen, mtp, weightStreamingBudget
    ");
    insta::assert_snapshot!(shown("metric: load", "metric: settle"), @r"
    error: a lever cannot be about `settle`
      --> scenario.yaml:26:33
       |
    26 |   - {axis: maxInputLen, metric: settle, works_above: 50 %, why: it sizes nothing}
       |                                 ^^^^^^
       |
       = hint: known here: peak, load, prefill, decode
    ");
    insta::assert_snapshot!(shown("metric: load", "metric: decode"), @r"
    error: no trial has a phase `decode`, so this lever would never be judged
      --> scenario.yaml:26:33
       |
    26 |   - {axis: maxInputLen, metric: decode, works_above: 50 %, why: it sizes nothing}
       |                                 ^^^^^^
    ");
    insta::assert_snapshot!(shown("works_above: 50 %", "works_above: 0 %"), @r"
    error: a lever that works without moving anything says nothing
      --> scenario.yaml:26:52
       |
    26 |   - {axis: maxInputLen, metric: load, works_above: 0 %, why: it sizes nothing}
       |                                                    ^^^
       |
       = hint: for example 90 %
    ");
    insta::assert_snapshot!(shown("axis: maxInputLen, metric: load", "axis: mtp"), @r"
    error: the lever `mtp` stands here for the second time
      --> scenario.yaml:26:12
       |
    26 |   - {axis: mtp, works_above: 50 %, why: it sizes nothing}
       |            ^^^
    ");
}
