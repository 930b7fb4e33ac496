//! `config.json`, checked and planned.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::config::ModelConfig;

fuzz_target!(|text: &str| {
    drop(ModelConfig::parse(text, &[]));
});
