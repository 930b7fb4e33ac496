//! The forward pass of some tokens of some sequences, for both families.
//!
//! Each layer does `x += mixer(norm(x)); x += mlp(norm(x))`; the head reads the tokens that it is asked for. Tokens of several
//! sequences share the projections; what looks back (attention, convolution, recurrence) runs sequence by sequence.

use std::ops::Range;

use super::layers::{Attention, Layer, LinearAttention, Mixer, Weights};
use super::operators::{Keep, LayerCache, LogRows, Operators, Projection};
use super::state::{LayerState, SequenceState};
use super::workspace::Workspace;
use crate::config::{LinearAttentionConfig, ModelConfig};
use crate::memory::MemoryError;
use crate::model::shapes::{attention_shape, delta_shape};
use crate::ops::{Heads, Store};

/// The tokens of one sequence in a pass.
pub struct Part<'a, T> {
    /// The sequence.
    pub sequence: &'a mut SequenceState<T>,
    /// How many of the pass's tokens are its; the parts follow each other.
    pub tokens: usize,
}

/// Runs `ids` (at most as many as `workspace` has room for) behind what the sequences of `parts` hold. Afterwards
/// `workspace.hidden` holds their residual stream before the last norm. With [`Keep::All`] the sequences count the tokens; with
/// [`Keep::Undecided`] that is left to [`SequenceState::accept`].
pub fn forward<O: Operators>(
    operators: &O,
    config: &ModelConfig,
    weights: &Weights<O::Weight>,
    parts: &mut [Part<'_, O::Tensor>],
    keep: Keep,
    workspace: &mut Workspace<O::Tensor>,
    ids: &[u32],
) -> Result<(), MemoryError> {
    debug_assert_eq!(parts.iter().map(|part| part.tokens).sum::<usize>(), ids.len());
    workspace.hold(ids.len())?;
    let pass = Pass { operators, config, tokens: ids.len() };
    operators.embed(&weights.embed_tokens, ids, &mut workspace.hidden);
    let mut spans = Vec::with_capacity(parts.len());
    let mut first_row = 0;
    for part in parts.iter_mut() {
        debug_assert!(part.tokens <= part.sequence.room());
        part.sequence.grow(part.tokens)?;
        let span = Span { rows: first_row..first_row + part.tokens, position: part.sequence.length() };
        first_row += part.tokens;
        pass.angles(&span, workspace);
        spans.push(span);
    }
    for (index, layer) in weights.layers.iter().enumerate() {
        pass.norm(&layer.input_norm, workspace);
        match (&layer.mixer, &config.linear_attention) {
            (Mixer::Attention(mixer), _) => {
                pass.project_queries(mixer, workspace);
                for (part, span) in parts.iter_mut().zip(&spans) {
                    let Some(mut cache) = part.sequence.cache(index) else { unreachable!("{ONE_KIND}") };
                    pass.attend(span, &mut cache, workspace);
                }
                pass.mix_attention(mixer, workspace);
            }
            (Mixer::Linear(mixer), Some(linear)) => {
                pass.project_linear(mixer, workspace);
                for (part, span) in parts.iter_mut().zip(&spans) {
                    let (LayerState::Linear { state, window, .. }, log) = part.sequence.layer(index) else {
                        unreachable!("{ONE_KIND}")
                    };
                    pass.convolve(mixer, linear, span, keep, window, workspace);
                    let log = log.filter(|_| keep == Keep::Undecided);
                    pass.recur(linear, span, state, log, workspace);
                }
                pass.mix_linear(mixer, linear, workspace);
            }
            _ => unreachable!("{ONE_KIND}"),
        }
        pass.norm(&layer.post_norm, workspace);
        pass.mlp(layer, workspace);
    }
    if keep == Keep::All {
        parts.iter_mut().for_each(|part| part.sequence.advance(part.tokens));
    }
    Ok(())
}

/// Why a layer and its state cannot differ in kind.
const ONE_KIND: &str = "weights and state of a layer are both made from the configuration's layer kind";

/// Scores of the vocabulary behind the tokens `rows` of the last pass, into the first rows of `logits`. Afterwards
/// `workspace.input` holds what the head has read.
pub fn head<O: Operators>(
    operators: &O,
    config: &ModelConfig,
    weights: &Weights<O::Weight>,
    workspace: &mut Workspace<O::Tensor>,
    rows: Range<usize>,
    logits: &mut O::Tensor,
) {
    let Workspace { hidden, input, scratch, .. } = workspace;
    let tokens = rows.len();
    operators.rms_norm(hidden, rows, &weights.norm, config.rms_norm_eps as f32, input);
    let projection = Projection { weight: weights.head(), out: logits, store: Store::Overwrite };
    operators.linear(input, tokens, &mut [projection], scratch);
}

/// Where the tokens of one sequence are: rows of the pass, positions of the sequence.
pub(super) struct Span {
    pub(super) rows: Range<usize>,
    pub(super) position: usize,
}

/// What the layers of one pass share.
pub(super) struct Pass<'a, O> {
    pub(super) operators: &'a O,
    pub(super) config: &'a ModelConfig,
    pub(super) tokens: usize,
}

