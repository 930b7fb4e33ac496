//! A configuration's sizes in the form that operators take.

use crate::config::{AttentionConfig, LinearAttentionConfig};
use crate::ops::{attention, gated_delta_rule};

/// The shape of a full-attention layer.
pub fn attention_shape(config: &AttentionConfig) -> attention::Shape {
    attention::Shape { heads: config.query_heads, kv_heads: config.kv_heads, head_dim: config.head_dim }
}

/// The shape of a Gated DeltaNet layer.
pub fn delta_shape(config: &LinearAttentionConfig) -> gated_delta_rule::Shape {
    gated_delta_rule::Shape {
        key_heads: config.key_heads,
        value_heads: config.value_heads,
        key_dim: config.key_dim,
        value_dim: config.value_dim,
    }
}
