//! The sizes that Qwen published, for synthetic checkpoints and for tests. A real checkpoint brings its own file.

use super::model::{AttentionConfig, Family, LayerKind, LinearAttentionConfig, ModelConfig};

/// The names that [`ModelConfig::published`] knows.
pub const PUBLISHED: [&str; 8] = [
    "Qwen3-0.6B",
    "Qwen3-1.7B",
    "Qwen3-4B",
    "Qwen3.5-0.8B",
    "Qwen3.5-2B",
    "Qwen3.5-4B",
    "Qwen3.5-9B",
    "Qwen3.5-27B",
];

impl ModelConfig {
    /// The text model of the published checkpoint `name` (see [`PUBLISHED`]), as its `config.json` gives it.
    pub fn published(name: &str) -> Option<ModelConfig> {
        Some(match name {
            "Qwen3-0.6B" => qwen3(28, 1024, 3072, 16, 8),
            "Qwen3-1.7B" => qwen3(28, 2048, 6144, 16, 8),
            "Qwen3-4B" => qwen3(36, 2560, 9728, 32, 8),
            "Qwen3.5-0.8B" => qwen3_5(24, 1024, 3584, (8, 2), 16, true),
            "Qwen3.5-2B" => qwen3_5(24, 2048, 6144, (8, 2), 16, true),
            "Qwen3.5-4B" => qwen3_5(32, 2560, 9216, (16, 4), 32, true),
            "Qwen3.5-9B" => qwen3_5(32, 4096, 12288, (16, 4), 32, false),
            "Qwen3.5-27B" => qwen3_5(64, 5120, 17408, (24, 4), 48, false),
            _ => return None,
        })
    }
}

fn qwen3(
    layers: usize,
    hidden_size: usize,
    intermediate_size: usize,
    query_heads: usize,
    kv_heads: usize,
) -> ModelConfig {
    ModelConfig {
        family: Family::Qwen3,
        hidden_size,
        intermediate_size,
        layers: vec![LayerKind::FullAttention; layers],
        attention: AttentionConfig {
            query_heads,
            kv_heads,
            head_dim: 128,
            rotary_dims: 128,
            rope_theta: 1e6,
            output_gate: false,
        },
        linear_attention: None,
        vocab_size: 151_936,
        tie_word_embeddings: true,
        rms_norm_eps: 1e-6,
        max_position_embeddings: 40_960,
        mtp_layers: 0,
        stop_ids: vec![151_645, 151_643],
    }
}

fn qwen3_5(
    layers: usize,
    hidden_size: usize,
    intermediate_size: usize,
    (query_heads, kv_heads): (usize, usize),
    value_heads: usize,
    tie_word_embeddings: bool,
) -> ModelConfig {
    let kind = |i: usize| match (i + 1).is_multiple_of(4) {
        true => LayerKind::FullAttention,
        false => LayerKind::LinearAttention,
    };
    ModelConfig {
        family: Family::Qwen35,
        hidden_size,
        intermediate_size,
        layers: (0..layers).map(kind).collect(),
        attention: AttentionConfig {
            query_heads,
            kv_heads,
            head_dim: 256,
            rotary_dims: 64,
            rope_theta: 1e7,
            output_gate: true,
        },
        linear_attention: Some(LinearAttentionConfig {
            key_heads: 16,
            value_heads,
            key_dim: 128,
            value_dim: 128,
            conv_kernel: 4,
        }),
        vocab_size: 248_320,
        tie_word_embeddings,
        rms_norm_eps: 1e-6,
        max_position_embeddings: 262_144,
        mtp_layers: 1,
        stop_ids: vec![248_046, 248_044],
    }
}
