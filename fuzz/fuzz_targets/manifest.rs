//! Manifests of engine directories, beside weights of the length that they ask for where a small one will do.

#![no_main]

use std::cell::LazyCell;
use std::fs::File;

use fuzz::Folder;
use libfuzzer_sys::fuzz_target;
use runtime::engine_dir::EngineDir;

thread_local! {
    static FOLDER: LazyCell<Folder> = LazyCell::new(|| Folder::with(&[]));
}

fuzz_target!(|text: &[u8]| {
    FOLDER.with(|folder| {
        folder.write("manifest.json", text);
        // A file without blocks has any length.
        let weights = File::create(folder.path().join("weights.bin"));
        let length = wanted_length(text).min(1 << 40);
        if weights.and_then(|file| file.set_len(length)).is_ok()
            && let Ok(engine) = EngineDir::open(folder.path())
        {
            let _ = engine.text_tables();
        }
    });
});

/// The number behind `"weights_bytes":`.
fn wanted_length(text: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(text);
    let behind = text.split("\"weights_bytes\":").nth(1).unwrap_or_default().trim_start();
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}
