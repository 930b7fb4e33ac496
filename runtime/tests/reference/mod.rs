//! The fixtures' checkpoints and what `transformers` computed from them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ledger::Tokens;
use runtime::checkpoint::DirectoryCheckpoint;
use runtime::engine::{Engine, Flow, Sequence};
use runtime::engine_dir::{BuildFlow, BuildOptions, EngineDir, build};
use runtime::plan::RuntimeOptions;
use serde::Deserialize;

/// One prompt of `reference.json`.
#[derive(Debug, Deserialize)]
pub struct Prompt {
    pub name: String,
    pub ids: Vec<u32>,
    pub greedy: Vec<u32>,
}

#[derive(Debug, Deserialize)]
struct ReferenceFile {
    prompts: Vec<Prompt>,
}

/// The reference outputs of one checkpoint.
pub struct Reference {
    pub prompts: Vec<Prompt>,
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Reference {
    /// Logits behind the last token of a prompt.
    pub fn prompt_logits(&self, prompt: &str) -> &[f32] {
        let (shape, values) = &self.tensors[&format!("{prompt}.prompt_logits")];
        &values[values.len() - shape[1]..]
    }

    /// Logits behind the `step`th greedy token.
    pub fn step(&self, prompt: &str, step: usize) -> &[f32] {
        let (shape, values) = &self.tensors[&format!("{prompt}.steps")];
        &values[step * shape[1]..][..shape[1]]
    }
}

/// The folder of a fixture.
pub fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/checkpoints").join(name)
}

/// Reads the reference outputs of a fixture.
pub fn reference(name: &str) -> Reference {
    let folder = checkpoint(name);
    let file: ReferenceFile =
        serde_json::from_slice(&std::fs::read(folder.join("reference.json")).unwrap()).unwrap();
    let bytes = std::fs::read(folder.join("reference.safetensors")).unwrap();
    let header_length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: HashMap<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..8 + header_length]).unwrap();
    let data = &bytes[8 + header_length..];
    let tensors = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            assert_eq!(entry["dtype"], "F32", "{name}");
            let numbers = |key: &str| -> Vec<usize> { serde_json::from_value(entry[key].clone()).unwrap() };
            let range = numbers("data_offsets");
            let values = data[range[0]..range[1]]
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                .collect();
            (name, (numbers("shape"), values))
        })
        .collect();
    Reference { prompts: file.prompts, tensors }
}

/// An engine of a fixture in a folder of its own, which goes when this is dropped.
pub struct Built {
    pub directory: EngineDir,
    _folder: tempfile::TempDir,
}

/// Builds the engine of a fixture.
pub fn built(name: &str, options: BuildOptions) -> Built {
    let folder = tempfile::tempdir().unwrap();
    let source = DirectoryCheckpoint::open(&checkpoint(name)).unwrap();
    let path = folder.path().join("engine");
    build(&source, &options, &path, 2, &mut |_| BuildFlow::Continue).unwrap();
    Built { directory: EngineDir::open(&path).unwrap(), _folder: folder }
}

/// Loads an engine whose options `change` may change.
pub fn load(built: &Built, change: impl FnOnce(&mut RuntimeOptions)) -> Engine {
    let mut options = RuntimeOptions::new(Tokens(512), 2);
    change(&mut options);
    Engine::load(&built.directory, &options).unwrap()
}

/// Runs a prompt and returns the sequence behind it.
pub fn prefilled(engine: &Engine, ids: &[u32]) -> Sequence {
    let mut sequence = engine.open_sequence().unwrap();
    assert_eq!(engine.prefill(&mut sequence, ids, &mut || Flow::Continue).unwrap(), ids.len());
    sequence
}

/// Root mean square of the difference, relative to the spread (standard deviation) of the reference.
pub fn relative_rms(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let count = expected.len() as f64;
    let mean = expected.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let spread = expected.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
    let error =
        found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>() / count;
    (error / spread).sqrt()
}

/// Index of the largest value.
pub fn argmax(values: &[f32]) -> u32 {
    let largest = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    largest.0 as u32
}
