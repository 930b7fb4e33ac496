//! A Hugging Face model directory as a source.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::dense;
use super::error::CheckpointError;
use super::half::DenseType;
use super::int4::Int4Rows;
use super::packed::{Packed, content};
use super::quantization::Quantization;
use super::safetensors::Tensor;
use super::shards::Shards;
use super::source::{CheckpointSource, LinearKind, SourceIdentity, unknown};
use crate::config::ModelConfig;

/// Prefixes that exporters give to the text model, the longest first.
const TEXT_PREFIXES: [&str; 4] = ["model.language_model.", "language_model.model.", "model.", ""];
/// A tensor of every text model, never quantised, that finds the prefix.
const TEXT_MARKER: &str = "layers.0.input_layernorm.weight";
/// Prefixes of the MTP head.
const MTP_PREFIXES: [&str; 4] = ["mtp.", "model.mtp.", "model.language_model.mtp.", "language_model.mtp."];
/// A tensor of every MTP head, never quantised.
const MTP_MARKER: &str = "pre_fc_norm_hidden.weight";
/// Names of the output head, which sits outside the text model.
const HEADS: [&str; 4] =
    ["lm_head", "language_model.lm_head", "model.language_model.lm_head", "model.lm_head"];

/// A checkpoint in a directory: `config.json` and safetensors. Opening it reads configuration and headers only;
/// a read takes the bytes that it needs and no others.
#[derive(Debug)]
pub struct DirectoryCheckpoint {
    config: ModelConfig,
    config_path: PathBuf,
    quantization: Quantization,
    shards: Shards,
    text_prefix: &'static str,
    mtp_prefix: Option<&'static str>,
    head: Option<&'static str>,
}

impl DirectoryCheckpoint {
    /// Opens the checkpoint in `directory`.
    ///
    /// # Errors
    /// An unsupported model or quantisation, damaged or missing files. Shapes are checked when a layer is asked for.
    pub fn open(directory: &Path) -> Result<DirectoryCheckpoint, CheckpointError> {
        let mut config = ModelConfig::read(directory)?;
        let config_path = directory.join("config.json");
        let text = std::fs::read_to_string(&config_path)
            .map_err(|error| CheckpointError::Io { path: config_path.clone(), error })?;
        let quantization = Quantization::parse(&text)
            .map_err(|problem| CheckpointError::Quantization { path: config_path.clone(), problem })?;

        let shards = Shards::open(directory)?;
        let missing = |tensor: &str| CheckpointError::MissingTensor {
            directory: directory.to_path_buf(),
            tensor: tensor.to_owned(),
        };
        let with_marker = |prefixes: [&'static str; 4], marker: &str| {
            prefixes.into_iter().find(|prefix| shards.contains(&format!("{prefix}{marker}")))
        };
        let text_prefix = with_marker(TEXT_PREFIXES, TEXT_MARKER).ok_or_else(|| missing(TEXT_MARKER))?;
        let mtp_prefix = with_marker(MTP_PREFIXES, MTP_MARKER);
        if mtp_prefix.is_none() {
            config.mtp_layers = 0;
        }
        let has_head = |name: &&str| {
            ["weight", "qweight", "weight_packed"]
                .iter()
                .any(|tensor| shards.contains(&format!("{name}.{tensor}")))
        };
        let head = HEADS.into_iter().find(has_head);
        if !config.tie_word_embeddings && head.is_none() {
            return Err(missing("lm_head.weight"));
        }
        Ok(DirectoryCheckpoint { config, config_path, quantization, shards, text_prefix, mtp_prefix, head })
    }

    /// The name that `canonical` has in the files; `None` for a head that the checkpoint lacks or must ignore.
    fn stored_name(&self, canonical: &str) -> Option<String> {
        if let Some(part) = canonical.strip_prefix("mtp.") {
            return Some(format!("{}{part}", self.mtp_prefix?));
        }
        match canonical.strip_prefix("lm_head") {
            // Tied checkpoints may carry a redundant copy.
            Some(_) if self.config.tie_word_embeddings => None,
            Some(part) => Some(format!("{}{part}", self.head?)),
            None => Some(format!("{}{canonical}", self.text_prefix)),
        }
    }

