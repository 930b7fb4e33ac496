//! A safetensors file as it is, its length of the header included, beside a `config.json` that is in order.

#![no_main]

use std::cell::LazyCell;

use fuzz::Folder;
use libfuzzer_sys::fuzz_target;
use runtime::checkpoint::DirectoryCheckpoint;

const CONFIG: &str = include_str!("../../fixtures/checkpoints/dense-awq/config.json");

thread_local! {
    static FOLDER: LazyCell<Folder> = LazyCell::new(|| {
        let folder = Folder::with(&[]);
        folder.write("config.json", CONFIG.as_bytes());
        folder
    });
}

fuzz_target!(|file: &[u8]| {
    FOLDER.with(|folder| {
        folder.write("model.safetensors", file);
        drop(DirectoryCheckpoint::open(folder.path()));
    });
});
