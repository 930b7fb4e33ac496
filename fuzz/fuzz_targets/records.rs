//! Run folders: `run.json`, a trial's record or its journal, and its series, judged as the report does. The parts of the input are
//! divided by a byte that no text has.

#![no_main]

use std::cell::LazyCell;
use std::fs;

use fuzz::{Folder, parts};
use harness::record::{Run, recover};
use harness::verdict::judge;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: LazyCell<Folder> = LazyCell::new(|| Folder::with(&["trials", "samples"]));
}

fuzz_target!(|input: &[u8]| {
    FOLDER.with(|folder| {
        let [run, record, journal, samples, device] = parts(input);
        folder.write("run.json", run);
        let Ok(head) = Run::head(folder.path()) else { return };
        for trial in head.trials.iter().take(3).filter(|trial| is_plain(&trial.stem)) {
            folder.write(&format!("trials/{}.json", trial.stem), record);
            folder.write(&format!("trials/{}.jsonl", trial.stem), journal);
            folder.write(&format!("samples/{}.csv", trial.stem), samples);
            folder.write(&format!("samples/{}.gpu.csv", trial.stem), device);
            drop(recover(&folder.path().join(format!("trials/{}.jsonl", trial.stem))));
            if record.is_empty() {
                let _ = fs::remove_file(folder.path().join(format!("trials/{}.json", trial.stem)));
            }
        }
        if let Ok(run) = Run::load(folder.path()) {
            drop(judge(&run));
        }
    });
});

fn is_plain(stem: &str) -> bool {
    (1..64).contains(&stem.len())
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
