//! Damaged checkpoints: one clear error each, naming the file and what to do, and nothing left behind.

mod reference;

use std::path::{Path, PathBuf};

use runtime::checkpoint::DirectoryCheckpoint;
use runtime::engine_dir::{BuildFlow, BuildOptions, build};

/// A copy of a fixture that a test may damage.
struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    fn of(name: &str) -> Copy {
        let folder = tempfile::tempdir().unwrap();
        let from = reference::checkpoint(name);
        let to = folder.path().join("checkpoint");
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        Copy { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("checkpoint").join(name)
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.file(name)).unwrap();
        change(&mut bytes);
        std::fs::write(self.file(name), bytes).unwrap();
    }

    /// Replaces text in a JSON file, or in a safetensors header by text of the same length.
    fn replace(&self, name: &str, from: &str, to: &str) {
        self.change(name, |bytes| {
            let at = find(bytes, from.as_bytes()).unwrap_or_else(|| panic!("{name} holds {from}"));
            bytes.splice(at..at + from.len(), to.bytes());
        });
    }

    /// What a build says, after checking that it leaves nothing behind.
    fn error(&self) -> String {
        let engine = self.folder.path().join("engines").join("engine");
        std::fs::create_dir_all(engine.parent().unwrap()).unwrap();
        let checkpoint = self.folder.path().join("checkpoint");
        let result =
            DirectoryCheckpoint::open(&checkpoint).map_err(|error| error.to_string()).and_then(|source| {
                build(&source, &BuildOptions::default(), &engine, 2, &mut |_| BuildFlow::Continue)
                    .map_err(|error| error.to_string())
            });
        let left: Vec<_> = std::fs::read_dir(engine.parent().unwrap()).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        result.expect_err("a damaged checkpoint is refused")
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

fn assert_says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "`{error}` does not say `{word}`");
    }
    assert!(!error.contains('\n'), "one line: {error}");
}

const WEIGHTS: &str = "model.safetensors";

#[test]
fn a_truncated_file() {
    let copy = Copy::of("hybrid-awq");
    copy.change(WEIGHTS, |bytes| bytes.truncate(bytes.len() - 1000));
    assert_says(&copy.error(), &[WEIGHTS, "download"]);
}

#[test]
fn a_header_of_two_to_the_sixty() {
    let copy = Copy::of("hybrid-awq");
    copy.change(WEIGHTS, |bytes| bytes[..8].copy_from_slice(&(1_u64 << 60).to_le_bytes()));
    assert_says(&copy.error(), &[WEIGHTS]);
}

#[test]
fn a_missing_shard() {
    let copy = Copy::of("dense-bf16");
    std::fs::remove_file(copy.file("model-00002-of-00002.safetensors")).unwrap();
    assert_says(&copy.error(), &["model-00002-of-00002.safetensors"]);
}

#[test]
fn a_wrong_shape() {
    let copy = Copy::of("hybrid-awq");
    copy.replace("config.json", "\"intermediate_size\": 256", "\"intermediate_size\": 128");
    assert_says(&copy.error(), &["mlp"]);
}

#[test]
fn overlapping_tensors() {
    let copy = Copy::of("dense-awq");
    copy.change(WEIGHTS, |bytes| {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let first = header["model.layers.0.input_layernorm.weight"]["data_offsets"].clone();
        header["model.layers.1.input_layernorm.weight"]["data_offsets"] = first;
        let text = serde_json::to_vec(&header).unwrap();
        let mut changed = (text.len() as u64).to_le_bytes().to_vec();
        changed.extend(text);
        changed.extend(&bytes[8 + length..]);
        *bytes = changed;
    });
    assert_says(&copy.error(), &[WEIGHTS]);
}

#[test]
fn groups_of_a_hundred() {
    let copy = Copy::of("dense-awq");
    copy.replace("config.json", "\"group_size\": 128", "\"group_size\": 100");
    assert_says(&copy.error(), &["100", "config.json"]);
}

#[test]
fn an_unknown_quantisation() {
    let copy = Copy::of("dense-awq");
    copy.replace("config.json", "\"quant_method\": \"awq\"", "\"quant_method\": \"hqq\"");
    assert_says(&copy.error(), &["hqq", "config.json"]);
}

#[test]
fn a_configuration_that_is_no_json() {
    let copy = Copy::of("dense-awq");
    copy.change("config.json", |bytes| bytes.truncate(100));
    assert_says(&copy.error(), &["config.json"]);
}

#[test]
fn a_zero_point_that_is_found_while_packing() {
    let copy = Copy::of("dense-gptq");
    copy.change(WEIGHTS, |bytes| {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let offsets = &header["model.layers.1.mlp.up_proj.qzeros"]["data_offsets"];
        let [start, end] = [0, 1].map(|index| offsets[index].as_u64().unwrap() as usize + 8 + length);
        bytes[start..end].fill(0xff);
    });
    assert_says(&copy.error(), &["layers.1.mlp.up_proj", "16"]);
}

#[test]
fn an_interrupted_build_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let engine = folder.path().join("engine");
    let source = DirectoryCheckpoint::open(&reference::checkpoint("hybrid-awq")).unwrap();
    let whole = build(&source, &BuildOptions::default(), &folder.path().join("whole"), 2, &mut |_| {
        BuildFlow::Continue
    })
    .unwrap();

    let mut steps = 0;
    let interrupted = build(&source, &BuildOptions::default(), &engine, 2, &mut |_| {
        steps += 1;
        if steps == 4 { BuildFlow::Stop } else { BuildFlow::Continue }
    });
    assert!(interrupted.is_err() && !engine.exists());
    assert!(is_partial(folder.path()), "what is done is kept");

    // Damage what was written: only a build that does not write it again keeps the damage.
    let weights = folder.path().join("engine.partial").join("weights.bin");
    let mut bytes = std::fs::read(&weights).unwrap();
    bytes[0] ^= 0xff;
    std::fs::write(&weights, &bytes).unwrap();
    let resumed = build(&source, &BuildOptions::default(), &engine, 2, &mut |_| BuildFlow::Continue).unwrap();
    assert_eq!(resumed, whole);
    let expected = std::fs::read(folder.path().join("whole").join("weights.bin")).unwrap();
    let found = std::fs::read(engine.join("weights.bin")).unwrap();
    assert_eq!(found[0], bytes[0], "the first segment was not written again");
    assert!(found[1..] == expected[1..]);
    assert!(!is_partial(folder.path()));
}

fn is_partial(folder: &Path) -> bool {
    folder.join("engine.partial").exists()
}
