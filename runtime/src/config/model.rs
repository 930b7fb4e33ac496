//! The checked model configuration.

use serde::{Deserialize, Serialize};

/// A model family: which norms, which gates, which layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// Dense attention in every layer; norms multiply by `w`.
    #[serde(rename = "qwen3")]
    Qwen3,
    /// Gated DeltaNet layers with a full-attention layer now and then; norms multiply by `1 + w`, except
    /// `linear_attn.norm`, which multiplies by `w`.
    #[serde(rename = "qwen3_5")]
    Qwen35,
}

/// What mixes tokens in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// Softmax attention over the KV cache.
    FullAttention,
    /// The gated delta rule over a recurrent state of constant size.
    LinearAttention,
}

/// Sizes of a full-attention layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionConfig {
    /// Query heads. A multiple of `kv_heads`.
    pub query_heads: usize,
    /// Key and value heads; query head `h` reads head `h / (query_heads / kv_heads)`.
    pub kv_heads: usize,
    /// Values in a head: always explicit, never `hidden_size / query_heads`.
    pub head_dim: usize,
    /// Leading values of a head that RoPE rotates; the others pass unchanged. Even.
    pub rotary_dims: usize,
    /// Base of the RoPE frequencies.
    pub rope_theta: f64,
    /// Whether `q_proj` also carries a gate per head (rows: `head_dim` of query, then `head_dim` of gate) whose
    /// sigmoid multiplies the attention output.
    pub output_gate: bool,
}

impl AttentionConfig {
    /// Rows of `q_proj`, the gate's included.
    pub fn query_rows(&self) -> usize {
        self.query_heads * self.head_dim * if self.output_gate { 2 } else { 1 }
    }

    /// Rows of `k_proj`, and of `v_proj`.
    pub fn kv_rows(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Values that leave attention: the columns of `o_proj`.
    pub fn output_columns(&self) -> usize {
        self.query_heads * self.head_dim
    }
}

/// Sizes of a Gated DeltaNet layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearAttentionConfig {
    /// Query and key heads.
    pub key_heads: usize,
    /// Value heads. A multiple of `key_heads`; value head `h` uses key head `h / (value_heads / key_heads)`.
    pub value_heads: usize,
    /// Values in a query or key head: the rows of the recurrent state.
    pub key_dim: usize,
    /// Values in a value head: the columns of the recurrent state.
    pub value_dim: usize,
    /// Taps of the causal depthwise convolution.
    pub conv_kernel: usize,
}

impl LinearAttentionConfig {
    /// Channels of the convolution, which are the rows of `in_proj_qkv`: queries, then keys, then values.
    pub fn conv_channels(&self) -> usize {
        2 * self.key_heads * self.key_dim + self.value_rows()
    }

    /// Rows of `in_proj_z`, and columns of `out_proj`.
    pub fn value_rows(&self) -> usize {
        self.value_heads * self.value_dim
    }
}

/// A text model, checked: sizes are not zero, divide where they must, and fit their products in a `u64`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The family.
    pub family: Family,
    /// Width of the residual stream. A multiple of 32.
    pub hidden_size: usize,
    /// Width of the MLP. A multiple of 32.
    pub intermediate_size: usize,
    /// What each layer is, first to last.
    pub layers: Vec<LayerKind>,
    /// Sizes of the full-attention layers, and of the MTP layers.
    pub attention: AttentionConfig,
    /// Sizes of the Gated DeltaNet layers; present exactly when `layers` has one.
    pub linear_attention: Option<LinearAttentionConfig>,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Whether the embedding table is also the output head.
    pub tie_word_embeddings: bool,
    /// The epsilon inside the root of every RMSNorm.
    pub rms_norm_eps: f64,
    /// The longest context that the model was trained for, in tokens.
    pub max_position_embeddings: usize,
    /// Layers of the multi-token-prediction head; 0 without one.
    pub mtp_layers: usize,
    /// Token ids that end a generation: those of `generation_config.json` first, then those of `config.json`.
    pub stop_ids: Vec<u32>,
}

impl ModelConfig {
    /// How many layers are of `kind`.
    pub fn count(&self, kind: LayerKind) -> usize {
        self.layers.iter().filter(|&&layer| layer == kind).count()
    }
}
