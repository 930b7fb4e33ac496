//! Checkpoints: `config.json` beside a safetensors file. The parts of the input are divided by a byte that no text has.

#![no_main]

use std::cell::LazyCell;

use fuzz::{Folder, parts};
use libfuzzer_sys::fuzz_target;
use runtime::checkpoint::DirectoryCheckpoint;

thread_local! {
    static FOLDER: LazyCell<Folder> = LazyCell::new(|| Folder::with(&[]));
}

fuzz_target!(|input: &[u8]| {
    FOLDER.with(|folder| {
        let [config, header, data] = parts(input);
        folder.write("config.json", config);
        let length = (header.len() as u64).to_le_bytes();
        folder.write("model.safetensors", &[&length, header, data].concat());
        drop(DirectoryCheckpoint::open(folder.path()));
    });
});
