//! What a model looks like: `config.json` in, one checked [`ModelConfig`] out.
//!
//! Two families are known: Qwen3 (dense attention) and Qwen3.5 (Gated DeltaNet hybrid, inside its multimodal
//! config or flat). Every size is read from the file. What the engine cannot run is refused here, by name, so that
//! nothing behind this module checks a dimension again.
//!
//! - `model`: the checked types.
//! - `raw`: the file as it is written, old and new spellings.
//! - `read`: raw to checked.
//! - `limits`: which sizes are consistent.
//! - `shapes`: the shape that a config gives to each tensor of a checkpoint.
//! - `published`: the sizes that exist, for synthetic checkpoints and for tests.

mod error;
mod limits;
mod model;
mod published;
mod raw;
mod read;
mod shapes;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, ConfigProblem};
pub use model::{AttentionConfig, Family, LayerKind, LinearAttentionConfig, ModelConfig};
pub use published::PUBLISHED;
