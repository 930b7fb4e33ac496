//! The committed scenarios, their schema, and what makes two cells the same cell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use harness::record::{BudgetLimit, BudgetSubject};
use harness::scenario::{self, Scenario};
use ledger::Bytes;

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn quick_with(from: &str, to: &str) -> Scenario {
    let text = std::fs::read_to_string(scenarios().join("quick.yaml")).expect("committed");
    assert!(text.contains(from), "nothing would change");
    scenario::parse(Path::new("quick.yaml"), text.replacen(from, to, 1)).expect("valid")
}

fn ids(scenario: &Scenario) -> BTreeSet<String> {
    scenario.expand().cells.into_iter().map(|cell| cell.id.0).collect()
}

#[test]
fn every_committed_scenario_is_valid_and_its_cells_differ() {
    let mut seen = 0;
    for entry in std::fs::read_dir(scenarios()).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let scenario = scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(scenario.name, path.file_stem().expect("a name").to_string_lossy());
            assert_eq!(ids(&scenario).len(), scenario.expand().cells.len());
            seen += 1;
        }
    }
    assert!(seen >= 4, "quick, footprint, reported-case and gpu are missing");
}

#[test]
fn the_schema_is_up_to_date() {
    let committed = std::fs::read_to_string(scenarios().join("schema.json")).expect("committed");
    assert!(committed == scenario::schema_text(), "run `sweep schema > scenarios/schema.json`");
}

#[test]
fn the_reported_case_has_its_seven_configurations_each_with_a_budget() {
    let scenario = scenario::load(&scenarios().join("reported-case.yaml")).expect("valid");
    let cells: Vec<_> = scenario.expand().cells.iter().map(|cell| cell.record()).collect();
    let limit = |name: &str| {
        let cell = cells.iter().find(|cell| cell.value("cell") == Some(name)).expect("named");
        let budgets = scenario
            .budgets
            .iter()
            .filter(|budget| budget.subject == BudgetSubject::Total && cell.matches(&budget.when));
        budgets.filter_map(|budget| budget.fail).collect::<Vec<_>>()
    };
    for (name, mib) in [
        ("int8-plain", 2720),
        ("int8-draft", 2810),
        ("int4-draft", 2510),
        ("int8-64k-draft", 2370),
        ("int4-32k-int8-kv-draft", 2170),
        ("streamed-1gib", 1450),
        ("streamed-min", 640),
    ] {
        assert_eq!(limit(name), [BudgetLimit::Bytes(Bytes::mib(mib))], "{name}");
    }
    let named = cells.iter().filter(|cell| cell.name.is_some()).count();
    assert_eq!((cells.len(), named), (24, 7), "four of the seven are cells of the axes, too");
}

#[test]
fn what_decides_a_result_changes_the_cell_and_what_judges_it_does_not() {
    let quick = ids(&quick_with("seed: 7", "seed: 7"));
    assert_eq!(
        quick.len(),
        13,
        "5 for the model without a draft, 6 for the one with it, 2 of the trained one"
    );
    for (from, to) in [
        ("seed: 7", "seed: 8"),
        ("lmHead: int8", "lmHead: int4"),
        ("weights: mapped", "weights: resident"),
        ("architecture: Qwen3-4B, seed: 1", "architecture: Qwen3-4B, seed: 2"),
        ("promptTokens: 512", "promptTokens: 513"),
        ("outputTokens: 24", "outputTokens: 25"),
        ("maxInputLen: [4096, 1024, 8192]", "maxInputLen: [4097, 1025, 8193]"),
    ] {
        let changed = ids(&quick_with(from, to));
        assert!(quick.difference(&changed).count() >= 3, "{from} -> {to} kept the cells");
    }
    for (from, to) in
        [("fail: 2720 MiB", "fail: 2721 MiB"), ("trials: 1", "trials: 3"), ("why: Do", "why: Yet do")]
    {
        assert_eq!(quick, ids(&quick_with(from, to)), "{from} -> {to} changed the cells");
    }
}

#[test]
fn off_is_a_word_and_no_boolean() {
    let from = "weightStreamingBudget: [unset, 1GiB]";
    let scenario = quick_with(from, "weightStreamingBudget: [unset, off, min, 1GiB]");
    let cells = scenario.expand().cells;
    let values: BTreeSet<String> = cells
        .iter()
        .map(|cell| cell.record().value("weightStreamingBudget").expect("an axis").to_owned())
        .collect();
    assert_eq!(values.into_iter().collect::<Vec<_>>(), ["1GiB", "min", "off", "unset"]);
    let drafting: BTreeSet<bool> = cells.iter().map(|cell| cell.settings.mtp).collect();
    assert_eq!(drafting, [false, true].into(), "true and false are still booleans");
}
