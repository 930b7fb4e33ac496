//! From the files of a model directory to a checked [`ModelConfig`].

use std::path::Path;

use super::error::{ConfigError, ConfigProblem};
use super::limits;
use super::model::{AttentionConfig, Family, LayerKind, LinearAttentionConfig, ModelConfig};
use super::raw::{RawGeneration, RawOuter, RawRope, RawText};

impl ModelConfig {
    /// Reads `config.json`, and `generation_config.json` where there is one, from a Hugging Face model directory.
    ///
    /// # Errors
    /// A file that is missing or malformed, a model or a feature that the engine does not run (by name), and sizes
    /// that do not fit together.
    pub fn read(directory: &Path) -> Result<ModelConfig, ConfigError> {
        let config_path = directory.join("config.json");
        let generation_path = directory.join("generation_config.json");
        let config = std::fs::read_to_string(&config_path)
            .map_err(|error| ConfigError::new(&config_path, ConfigProblem::Io(error)))?;
        let generation = match std::fs::read_to_string(&generation_path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(ConfigError::new(&generation_path, ConfigProblem::Io(error))),
        };
        let generation_ids = match generation.as_deref().map(serde_json::from_str::<RawGeneration>) {
            None => Vec::new(),
            Some(Ok(raw)) => raw.eos_token_id.map_or_else(Vec::new, |ids| ids.0),
            Some(Err(error)) => return Err(ConfigError::new(&generation_path, ConfigProblem::Json(error))),
        };
        ModelConfig::parse(&config, &generation_ids)
            .map_err(|problem| ConfigError::new(&config_path, problem))
    }

    /// Checks the text of a `config.json`. `generation_ids` are the stop ids of `generation_config.json`.
    ///
    /// # Errors
    /// As [`ModelConfig::read`], without the name of a file.
    pub fn parse(text: &str, generation_ids: &[u32]) -> Result<ModelConfig, ConfigProblem> {
        let outer: RawOuter = serde_json::from_str(text).map_err(ConfigProblem::Json)?;
        let flat: RawText;
        let (raw, family) = match &outer.text_config {
            Some(inner) => (inner, family_of_nested(&outer, inner)?),
            None => {
                let family = family_of_flat(&outer)?;
                flat = serde_json::from_str(text).map_err(ConfigProblem::Json)?;
                (&flat, family)
            }
        };
        refuse_unsupported(raw)?;

        let layer_count = size(raw.num_hidden_layers, "num_hidden_layers", limits::LAYERS)?;
        let layers = layer_kinds(raw, family, layer_count)?;
        let vocab_size = size(raw.vocab_size, "vocab_size", limits::VOCABULARY)?;
        let config = ModelConfig {
            family,
            hidden_size: size(raw.hidden_size, "hidden_size", limits::WIDTH)?,
            intermediate_size: size(raw.intermediate_size, "intermediate_size", limits::WIDTH)?,
            attention: attention(raw, family)?,
            linear_attention: layers
                .contains(&LayerKind::LinearAttention)
                .then(|| linear_attention(raw))
                .transpose()?,
            layers,
            vocab_size,
            // The outer key decides in one implementation and the inner one in another; files that say `true` in
            // either place carry no head of their own.
            tie_word_embeddings: outer.tie_word_embeddings.unwrap_or(false)
                || raw.tie_word_embeddings.unwrap_or(false),
            rms_norm_eps: raw.rms_norm_eps.ok_or(ConfigProblem::Missing { key: "rms_norm_eps" })?,
            max_position_embeddings: size(
                raw.max_position_embeddings,
                "max_position_embeddings",
                limits::POSITIONS,
            )?,
            mtp_layers: raw
                .mtp_num_hidden_layers
                .map_or(Ok(0), |count| limits::checked(count, "mtp_num_hidden_layers", 0, limits::LAYERS))?,
            stop_ids: stop_ids(generation_ids, &outer, raw, vocab_size),
        };
        limits::check(&config)?;
        Ok(config)
    }
}

fn family_of_nested(outer: &RawOuter, inner: &RawText) -> Result<Family, ConfigProblem> {
    refuse_architecture(outer)?;
    match (outer.model_type.as_deref(), inner.model_type.as_deref()) {
        (Some("qwen3_5") | None, Some("qwen3_5_text")) | (Some("qwen3_5"), None) => Ok(Family::Qwen35),
        (Some("qwen3_5"), Some(inner)) => Err(unsupported_type(inner, "text_config.model_type")),
        (Some(outer), _) => Err(unsupported_type(outer, "model_type")),
        (None, Some(inner)) => Err(unsupported_type(inner, "text_config.model_type")),
        (None, None) => Err(ConfigProblem::Missing { key: "model_type" }),
    }
}

