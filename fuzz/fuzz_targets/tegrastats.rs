//! Lines of `tegrastats`.

#![no_main]

use harness::probe::tegrastats::TegraLine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    drop(TegraLine::parse(line));
});
