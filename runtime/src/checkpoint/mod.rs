//! Checkpoints in: Hugging Face directories and synthetic models, behind one trait.
//!
//! A [`CheckpointSource`] hands the engine builder two canonical forms, whatever the files hold: [`Int4Rows`] for
//! 4-bit linear layers, and rows of dense tensors as f32 or as they are stored. Names are canonical, without the
//! prefix of the text model (`layers.0.self_attn.q_proj`, `embed_tokens`, `lm_head`, `mtp.fc`).
//!
//! Norm weights come as they are stored: the norms of Qwen3 and `linear_attn.norm` multiply by `w`, all other norms
//! of Qwen3.5, those of the MTP head included, by `1 + w`. Whoever consumes them folds the 1.
//!
//! - `source`: the trait. `int4`, `half`: the canonical forms.
//! - `safetensors`, `shards`: where a tensor's bytes are, checked.
//! - `quantization`: `quantization_config`, checked. `dense`, `awq`, `compressed_tensors`, `gptq`: the layouts.
//! - `directory`: a Hugging Face directory as a source. `synthetic`: a seed as a source. `trimmed`: another source with fewer
//!   rows in its table.

mod awq;
mod compressed_tensors;
mod dense;
mod directory;
mod error;
mod gptq;
mod half;
mod header;
mod int4;
mod packed;
mod quantization;
mod safetensors;
mod shards;
mod source;
mod synthetic;
#[cfg(test)]
mod tests;
mod trimmed;

pub use directory::DirectoryCheckpoint;
pub use error::CheckpointError;
pub use half::{DenseType, HalfType};
pub(crate) use header::Dtype;
pub use header::HeaderProblem;
pub use int4::Int4Rows;
pub use quantization::QuantizationProblem;
pub(crate) use safetensors::tensor_in;
pub use shards::IndexProblem;
pub use source::{CheckpointSource, LinearKind, SourceIdentity};
pub use synthetic::{GENERATOR_VERSION, SyntheticCheckpoint, SyntheticOptions, SyntheticQuantization};
pub use trimmed::{KeptRows, TrimmedCheckpoint};
