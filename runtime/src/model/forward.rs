//! The forward pass of a chunk of tokens, for both families.
//!
//! Each layer does `x += mixer(norm(x)); x += mlp(norm(x))`; the head reads the last token only.

use super::layers::{Attention, Layer, LinearAttention, Mixer, Weights};
use super::operators::{KvCache, Operators, Projection};
use super::state::{LayerState, SequenceState};
use super::workspace::Workspace;
use crate::config::{LinearAttentionConfig, ModelConfig};
use crate::memory::MemoryError;
use crate::model::shapes::{attention_shape, delta_shape};
use crate::ops::{Heads, Store};

/// Runs `ids` (at most as many as `workspace` has room for) behind what `sequence` holds. Afterwards `workspace.hidden` holds
/// their residual stream before the last norm.
pub fn forward<O: Operators>(
    operators: &O,
    config: &ModelConfig,
    weights: &Weights<O::Weight>,
    sequence: &mut SequenceState<O::Tensor>,
    workspace: &mut Workspace<O::Tensor>,
    ids: &[u32],
) -> Result<(), MemoryError> {
    debug_assert!(ids.len() <= sequence.room());
    sequence.grow(ids.len())?;
    workspace.hold(ids.len())?;
    let first = sequence.length();
    let pass = Pass { operators, config, first, tokens: ids.len() };
    operators.embed(&weights.embed_tokens, ids, &mut workspace.hidden);
    let attention = &config.attention;
    operators.rope_angles(
        first,
        ids.len(),
        attention.rotary_dims,
        attention.rope_theta,
        &mut workspace.cos,
        &mut workspace.sin,
    );
    for (index, layer) in weights.layers.iter().enumerate() {
        pass.norm(&layer.input_norm, workspace);
        match (&layer.mixer, sequence.layer(index), &config.linear_attention) {
            (Mixer::Attention(mixer), LayerState::Attention(cache), _) => {
                pass.attention(mixer, cache, workspace)
            }
            (Mixer::Linear(mixer), LayerState::Linear { state, window }, Some(linear)) => {
                pass.linear_attention(mixer, linear, state, window, workspace);
            }
            _ => {
                unreachable!("weights and state of a layer are both made from the configuration's layer kind")
            }
        }
        pass.norm(&layer.post_norm, workspace);
        pass.mlp(layer, workspace);
    }
    sequence.advance(ids.len());
    Ok(())
}

/// Scores of the vocabulary behind token `token` of the last chunk, into `logits`.
pub fn head<O: Operators>(
    operators: &O,
    config: &ModelConfig,
    weights: &Weights<O::Weight>,
    workspace: &mut Workspace<O::Tensor>,
    token: usize,
    logits: &mut O::Tensor,
) {
    let Workspace { hidden, normed, quantised, .. } = workspace;
    operators.rms_norm(hidden, token..token + 1, &weights.norm, config.rms_norm_eps as f32, normed);
    let projection = Projection { weight: weights.head(), out: logits, store: Store::Overwrite };
    operators.linear(normed, 1, &mut [projection], quantised);
}

/// What the layers of one pass share.
struct Pass<'a, O> {
    operators: &'a O,
    config: &'a ModelConfig,
    first: usize,
    tokens: usize,
}

