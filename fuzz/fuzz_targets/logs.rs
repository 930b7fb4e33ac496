//! Logs of other programs: llama.cpp, TensorRT Edge-LLM, `free`, `tegrastats`, and the account that is made of them.

#![no_main]

use std::cell::LazyCell;

use fuzz::Folder;
use harness::import::{Account, read_log};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: LazyCell<Folder> = LazyCell::new(|| Folder::with(&[]));
}

fuzz_target!(|log: &[u8]| {
    FOLDER.with(|folder| {
        folder.write("a.log", log);
        let path = folder.path().join("a.log");
        if let Ok((kinds, evidence)) = read_log(&path) {
            drop(Account::of(vec![(path, kinds, evidence)]));
        }
    });
});