fn family_of_flat(outer: &RawOuter) -> Result<Family, ConfigProblem> {
    refuse_architecture(outer)?;
    match outer.model_type.as_deref() {
        Some("qwen3") => Ok(Family::Qwen3),
        Some("qwen3_5_text") => Ok(Family::Qwen35),
        Some("qwen3_5") => Err(ConfigProblem::Missing { key: "text_config" }),
        Some(other) => Err(unsupported_type(other, "model_type")),
        None => Err(ConfigProblem::Missing { key: "model_type" }),
    }
}

/// Refuses the classes of other models, and those of a known model that have another head.
fn refuse_architecture(outer: &RawOuter) -> Result<(), ConfigProblem> {
    const KNOWN: [&str; 3] = ["Qwen3ForCausalLM", "Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"];
    let Some(name) = outer.architectures.as_ref().and_then(|names| names.first()) else { return Ok(()) };
    if KNOWN.contains(&name.as_str()) {
        return Ok(());
    }
    Err(ConfigProblem::Architecture { what: format!("architecture `{name}`"), why: reason(name) })
}

fn unsupported_type(name: &str, key: &str) -> ConfigProblem {
    ConfigProblem::Architecture { what: format!("`{key}` `{name}`"), why: reason(name) }
}

fn reason(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    if name.contains("moe") {
        "mixture of experts"
    } else if name.contains("qwen3_next") || name.contains("qwen3next") {
        "its fused in_proj_qkvz and in_proj_ba have another row order than Qwen3.5's"
    } else if name.contains("classification") || name.ends_with("model") {
        "it has no language-model head"
    } else {
        "another architecture"
    }
}

fn refuse_unsupported(raw: &RawText) -> Result<(), ConfigProblem> {
    let refuse = |key, value: String, why| Err(ConfigProblem::Feature { key, value, why });
    for (key, experts) in [("num_experts", raw.num_experts), ("num_local_experts", raw.num_local_experts)] {
        if let Some(count @ 1..) = experts {
            return refuse(key, count.to_string(), "mixture of experts is not supported");
        }
    }
    if raw.attention_bias == Some(true) {
        return refuse("attention_bias", "true".into(), "projections are computed without a bias");
    }
    if let Some(act) = raw.hidden_act.as_deref().filter(|&act| act != "silu") {
        return refuse("hidden_act", format!("`{act}`"), "the MLP computes `silu`");
    }
    if raw.mtp_num_hidden_layers.unwrap_or(0) > 0 && raw.mtp_use_dedicated_embeddings == Some(true) {
        let why = "the MTP head shares the target's embedding table";
        return refuse("mtp_use_dedicated_embeddings", "true".into(), why);
    }
    // As `transformers` reads it: `layer_types`, where present, is the whole truth.
    let windowed = raw.layer_types.is_none()
        && raw.use_sliding_window == Some(true)
        && raw.max_window_layers.unwrap_or(0) < raw.num_hidden_layers.unwrap_or(0);
    if let Some(window) = raw.sliding_window.filter(|_| windowed) {
        return refuse("sliding_window", window.to_string(), "attention here is over the whole context");
    }
    Ok(())
}

fn layer_kinds(raw: &RawText, family: Family, count: usize) -> Result<Vec<LayerKind>, ConfigProblem> {
    if let Some(types) = &raw.layer_types {
        if types.len() != count {
            let what = format!("`layer_types` has {} entries for {count} layers", types.len());
            return Err(ConfigProblem::Inconsistent { what });
        }
        return types
            .iter()
            .map(|name| match (name.as_str(), family) {
                ("full_attention", _) => Ok(LayerKind::FullAttention),
                ("linear_attention", Family::Qwen35) => Ok(LayerKind::LinearAttention),
                (other, _) => Err(ConfigProblem::Feature {
                    key: "layer_types",
                    value: format!("`{other}`"),
                    why: "layers of this family are full attention, or for Qwen3.5 linear attention",
                }),
            })
            .collect();
    }
    if family == Family::Qwen3 {
        return Ok(vec![LayerKind::FullAttention; count]);
    }
    let interval = size(raw.full_attention_interval, "full_attention_interval", limits::LAYERS)?;
    let kind = |i: usize| match (i + 1).is_multiple_of(interval) {
        true => LayerKind::FullAttention,
        false => LayerKind::LinearAttention,
    };
    Ok((0..count).map(kind).collect())
}