impl<O: Operators> Pass<'_, O> {
    fn norm(&self, weight: &O::Weight, workspace: &mut Workspace<O::Tensor>) {
        let Workspace { hidden, normed, .. } = workspace;
        self.operators.rms_norm(hidden, 0..self.tokens, weight, self.config.rms_norm_eps as f32, normed);
    }

    fn attention(
        &self,
        mixer: &Attention<O::Weight>,
        cache: &mut KvCache<O::Tensor>,
        workspace: &mut Workspace<O::Tensor>,
    ) {
        let (operators, config, tokens) = (self.operators, &self.config.attention, self.tokens);
        let shape = attention_shape(config);
        let Workspace {
            hidden,
            normed,
            first: queries,
            keys,
            values,
            mixed,
            quantised,
            scores,
            cos,
            sin,
            ..
        } = workspace;
        let mut projections = [
            Projection { weight: &mixer.q_proj, out: &mut *queries, store: Store::Overwrite },
            Projection { weight: &mixer.k_proj, out: &mut *keys, store: Store::Overwrite },
            Projection { weight: &mixer.v_proj, out: &mut *values, store: Store::Overwrite },
        ];
        operators.linear(normed, tokens, &mut projections, quantised);

        let width = config.head_dim;
        // With an output gate, a head's queries are followed by its gate.
        let stride = if config.output_gate { 2 * width } else { width };
        let query_heads = Heads {
            tokens,
            heads: config.query_heads,
            width,
            token_stride: config.query_heads * stride,
            head_stride: stride,
        };
        let key_heads = Heads {
            tokens,
            heads: config.kv_heads,
            width,
            token_stride: config.kv_heads * width,
            head_stride: width,
        };
        let eps = self.config.rms_norm_eps as f32;
        operators.rms_norm_heads(queries, query_heads, &mixer.q_norm, eps);
        operators.rms_norm_heads(keys, key_heads, &mixer.k_norm, eps);
        operators.rope(queries, query_heads, config.rotary_dims, cos, sin);
        operators.rope(keys, key_heads, config.rotary_dims, cos, sin);
        operators.append_kv(&shape, self.first, tokens, keys, values, cache);
        operators.attention(&shape, self.first, queries, query_heads, cache, mixed, scores);
        if config.output_gate {
            operators.output_gate(mixed, queries, width, query_heads);
        }
        let back = Projection { weight: &mixer.o_proj, out: hidden, store: Store::Add };
        operators.linear(mixed, tokens, &mut [back], quantised);
    }

    fn linear_attention(
        &self,
        mixer: &LinearAttention<O::Weight>,
        config: &LinearAttentionConfig,
        state: &mut O::Tensor,
        window: &mut O::Tensor,
        workspace: &mut Workspace<O::Tensor>,
    ) {
        let (operators, tokens) = (self.operators, self.tokens);
        let shape = delta_shape(config);
        let Workspace { hidden, normed, first: qkv, second: z, mixed, gates, quantised, .. } = workspace;
        let Some((decay, beta)) = gates.as_mut() else {
            unreachable!("the workspace of a model with Gated DeltaNet layers has their buffers");
        };
        let mut projections = [
            Projection { weight: &mixer.in_proj_qkv, out: &mut *qkv, store: Store::Overwrite },
            Projection { weight: &mixer.in_proj_z, out: &mut *z, store: Store::Overwrite },
            Projection { weight: &mixer.in_proj_b, out: &mut *beta, store: Store::Overwrite },
            Projection { weight: &mixer.in_proj_a, out: &mut *decay, store: Store::Overwrite },
        ];
        operators.linear(normed, tokens, &mut projections, quantised);
        operators.causal_conv1d(config.conv_channels(), tokens, &mixer.conv1d, qkv, window);
        operators.delta_gates(tokens, decay, beta, &mixer.negated_decay, &mixer.dt_bias);
        operators.gated_delta_rule(&shape, tokens, qkv, decay, beta, state, mixed);
        let elements = tokens * config.value_heads * config.value_dim;
        operators.rms_norm_gated(mixed, elements, z, &mixer.norm, self.config.rms_norm_eps as f32);
        let back = Projection { weight: &mixer.out_proj, out: hidden, store: Store::Add };
        operators.linear(mixed, tokens, &mut [back], quantised);
    }

    fn mlp(&self, layer: &Layer<O::Weight>, workspace: &mut Workspace<O::Tensor>) {
        let (operators, tokens) = (self.operators, self.tokens);
        let Workspace { hidden, normed, first: gate, second: up, quantised, .. } = workspace;
        let mut projections = [
            Projection { weight: &layer.gate_proj, out: &mut *gate, store: Store::Overwrite },
            Projection { weight: &layer.up_proj, out: &mut *up, store: Store::Overwrite },
        ];
        operators.linear(normed, tokens, &mut projections, quantised);
        operators.swiglu(tokens * self.config.intermediate_size, gate, up);
        let back = Projection { weight: &layer.down_proj, out: hidden, store: Store::Add };
        operators.linear(gate, tokens, &mut [back], quantised);
    }
}
