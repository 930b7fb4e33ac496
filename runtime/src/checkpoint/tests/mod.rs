//! Small checkpoints, written here byte by byte.

mod corrupt;
mod header;
mod layouts;
mod naming;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A tensor to be written.
#[derive(Debug, Clone)]
struct Stored {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn stored(name: impl Into<String>, dtype: &'static str, shape: &[usize], bytes: Vec<u8>) -> Stored {
    Stored { name: name.into(), dtype, shape: shape.to_vec(), bytes }
}

fn words(name: impl Into<String>, shape: &[usize], words: &[u32]) -> Stored {
    stored(name, "I32", shape, words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

fn halves(name: impl Into<String>, dtype: &'static str, shape: &[usize], bits: &[u16]) -> Stored {
    stored(name, dtype, shape, bits.iter().flat_map(|bits| bits.to_le_bytes()).collect())
}

fn floats(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Stored {
    stored(name, "F32", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// A bf16 tensor of ones.
fn ones(name: impl Into<String>, shape: &[usize]) -> Stored {
    halves(name, "BF16", shape, &vec![0x3F80; shape.iter().product()])
}

/// The bytes of a safetensors file.
fn safetensors(tensors: &[Stored]) -> Vec<u8> {
    let mut header = json!({"__metadata__": {"format": "pt"}});
    let mut end = 0;
    for tensor in tensors {
        let begin = end;
        end += tensor.bytes.len();
        header[&tensor.name] =
            json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, end]});
    }
    let mut file = with_header(header.to_string().as_bytes());
    tensors.iter().for_each(|tensor| file.extend(&tensor.bytes));
    file
}

/// A header with its length in front.
fn with_header(header: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file
}

/// A dense model of one layer whose `mlp.down_proj` has shape `[hidden, intermediate]`.
fn config(hidden: usize, intermediate: usize, quantization: Value) -> Value {
    let mut config = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": hidden,
        "intermediate_size": intermediate, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 16, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true
    });
    if !quantization.is_null() {
        config["quantization_config"] = quantization;
    }
    config
}

/// What every checkpoint here has, so that it opens.
fn marker(hidden: usize) -> Stored {
    ones("model.layers.0.input_layernorm.weight", &[hidden])
}

/// The linear layer that the tests pack.
const MODULE: &str = "layers.0.mlp.down_proj";
const STORED_MODULE: &str = "model.layers.0.mlp.down_proj";

/// A directory with a checkpoint; it is removed in the end.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new(config: &Value, tensors: &[Stored]) -> Directory {
        let directory = Directory(tempfile::tempdir().unwrap());
        directory.write("config.json", config.to_string().as_bytes());
        directory.write("model.safetensors", &safetensors(tensors));
        directory
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.file(name), bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).unwrap();
    }

    /// The text of an error, without the name of the temporary directory.
    fn message(&self, error: &super::CheckpointError) -> String {
        error.to_string().replace(&self.path().display().to_string(), "MODEL")
    }

    /// The error that opening the directory gives.
    fn open_error(&self) -> String {
        self.message(&super::DirectoryCheckpoint::open(self.path()).expect_err("a broken checkpoint"))
    }
}