fn attention(raw: &RawText, family: Family) -> Result<AttentionConfig, ConfigProblem> {
    let query_heads = size(raw.num_attention_heads, "num_attention_heads", limits::HEADS)?;
    let head_dim = size(raw.head_dim, "head_dim", limits::HEAD_DIM)?;
    let rope = raw.rope_parameters.as_ref();
    refuse_rope_type(rope, "rope_parameters.rope_type", family)?;
    refuse_rope_type(raw.rope_scaling.as_ref(), "rope_scaling.rope_type", family)?;

    // Older files have no factor: the family's own, as `transformers` fills it in.
    let factor = rope
        .and_then(|rope| rope.partial_rotary_factor)
        .or(raw.partial_rotary_factor)
        .unwrap_or(if family == Family::Qwen35 { 0.25 } else { 1.0 });
    let rotary = head_dim as f64 * factor;
    if !(rotary >= 2.0 && rotary <= head_dim as f64 && rotary.fract() == 0.0 && rotary % 2.0 == 0.0) {
        let what = format!(
            "`partial_rotary_factor` {factor} of `head_dim` {head_dim} is not an even number of dims"
        );
        return Err(ConfigProblem::Inconsistent { what });
    }
    Ok(AttentionConfig {
        query_heads,
        kv_heads: raw.num_key_value_heads.map_or(Ok(query_heads), |count| {
            limits::checked(count, "num_key_value_heads", 1, limits::HEADS)
        })?,
        head_dim,
        rotary_dims: rotary as usize,
        rope_theta: rope
            .and_then(|rope| rope.rope_theta)
            .or(raw.rope_theta)
            .ok_or(ConfigProblem::Missing { key: "rope_parameters.rope_theta" })?,
        output_gate: family == Family::Qwen35 && raw.attn_output_gate.unwrap_or(true),
    })
}

/// Plain RoPE only. `mrope` gives text tokens three equal positions, which is plain RoPE again.
fn refuse_rope_type(rope: Option<&RawRope>, key: &'static str, family: Family) -> Result<(), ConfigProblem> {
    let name = rope.and_then(|rope| rope.rope_type.as_deref().or(rope.kind.as_deref())).unwrap_or("default");
    match (name, family) {
        ("default", _) | ("mrope", Family::Qwen35) => Ok(()),
        (other, _) => Err(ConfigProblem::Feature {
            key,
            value: format!("`{other}`"),
            why: "only `default` RoPE is computed",
        }),
    }
}

fn linear_attention(raw: &RawText) -> Result<LinearAttentionConfig, ConfigProblem> {
    Ok(LinearAttentionConfig {
        key_heads: size(raw.linear_num_key_heads, "linear_num_key_heads", limits::HEADS)?,
        value_heads: size(raw.linear_num_value_heads, "linear_num_value_heads", limits::HEADS)?,
        key_dim: size(raw.linear_key_head_dim, "linear_key_head_dim", limits::HEAD_DIM)?,
        value_dim: size(raw.linear_value_head_dim, "linear_value_head_dim", limits::HEAD_DIM)?,
        conv_kernel: size(raw.linear_conv_kernel_dim, "linear_conv_kernel_dim", limits::CONV_KERNEL)?,
    })
}

/// A required size, within 1 and `most`.
fn size(value: Option<u64>, key: &'static str, most: u64) -> Result<usize, ConfigProblem> {
    limits::checked(value.ok_or(ConfigProblem::Missing { key })?, key, 1, most)
}

/// The union, in order; ids beyond the table can never be generated and are left out.
fn stop_ids(generation: &[u32], outer: &RawOuter, raw: &RawText, vocab_size: usize) -> Vec<u32> {
    let listed = |ids: &Option<super::raw::TokenIds>| ids.clone().map_or_else(Vec::new, |ids| ids.0);
    let mut ids: Vec<u32> = Vec::new();
    for id in generation.iter().copied().chain(listed(&raw.eos_token_id)).chain(listed(&outer.eos_token_id)) {
        if !ids.contains(&id) && (id as usize) < vocab_size {
            ids.push(id);
        }
    }
    ids
}
