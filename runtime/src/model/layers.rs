//! The weights of a loaded model, in the order of its forward pass.

use crate::config::{LayerKind, ModelConfig};

/// An attention layer's projections and norms.
#[derive(Debug)]
pub struct Attention<W> {
    /// Queries; with an output gate, each head's queries and then its gate.
    pub q_proj: W,
    /// Keys.
    pub k_proj: W,
    /// Values.
    pub v_proj: W,
    /// Norm of a query head.
    pub q_norm: W,
    /// Norm of a key head.
    pub k_norm: W,
    /// Back to the hidden size.
    pub o_proj: W,
}

/// A Gated DeltaNet layer's projections and parameters.
#[derive(Debug)]
pub struct LinearAttention<W> {
    /// Queries, keys and values before the convolution.
    pub in_proj_qkv: W,
    /// The gate of the output norm.
    pub in_proj_z: W,
    /// Write strength.
    pub in_proj_b: W,
    /// Decay.
    pub in_proj_a: W,
    /// Taps [width, channels].
    pub conv1d: W,
    /// `-exp(A_log)`.
    pub negated_decay: W,
    /// Added to the decay's input.
    pub dt_bias: W,
    /// Norm of an output head.
    pub norm: W,
    /// Back to the hidden size.
    pub out_proj: W,
}

/// What mixes tokens in a layer.
#[derive(Debug)]
pub enum Mixer<W> {
    /// Full attention over a KV cache.
    Attention(Attention<W>),
    /// The gated delta rule over a recurrent state.
    Linear(LinearAttention<W>),
}

/// One decoder layer.
#[derive(Debug)]
pub struct Layer<W> {
    /// Norm before the mixer.
    pub input_norm: W,
    /// The mixer.
    pub mixer: Mixer<W>,
    /// Norm before the MLP.
    pub post_norm: W,
    /// The MLP's gate.
    pub gate_proj: W,
    /// The MLP's values.
    pub up_proj: W,
    /// The MLP's way back.
    pub down_proj: W,
}

/// All weights of a target model.
#[derive(Debug)]
pub struct Weights<W> {
    /// The embedding table.
    pub embed_tokens: W,
    /// The decoder layers.
    pub layers: Vec<Layer<W>>,
    /// The norm before the head.
    pub norm: W,
    /// The output head, where it is not the embedding table.
    pub lm_head: Option<W>,
}

impl<W> Weights<W> {
    /// Gathers the weights of `config` by their canonical names.
    pub fn gather<E>(
        config: &ModelConfig,
        mut find: impl FnMut(&str) -> Result<W, E>,
    ) -> Result<Weights<W>, E> {
        let embed_tokens = find("embed_tokens")?;
        let mut layers = Vec::with_capacity(config.layers.len());
        for (index, kind) in config.layers.iter().enumerate() {
            layers.push(Layer::gather(*kind, |name| find(&format!("layers.{index}.{name}")))?);
        }
        let norm = find("norm.weight")?;
        let lm_head = if config.tie_word_embeddings { None } else { Some(find("lm_head")?) };
        Ok(Weights { embed_tokens, layers, norm, lm_head })
    }

    /// The matrices of a pass in the order in which it multiplies with them, with those of the `head` or without.
    pub fn matrices(&self, head: bool) -> impl Iterator<Item = &W> {
        self.layers.iter().flat_map(Layer::matrices).chain(head.then(|| self.head()))
    }

    /// The matrix that scores the vocabulary.
    pub fn head(&self) -> &W {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }
}

/// The weights of the MTP head. It embeds and scores with the target's table.
#[derive(Debug)]
pub struct DraftWeights<W> {
    /// Norm of the embedding.
    pub embedding_norm: W,
    /// Norm of the hidden state.
    pub hidden_norm: W,
    /// From embedding and hidden state, side by side, to the residual stream.
    pub fc: W,
    /// The one decoder layer.
    pub layer: Layer<W>,
    /// The norm before the head.
    pub norm: W,
    /// The rows of the target's head that the draft scores: the first ones.
    pub head: W,
}

impl<W> DraftWeights<W> {
    /// The matrices of a pass in the order in which it multiplies with them, without those of the head.
    pub fn matrices(&self) -> impl Iterator<Item = &W> {
        std::iter::once(&self.fc).chain(self.layer.matrices())
    }

    /// Gathers the weights by their canonical names.
    pub fn gather<E>(head: W, mut find: impl FnMut(&str) -> Result<W, E>) -> Result<DraftWeights<W>, E> {
        Ok(DraftWeights {
            embedding_norm: find("mtp.pre_fc_norm_embedding.weight")?,
            hidden_norm: find("mtp.pre_fc_norm_hidden.weight")?,
            fc: find("mtp.fc")?,
            layer: Layer::gather(LayerKind::FullAttention, |name| find(&format!("mtp.layers.0.{name}")))?,
            norm: find("mtp.norm.weight")?,
            head,
        })
    }
}

impl<W> Layer<W> {
    /// The matrices in the order of the pass.
    pub fn matrices(&self) -> impl Iterator<Item = &W> {
        let mixer = match &self.mixer {
            Mixer::Attention(mixer) => {
                let Attention { q_proj, k_proj, v_proj, o_proj, .. } = mixer;
                [Some(q_proj), Some(k_proj), Some(v_proj), Some(o_proj), None]
            }
            Mixer::Linear(mixer) => {
                let LinearAttention { in_proj_qkv, in_proj_z, in_proj_b, in_proj_a, out_proj, .. } = mixer;
                [in_proj_qkv, in_proj_z, in_proj_b, in_proj_a, out_proj].map(Some)
            }
        };
        mixer.into_iter().flatten().chain([&self.gate_proj, &self.up_proj, &self.down_proj])
    }

    fn gather<E>(kind: LayerKind, mut find: impl FnMut(&str) -> Result<W, E>) -> Result<Layer<W>, E> {
        Ok(Layer {
            input_norm: find("input_layernorm.weight")?,
            mixer: match kind {
                LayerKind::FullAttention => Mixer::Attention(Attention {
                    q_proj: find("self_attn.q_proj")?,
                    k_proj: find("self_attn.k_proj")?,
                    v_proj: find("self_attn.v_proj")?,
                    q_norm: find("self_attn.q_norm.weight")?,
                    k_norm: find("self_attn.k_norm.weight")?,
                    o_proj: find("self_attn.o_proj")?,
                }),
                LayerKind::LinearAttention => Mixer::Linear(LinearAttention {
                    in_proj_qkv: find("linear_attn.in_proj_qkv")?,
                    in_proj_z: find("linear_attn.in_proj_z")?,
                    in_proj_b: find("linear_attn.in_proj_b")?,
                    in_proj_a: find("linear_attn.in_proj_a")?,
                    conv1d: find("linear_attn.conv1d.weight")?,
                    negated_decay: find("linear_attn.A_log")?,
                    dt_bias: find("linear_attn.dt_bias")?,
                    norm: find("linear_attn.norm.weight")?,
                    out_proj: find("linear_attn.out_proj")?,
                }),
            },
            post_norm: find("post_attention_layernorm.weight")?,
            gate_proj: find("mlp.gate_proj")?,
            up_proj: find("mlp.up_proj")?,
            down_proj: find("mlp.down_proj")?,
        })
    }
}
