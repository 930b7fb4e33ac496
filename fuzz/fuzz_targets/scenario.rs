//! Scenario files: from text to the cells of a run, and the words of every mistake.

#![no_main]

use std::path::Path;

use harness::scenario::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse(Path::new("scenario.yaml"), text.to_owned()) {
        Ok(scenario) => drop(scenario.expand()),
        Err(error) => drop(error.to_string()),
    }
});
