//! Joined axes, the order of trials, cooldown, expectations and budgets on growth: what they mean, and what is a mistake.

mod planted;

use std::time::Duration;

use harness::scenario::{self, Temperature};
use planted::parsed;

/// A scenario without mistakes; each test plants one.
const SMALL: &str = r#"name: small
why: A scenario for tests.
seed: 3
models:
  a: {synthetic: {architecture: Qwen3-0.6B, seed: 1}}
  b: {synthetic: {architecture: Qwen3.5-0.8B, seed: 1}}
axes:
  grid:
    mtp: [false, true]
  zip:
    model: [a, b, b]
    maxInputLen: [128, 256, 512]
  one_at_a_time:
    gdnPrefillMaxSeq: [256, 64]
exclude:
  - {when: model == a and mtp, why: a has no draft}
target: builtin
trials: 3
cooldown: {for: 2 s, below: 55 °C, timeout: 30 s}
phases:
  - load: {timeout: 10 s}
  - prefill: {promptTokens: 100, requests: 10, timeout: 10 s}
  - settle: {for: 3 s, timeout: 10 s}
budgets:
  - {id: state, growth: {of: recurrent_state, per: gdnPrefillMaxSeq, fail: 0 B}, why: constant}
  - {id: cache, growth: {of: kv_cache, per: context, warn: 64 KiB, fail: 72 KiB}, why: the law}
  - {id: leak, leak: {fail: 30 MiB/min}, why: nothing is asked}
  - {id: drift, drift: {fail: 256 KiB/request}, why: every request is the same}
expect:
  - {outcome: oom, when: maxInputLen == 512 and mtp, until: 2027-01-31, why: too large for now}
"#;

/// What the user sees when `from` is replaced by `to` in it.
fn shown(from: &str, to: &str) -> String {
    planted::shown(SMALL, from, to)
}

