//! The shape that a config gives to each tensor of a checkpoint.
//!
//! Names are canonical: those of the published checkpoints without the prefix of the text model, so
//! `layers.3.self_attn.q_proj.weight`, `embed_tokens.weight`, `norm.weight`, `lm_head.weight`, `mtp.fc.weight`,
//! `mtp.layers.0.mlp.up_proj.weight`.

use super::model::{LayerKind, ModelConfig};

impl ModelConfig {
    /// Shape of the tensor `name` (canonical), or `None` where the model has no such tensor.
    ///
    /// A linear layer's weight is `[rows, columns]` = `[out, in]`; a convolution's is `[channels, 1, taps]`.
    pub fn tensor_shape(&self, name: &str) -> Option<Vec<usize>> {
        let hidden = self.hidden_size;
        match name {
            "embed_tokens.weight" | "lm_head.weight" => return Some(vec![self.vocab_size, hidden]),
            "norm.weight" => return Some(vec![hidden]),
            _ => {}
        }
        if let Some(mtp) = name.strip_prefix("mtp.") {
            return self.mtp_shape(mtp);
        }
        let (layer, part) = layer_part(name)?;
        self.layer_shape(*self.layers.get(layer)?, part)
    }

    /// `[rows, columns]` of the linear layer `module`, or `None` where the model has no such layer.
    pub fn linear_shape(&self, module: &str) -> Option<[usize; 2]> {
        let shape = self.tensor_shape(&format!("{module}.weight"))?;
        <[usize; 2]>::try_from(shape).ok()
    }

    fn mtp_shape(&self, part: &str) -> Option<Vec<usize>> {
        if self.mtp_layers == 0 {
            return None;
        }
        let hidden = self.hidden_size;
        match part {
            "fc.weight" => Some(vec![hidden, 2 * hidden]),
            "norm.weight" | "pre_fc_norm_embedding.weight" | "pre_fc_norm_hidden.weight" => {
                Some(vec![hidden])
            }
            _ => {
                let (layer, part) = layer_part(part)?;
                (layer < self.mtp_layers).then(|| self.layer_shape(LayerKind::FullAttention, part))?
            }
        }
    }

    fn layer_shape(&self, kind: LayerKind, part: &str) -> Option<Vec<usize>> {
        let (hidden, intermediate) = (self.hidden_size, self.intermediate_size);
        match part {
            "input_layernorm.weight" | "post_attention_layernorm.weight" => return Some(vec![hidden]),
            "mlp.gate_proj.weight" | "mlp.up_proj.weight" => return Some(vec![intermediate, hidden]),
            "mlp.down_proj.weight" => return Some(vec![hidden, intermediate]),
            _ => {}
        }
        match kind {
            LayerKind::FullAttention => {
                let attention = &self.attention;
                Some(match part.strip_prefix("self_attn.")? {
                    "q_proj.weight" => vec![attention.query_rows(), hidden],
                    "k_proj.weight" | "v_proj.weight" => vec![attention.kv_rows(), hidden],
                    "o_proj.weight" => vec![hidden, attention.output_columns()],
                    "q_norm.weight" | "k_norm.weight" => vec![attention.head_dim],
                    _ => return None,
                })
            }
            LayerKind::LinearAttention => {
                let linear = self.linear_attention.as_ref()?;
                Some(match part.strip_prefix("linear_attn.")? {
                    "in_proj_qkv.weight" => vec![linear.conv_channels(), hidden],
                    "in_proj_z.weight" => vec![linear.value_rows(), hidden],
                    "in_proj_a.weight" | "in_proj_b.weight" => vec![linear.value_heads, hidden],
                    "conv1d.weight" => vec![linear.conv_channels(), 1, linear.conv_kernel],
                    "A_log" | "dt_bias" => vec![linear.value_heads],
                    "norm.weight" => vec![linear.value_dim],
                    "out_proj.weight" => vec![hidden, linear.value_rows()],
                    _ => return None,
                })
            }
        }
    }
}

/// `layers.<i>.<part>` taken apart.
fn layer_part(name: &str) -> Option<(usize, &str)> {
    let (index, part) = name.strip_prefix("layers.")?.split_once('.')?;
    // One spelling per layer: `07` and `+7` are not layer 7.
    let canonical =
        index.bytes().all(|byte| byte.is_ascii_digit()) && (index == "0" || !index.starts_with('0'));
    Some((canonical.then(|| index.parse().ok())??, part))
}