impl<O: Operators> Pass<'_, O> {
    pub(super) fn norm(&self, weight: &O::Weight, workspace: &mut Workspace<O::Tensor>) {
        let Workspace { hidden, input, .. } = workspace;
        self.operators.rms_norm(hidden, 0..self.tokens, weight, self.config.rms_norm_eps as f32, input);
    }

    pub(super) fn angles(&self, span: &Span, workspace: &mut Workspace<O::Tensor>) {
        let attention = &self.config.attention;
        self.operators.rope_angles(
            span.position,
            span.rows.clone(),
            attention.rotary_dims,
            attention.rope_theta,
            &mut workspace.cos,
            &mut workspace.sin,
        );
    }

    /// Queries, keys and values of every token, normed and turned.
    pub(super) fn project_queries(&self, mixer: &Attention<O::Weight>, workspace: &mut Workspace<O::Tensor>) {
        let (operators, tokens, config) = (self.operators, self.tokens, &self.config.attention);
        let Workspace { input, first: queries, second: keys, values, scratch, cos, sin, .. } = workspace;
        let mut projections = [
            Projection { weight: &mixer.q_proj, out: &mut *queries, store: Store::Overwrite },
            Projection { weight: &mixer.k_proj, out: &mut *keys, store: Store::Overwrite },
            Projection { weight: &mixer.v_proj, out: &mut *values, store: Store::Overwrite },
        ];
        operators.linear(input, tokens, &mut projections, scratch);
        let query_heads = self.query_heads();
        let key_heads = Heads::packed(tokens, config.kv_heads, config.head_dim);
        let eps = self.config.rms_norm_eps as f32;
        operators.rms_norm_heads(queries, query_heads, &mixer.q_norm, eps);
        operators.rms_norm_heads(keys, key_heads, &mixer.k_norm, eps);
        operators.rope(queries, query_heads, config.rotary_dims, cos, sin);
        operators.rope(keys, key_heads, config.rotary_dims, cos, sin);
    }

    /// Where the queries are: with an output gate, a head's queries are followed by its gate.
    fn query_heads(&self) -> Heads {
        let config = &self.config.attention;
        match config.output_gate {
            true => Heads::interleaved(self.tokens, config.query_heads, config.head_dim),
            false => Heads::packed(self.tokens, config.query_heads, config.head_dim),
        }
    }

    /// One sequence's tokens against its cache.
    pub(super) fn attend(
        &self,
        span: &Span,
        cache: &mut LayerCache<'_, O::Tensor>,
        workspace: &mut Workspace<O::Tensor>,
    ) {
        let Span { rows, position } = span;
        let shape = attention_shape(&self.config.attention);
        let Workspace { first: queries, second: keys, values, input: mixed, scratch, .. } = workspace;
        self.operators.append_kv(&shape, *position, rows.clone(), keys, values, cache);
        let heads = self.query_heads();
        self.operators.attention(&shape, *position, rows.clone(), queries, heads, cache, mixed, scratch);
    }

    /// The gate, and back to the residual stream.
    pub(super) fn mix_attention(&self, mixer: &Attention<O::Weight>, workspace: &mut Workspace<O::Tensor>) {
        let (operators, config) = (self.operators, &self.config.attention);
        let Workspace { hidden, first: queries, input: mixed, scratch, .. } = workspace;
        if config.output_gate {
            operators.output_gate(mixed, queries, config.head_dim, self.query_heads());
        }
        let back = Projection { weight: &mixer.o_proj, out: hidden, store: Store::Add };
        operators.linear(mixed, self.tokens, &mut [back], scratch);
    }

    fn project_linear(&self, mixer: &LinearAttention<O::Weight>, workspace: &mut Workspace<O::Tensor>) {
        let Workspace { input, first: qkv, second: z, gates, scratch, .. } = workspace;
        let (decay, beta) = gates.as_mut().expect(GATES);
        let mut projections = [
            Projection { weight: &mixer.in_proj_qkv, out: &mut *qkv, store: Store::Overwrite },
            Projection { weight: &mixer.in_proj_z, out: &mut *z, store: Store::Overwrite },
            Projection { weight: &mixer.in_proj_b, out: &mut *beta, store: Store::Overwrite },
            Projection { weight: &mixer.in_proj_a, out: &mut *decay, store: Store::Overwrite },
        ];
        self.operators.linear(input, self.tokens, &mut projections, scratch);
        self.operators.delta_gates(self.tokens, decay, beta, &mixer.negated_decay, &mixer.dt_bias);
    }

    fn convolve(
        &self,
        mixer: &LinearAttention<O::Weight>,
        config: &LinearAttentionConfig,
        span: &Span,
        keep: Keep,
        window: &mut O::Tensor,
        workspace: &mut Workspace<O::Tensor>,
    ) {
        let (channels, rows) = (config.conv_channels(), span.rows.clone());
        self.operators.causal_conv1d(channels, rows, keep, &mixer.conv1d, &mut workspace.first, window);
    }

    fn recur(
        &self,
        config: &LinearAttentionConfig,
        span: &Span,
        state: &mut O::Tensor,
        log: Option<LogRows<'_, O::Tensor>>,
        workspace: &mut Workspace<O::Tensor>,
    ) {
        let (shape, rows) = (delta_shape(config), span.rows.clone());
        let Workspace { first: qkv, input: mixed, gates, scratch, .. } = workspace;
        let (decay, beta) = gates.as_ref().expect(GATES);
        self.operators.gated_delta_rule(&shape, rows, qkv, decay, beta, state, log, mixed, scratch);
    }

    fn mix_linear(
        &self,
        mixer: &LinearAttention<O::Weight>,
        config: &LinearAttentionConfig,
        workspace: &mut Workspace<O::Tensor>,
    ) {
        let Workspace { hidden, second: z, input: mixed, scratch, .. } = workspace;
        let elements = self.tokens * config.value_heads * config.value_dim;
        self.operators.rms_norm_gated(mixed, elements, z, &mixer.norm, self.config.rms_norm_eps as f32);
        let back = Projection { weight: &mixer.out_proj, out: hidden, store: Store::Add };
        self.operators.linear(mixed, self.tokens, &mut [back], scratch);
    }

    pub(super) fn mlp(&self, layer: &Layer<O::Weight>, workspace: &mut Workspace<O::Tensor>) {
        let (operators, tokens) = (self.operators, self.tokens);
        let Workspace { hidden, input, first: gate, second: up, scratch, .. } = workspace;
        let mut projections = [
            Projection { weight: &layer.gate_proj, out: &mut *gate, store: Store::Overwrite },
            Projection { weight: &layer.up_proj, out: &mut *up, store: Store::Overwrite },
        ];
        operators.linear(input, tokens, &mut projections, scratch);
        operators.swiglu(tokens * self.config.intermediate_size, gate, up);
        let back = Projection { weight: &layer.down_proj, out: hidden, store: Store::Add };
        operators.linear(gate, tokens, &mut [back], scratch);
    }
}

/// Why a workspace has the gates' buffers.
const GATES: &str = "the workspace of a model with Gated DeltaNet layers has their buffers";