    /// The dense tensor `canonical`, its shape checked; `None` where the checkpoint lacks it.
    fn find_dense(&self, canonical: &str) -> Result<Option<Tensor<'_>>, CheckpointError> {
        let shape = self.config.tensor_shape(canonical).ok_or_else(|| unknown(canonical))?;
        let Some(tensor) = self.stored_name(canonical).and_then(|name| self.shards.find(&name)) else {
            return Ok(None);
        };
        dense::element(tensor)?;
        dense::check_shape(tensor, &shape)?;
        Ok(Some(tensor))
    }

    fn require_dense(&self, canonical: &str) -> Result<Tensor<'_>, CheckpointError> {
        self.find_dense(canonical)?.ok_or_else(|| self.missing(canonical))
    }

    fn find_packed(&self, module: &str) -> Result<Option<Packed<'_>>, CheckpointError> {
        let shape = self.config.linear_shape(module).ok_or_else(|| unknown(module))?;
        let Some(stored) = self.stored_name(module) else { return Ok(None) };
        Packed::find(&self.shards, &self.quantization, &self.config_path, &stored, shape)
    }

    fn missing(&self, canonical: &str) -> CheckpointError {
        CheckpointError::MissingTensor {
            directory: self.shards.directory().to_path_buf(),
            tensor: self.stored_name(canonical).unwrap_or_else(|| canonical.to_owned()),
        }
    }

    /// Refuses a bias that would be left out. Some exporters write one of zeros.
    fn check_bias(&self, module: &str) -> Result<(), CheckpointError> {
        let bias = self.stored_name(module).and_then(|name| self.shards.find(&format!("{name}.bias")));
        let Some(bias) = bias else { return Ok(()) };
        let (rows, columns) = dense::rows_and_columns(bias.shape());
        let mut values = vec![0.0; rows * columns];
        dense::read_f32(bias, 0..rows, &mut values)?;
        if values.iter().all(|&value| value == 0.0) {
            return Ok(());
        }
        Err(content(bias, "a bias that is not zero is not supported; use a checkpoint without biases"))
    }
}

impl CheckpointSource for DirectoryCheckpoint {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn identity(&self) -> SourceIdentity {
        let mut files = vec![self.config_path.clone()];
        let generation = self.shards.directory().join("generation_config.json");
        files.extend(generation.exists().then_some(generation));
        files.extend(self.shards.files().map(Path::to_path_buf));
        SourceIdentity::Directory { path: self.shards.directory().to_path_buf(), files }
    }

    fn linear_kind(&self, module: &str) -> Result<LinearKind, CheckpointError> {
        let packed = self.find_packed(module)?;
        self.check_bias(module)?;
        let dense = self.find_dense(&format!("{module}.weight"))?;
        match (packed, dense) {
            (Some(_), Some(tensor)) => Err(content(
                tensor,
                "the layer is there twice, packed and as `.weight`; export the checkpoint again",
            )),
            (Some(packed), None) => Ok(packed.kind()),
            (None, Some(tensor)) => Ok(LinearKind::Dense(dense::element(tensor)?)),
            (None, None) => Ok(LinearKind::Absent),
        }
    }

    fn read_int4(&self, module: &str, rows: Range<usize>, out: &mut Int4Rows) -> Result<(), CheckpointError> {
        let packed = self.find_packed(module)?.ok_or_else(|| self.missing(module))?;
        packed.read(module, rows, out)
    }

    fn dense_type(&self, tensor: &str) -> Result<Option<DenseType>, CheckpointError> {
        self.find_dense(tensor)?.map(dense::element).transpose()
    }

    fn read_rows_f32(
        &self,
        tensor: &str,
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), CheckpointError> {
        dense::read_f32(self.require_dense(tensor)?, rows, out)
    }

    fn read_rows_raw(&self, tensor: &str, rows: Range<usize>, out: &mut [u8]) -> Result<(), CheckpointError> {
        dense::read_raw(self.require_dense(tensor)?, rows, out)
    }
}