#[test]
fn joined_axes_vary_together_for_each_combination_of_the_grid() {
    let scenario = parsed(SMALL).unwrap_or_else(|error| panic!("{error}"));
    let cells: Vec<String> = scenario.expand().cells.iter().map(|cell| cell.describe()).collect();
    insta::assert_snapshot!(cells.join("\n"), @r"
    mtp=false model=a maxInputLen=128 gdnPrefillMaxSeq=256
    mtp=false model=a maxInputLen=128 gdnPrefillMaxSeq=64
    mtp=false model=b maxInputLen=256 gdnPrefillMaxSeq=256
    mtp=false model=b maxInputLen=256 gdnPrefillMaxSeq=64
    mtp=false model=b maxInputLen=512 gdnPrefillMaxSeq=256
    mtp=false model=b maxInputLen=512 gdnPrefillMaxSeq=64
    mtp=true model=b maxInputLen=256 gdnPrefillMaxSeq=256
    mtp=true model=b maxInputLen=256 gdnPrefillMaxSeq=64
    mtp=true model=b maxInputLen=512 gdnPrefillMaxSeq=256
    mtp=true model=b maxInputLen=512 gdnPrefillMaxSeq=64
    ");
    let alone =
        SMALL.replace("  grid:\n    mtp: [false, true]\n", "").replace("model == a and mtp", "model == a");
    let alone = alone.replace("maxInputLen == 512 and mtp", "maxInputLen == 512");
    assert_eq!(parsed(alone).map(|scenario| scenario.expand().cells.len()).ok(), Some(4), "without a grid");
}

#[test]
fn axes_that_cannot_vary_together() {
    insta::assert_snapshot!(shown("[128, 256, 512]", "[128, 512]"), @r"
    error: `maxInputLen` has 2 values and `model` has 3: they cannot vary together
      --> scenario.yaml:12:18
       |
    12 |     maxInputLen: [128, 512]
       |                  ^
       |
       = hint: give all axes of `zip` as many values; one that keeps its value is written once for each cell
    ");
    for (from, to, words) in [
        (
            "    model: [a, b, b]\n",
            "    mtp: [false, true, true]\n",
            "the axis `mtp` stands on the grid, too",
        ),
        ("gdnPrefillMaxSeq: [256", "maxInputLen: [256", "the axis `maxInputLen` stands in `zip`, too"),
        ("    maxInputLen: [128, 256, 512]\n", "", "`model` has nothing to vary together with"),
        ("maxInputLen: [128, 256, 512]", "maxInputLenn: [128, 256, 512]", "did you mean `maxInputLen`?"),
        ("maxInputLen: [128, 256, 512]", "maxInputLen: []", "the axis `maxInputLen` has no values"),
    ] {
        let said = shown(from, to);
        assert!(said.contains(words), "{to}: {said}");
    }
    let lever = "levers: [{axis: maxInputLen, why: x}]\nexpect:";
    assert!(shown("expect:", lever).contains("there is no axis `maxInputLen` that could be a lever"));
}

#[test]
fn every_block_has_each_cell_once_in_an_order_of_its_own() {
    let scenario = parsed(SMALL).expect("valid");
    let cells = scenario.expand().cells;
    let visits = scenario.visits(&cells);
    assert_eq!(visits.len(), 30);
    let blocks: Vec<Vec<usize>> =
        visits.chunks(10).map(|block| block.iter().map(|(at, _)| *at).collect()).collect();
    for (trial, block) in blocks.iter().enumerate() {
        assert!(visits[trial * 10..][..10].iter().all(|(_, own)| *own == trial as u32));
        let mut sorted = block.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
    }
    assert!(blocks[0] != blocks[1] && blocks[1] != blocks[2], "{blocks:?}");
    assert_eq!(scenario.visits(&cells), visits, "the same every time");
    let other = parsed(SMALL.replace("seed: 3", "seed: 4")).expect("valid");
    assert_ne!(other.visits(&cells), visits, "another seed, another order");

    // Some cells alone keep their order among each other.
    let some: Vec<_> = [1, 4, 7].map(|at| cells[at].clone()).into();
    let ids = |cells: &[scenario::Cell], visits: &[(usize, u32)]| {
        visits.iter().map(|(at, trial)| (cells[*at].id.clone(), *trial)).collect::<Vec<_>>()
    };
    let mut kept = ids(&cells, &visits);
    kept.retain(|(id, _)| some.iter().any(|cell| cell.id == *id));
    assert_eq!(ids(&some, &scenario.visits(&some)), kept);

    let written = parsed(SMALL.replace("trials: 3", "trials: 3\norder: as_written")).expect("valid");
    assert_eq!(written.visits(&cells)[..4], [(0, 0), (0, 1), (0, 2), (1, 0)]);
    assert!(
        shown("trials: 3", "trials: 3\norder: random").contains("known here: as_written, blocked_random")
    );
}

#[test]
fn cooldown_waits_for_something() {
    let cooldown = parsed(SMALL).expect("valid").cooldown.expect("written");
    assert_eq!(cooldown.below, Some(Temperature(55_000)));
    assert_eq!((cooldown.lasts, cooldown.timeout), (Duration::from_secs(2), Duration::from_secs(30)));
    let planted = |to: &str| shown("{for: 2 s, below: 55 °C, timeout: 30 s}", to);
    assert!(planted("{}").contains("this cooldown waits for nothing"));
    assert!(planted("{for: 2 s, timeout: 3 s}").contains("`timeout` goes with `below`"));
    assert!(planted("{below: 55}").contains("a temperature is a number"), "{}", planted("{below: 55}"));
    assert_eq!(planted("{for: 2 s}"), "accepted");
}

#[test]
fn expectations_end_on_a_day_and_are_for_some_cell() {
    let planted = |from: &str, to: &str| shown(from, to);
    assert!(planted("2027-01-31", "2027-02-30").contains("`2027-02-30` is no day"));
    assert!(planted("2027-01-31", "soon").contains("hint: for example `2027-01-31`"));
    assert!(planted("why: too large for now", "why: ''").contains("an expectation needs a reason"));
    assert!(planted("outcome: oom", "outcome: out").contains("known here: oom, timeout, crash"));
    let nowhere = planted("when: maxInputLen == 512 and mtp", "when: model == a and maxInputLen == 512");
    assert!(nowhere.contains("no cell is expected to end so"), "{nowhere}");
}

#[test]
fn budgets_on_growth_that_could_never_be_held() {
    for (from, to, words) in [
        ("of: recurrent_state", "of: state", "`state` is nothing that grows"),
        ("per: gdnPrefillMaxSeq", "per: maxInputLen", "no two cells differ in `maxInputLen` alone"),
        ("per: gdnPrefillMaxSeq", "per: threads", "known here: context, maxInputLen"),
        ("of: kv_cache", "of: total", "hint: name a buffer class"),
        ("per: context, warn", "per: context, warnn", "did you mean `warn`?"),
        (", warn: 64 KiB, fail: 72 KiB", "", "neither `warn` nor `fail`"),
        ("fail: 30 MiB/min", "fail: 30 MiB", "for example 1 MiB/min"),
        ("fail: 256 KiB/request", "fail: 256 KiB/s", "for example 64 KiB/request"),
        ("settle: {for: 3 s", "settle: {for: 2 s", "no phase in which nothing is asked lasts long enough"),
        ("requests: 10", "requests: 9", "give `prefill` at least 10 requests"),
        ("id: leak, leak", "id: leak, phase: decode, leak", "this is not looked for in `decode`"),
        ("id: leak, leak", "id: leak, total: {fail: 1 GiB}, leak", "what does the budget `leak` limit?"),
    ] {
        let said = shown(from, to);
        assert!(said.contains(words), "{to}: {said}");
    }
}
