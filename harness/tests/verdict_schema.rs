//! The JSON Schema of `verdict.json` is the committed one, takes every verdict that the program makes, and no other thing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use std::path::Path;

use harness::record::{Boards, BoardsRecord, Outcome};
use harness::verdict::{judge, judge_boards, schema_text};
use sample_run::device::{Board, run_on};
use sample_run::levers::{lever_run, tried};
use sample_run::{Model, run};
use serde_json::{Value, json};

fn errors(verdict: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(&schema_text()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(verdict).map(|error| error.to_string()).collect()
}

#[test]
fn the_schema_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verdict.schema.json");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == schema_text(), "run `sweep schema verdict > docs/verdict.schema.json`");
}

#[test]
fn every_verdict_is_of_that_form() {
    let mut crashed = run();
    crashed.trials[0].record.outcome =
        Outcome::Crashed { phase: ledger::Phase::Load, signal: Some(11), exit_code: None };
    let levers = lever_run(&[
        tried(Model::Qwen35, &[], (0, 0), 8.6),
        tried(Model::Qwen35, &[("lmHead", "int4")], (-300, -299), 8.6),
    ]);
    for run in [run(), crashed, levers, run_on(Board::Card), run_on(Board::Unified)] {
        let verdict = serde_json::to_value(judge(&run)).unwrap();
        assert_eq!(errors(&verdict), Vec::<String>::new());
        let boards = Boards {
            folder: run.folder.clone(),
            record: BoardsRecord::new("quick".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
            runs: vec![("a".to_owned(), run.clone()), ("b".to_owned(), run)],
        };
        let mut both = serde_json::to_value(judge_boards(&boards)).unwrap();
        assert_eq!(errors(&both), Vec::<String>::new());
        both["boards"][1]["verdict"]["cells"][0]["peak_resident_bytes"] = json!(0);
        assert!(!errors(&both).is_empty(), "a number is no reading");
    }
    for wrong in [json!({}), json!([]), json!({"format_version": 2, "cells": []})] {
        assert!(!errors(&wrong).is_empty(), "{wrong}");
    }
}
