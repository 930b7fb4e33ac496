//! `config.json` and `generation_config.json` as they are written. Everything is optional here: which absence has a
//! meaning is decided in `read`.

use serde::Deserialize;

/// The keys that say which model it is, before anything else is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct RawOuter {
    pub(super) architectures: Option<Vec<String>>,
    pub(super) model_type: Option<String>,
    /// The text model of a multimodal config.
    pub(super) text_config: Option<RawText>,
    pub(super) tie_word_embeddings: Option<bool>,
    pub(super) eos_token_id: Option<TokenIds>,
}

/// The keys of a text model: the file itself, or its `text_config`.
#[derive(Debug, Deserialize)]
pub(super) struct RawText {
    pub(super) model_type: Option<String>,
    pub(super) hidden_size: Option<u64>,
    pub(super) intermediate_size: Option<u64>,
    pub(super) num_hidden_layers: Option<u64>,
    pub(super) num_attention_heads: Option<u64>,
    pub(super) num_key_value_heads: Option<u64>,
    pub(super) head_dim: Option<u64>,
    pub(super) vocab_size: Option<u64>,
    pub(super) max_position_embeddings: Option<u64>,
    pub(super) rms_norm_eps: Option<f64>,
    pub(super) hidden_act: Option<String>,
    pub(super) attention_bias: Option<bool>,
    pub(super) attn_output_gate: Option<bool>,
    pub(super) tie_word_embeddings: Option<bool>,
    pub(super) eos_token_id: Option<TokenIds>,

    pub(super) layer_types: Option<Vec<String>>,
    pub(super) full_attention_interval: Option<u64>,
    pub(super) linear_num_key_heads: Option<u64>,
    pub(super) linear_num_value_heads: Option<u64>,
    pub(super) linear_key_head_dim: Option<u64>,
    pub(super) linear_value_head_dim: Option<u64>,
    pub(super) linear_conv_kernel_dim: Option<u64>,

    pub(super) rope_parameters: Option<RawRope>,
    pub(super) rope_scaling: Option<RawRope>,
    pub(super) rope_theta: Option<f64>,
    pub(super) partial_rotary_factor: Option<f64>,

    pub(super) use_sliding_window: Option<bool>,
    pub(super) sliding_window: Option<u64>,
    pub(super) max_window_layers: Option<u64>,

    pub(super) num_experts: Option<u64>,
    pub(super) num_local_experts: Option<u64>,

    pub(super) mtp_num_hidden_layers: Option<u64>,
    pub(super) mtp_use_dedicated_embeddings: Option<bool>,
}

/// `rope_parameters`, or the older `rope_scaling`.
#[derive(Debug, Deserialize)]
pub(super) struct RawRope {
    pub(super) rope_type: Option<String>,
    /// The oldest spelling of `rope_type`.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) rope_theta: Option<f64>,
    pub(super) partial_rotary_factor: Option<f64>,
}

/// `generation_config.json`, of which only the stop ids matter here.
#[derive(Debug, Deserialize)]
pub(super) struct RawGeneration {
    pub(super) eos_token_id: Option<TokenIds>,
}

/// One id, or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TokenIds(pub(super) Vec<u32>);

impl<'de> Deserialize<'de> for TokenIds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<TokenIds, D::Error> {
        struct OneOrMany;
        impl<'de> serde::de::Visitor<'de> for OneOrMany {
            type Value = TokenIds;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a token id, or a list of token ids")
            }

            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<TokenIds, E> {
                let id = u32::try_from(id)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(id), &self))?;
                Ok(TokenIds(vec![id]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<TokenIds, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                Ok(TokenIds(ids))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}
