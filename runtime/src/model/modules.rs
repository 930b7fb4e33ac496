//! The weights that a model has, derived from its configuration: the list that builds, plans and loads all walk.

use ledger::{BufferClass, Role};

use crate::config::{Family, LayerKind, ModelConfig};

/// How the numbers of one checkpoint tensor are used, and so how an engine stores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A projection [rows = outputs, columns = inputs].
    Matrix {
        /// Outputs.
        rows: usize,
        /// Inputs.
        columns: usize,
        /// False where a module stays in 16 bits whatever the build options say.
        requantisable: bool,
    },
    /// The embedding table and the output head [vocabulary, hidden].
    Table {
        /// Vocabulary entries.
        rows: usize,
        /// Hidden size.
        columns: usize,
    },
    /// The factor of an RMSNorm; `one_plus` where the checkpoint stores it less one.
    NormFactor {
        /// Width of the norm.
        length: usize,
        /// The checkpoint's value is added to one.
        one_plus: bool,
    },
    /// Taps of a depthwise convolution, [channels, 1, width] in the checkpoint, [width, channels] in an engine.
    ConvTaps {
        /// Channels.
        channels: usize,
        /// Taps of one channel.
        width: usize,
    },
    /// `A_log` in the checkpoint, `-exp(A_log)` in an engine.
    NegatedDecay {
        /// Value heads.
        length: usize,
    },
    /// A plain vector.
    Vector {
        /// Elements.
        length: usize,
    },
}

/// One weight of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Canonical checkpoint name, without the model prefix. Matrices and tables are named by module
    /// (`layers.0.mlp.up_proj`), everything else by tensor (`layers.0.input_layernorm.weight`).
    pub name: String,
    /// The decoder layer it belongs to.
    pub layer: Option<u32>,
    /// Target or draft.
    pub role: Role,
    /// Its buffer class.
    pub class: BufferClass,
    /// What it is.
    pub shape: Shape,
}

/// Weights that are used at the same moment, and that an engine stores side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `embed_tokens`, `layers.<i>`, `norm`, `lm_head` or `mtp`.
    pub name: String,
    /// The decoder layer, where it is one.
    pub layer: Option<u32>,
    /// Target or draft.
    pub role: Role,
    /// The weights.
    pub modules: Vec<Module>,
}

/// The groups of a model in the order of its forward pass; the draft's last, where `draft` asks for it.
pub fn groups(config: &ModelConfig, draft: bool) -> Vec<Group> {
    let mut groups = vec![table(config, "embed_tokens", embedding_class(config))];
    for (index, kind) in config.layers.iter().enumerate() {
        let prefix = format!("layers.{index}");
        let layer = Some(index as u32);
        let mut collector = Collector { config, prefix, layer, role: Role::Target, modules: Vec::new() };
        collector.layer(*kind);
        groups.push(Group { name: collector.prefix, layer, role: Role::Target, modules: collector.modules });
    }
    let mut last =
        Collector { config, prefix: String::new(), layer: None, role: Role::Target, modules: Vec::new() };
    last.factor("norm.weight", config.hidden_size);
    groups.push(Group { name: "norm".into(), layer: None, role: Role::Target, modules: last.modules });
    if !config.tie_word_embeddings {
        groups.push(table(config, "lm_head", BufferClass::WeightsLmHead));
    }
    if draft && config.mtp_layers > 0 {
        groups.push(mtp(config));
    }
    groups
}

fn embedding_class(config: &ModelConfig) -> BufferClass {
    match config.tie_word_embeddings {
        true => BufferClass::WeightsLmHead,
        false => BufferClass::WeightsEmbedding,
    }
}

fn table(config: &ModelConfig, name: &str, class: BufferClass) -> Group {
    let shape = Shape::Table { rows: config.vocab_size, columns: config.hidden_size };
    let module = Module { name: name.into(), layer: None, role: Role::Target, class, shape };
    Group { name: name.into(), layer: None, role: Role::Target, modules: vec![module] }
}

fn mtp(config: &ModelConfig) -> Group {
    let mut collector =
        Collector { config, prefix: "mtp".into(), layer: None, role: Role::Draft, modules: Vec::new() };
    let hidden = config.hidden_size;
    collector.factor("pre_fc_norm_embedding.weight", hidden);
    collector.factor("pre_fc_norm_hidden.weight", hidden);
    collector.matrix("fc", hidden, 2 * hidden, true);
    collector.prefix = "mtp.layers.0".into();
    collector.layer(LayerKind::FullAttention);
    collector.prefix = "mtp".into();
    collector.factor("norm.weight", hidden);
    Group { name: "mtp".into(), layer: None, role: Role::Draft, modules: collector.modules }
}

/// Gathers the modules under one prefix.
struct Collector<'a> {
    config: &'a ModelConfig,
    prefix: String,
    layer: Option<u32>,
    role: Role,
    modules: Vec<Module>,
}

impl Collector<'_> {
    fn layer(&mut self, kind: LayerKind) {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        self.factor("input_layernorm.weight", hidden);
        match kind {
            LayerKind::FullAttention => self.attention(),
            LayerKind::LinearAttention => self.linear_attention(),
        }
        self.factor("post_attention_layernorm.weight", hidden);
        self.matrix("mlp.gate_proj", inner, hidden, true);
        self.matrix("mlp.up_proj", inner, hidden, true);
        self.matrix("mlp.down_proj", hidden, inner, true);
    }

    fn attention(&mut self) {
        let attention = &self.config.attention;
        let queries = attention.query_heads * attention.head_dim;
        let keys = attention.kv_heads * attention.head_dim;
        let gated = if attention.output_gate { 2 * queries } else { queries };
        self.matrix("self_attn.q_proj", gated, self.config.hidden_size, true);
        self.matrix("self_attn.k_proj", keys, self.config.hidden_size, true);
        self.matrix("self_attn.v_proj", keys, self.config.hidden_size, true);
        self.factor("self_attn.q_norm.weight", attention.head_dim);
        self.factor("self_attn.k_norm.weight", attention.head_dim);
        self.matrix("self_attn.o_proj", self.config.hidden_size, queries, true);
    }

    fn linear_attention(&mut self) {
        let Some(linear) = &self.config.linear_attention else { return };
        let hidden = self.config.hidden_size;
        let values = linear.value_heads * linear.value_dim;
        let channels = 2 * linear.key_heads * linear.key_dim + values;
        self.matrix("linear_attn.in_proj_qkv", channels, hidden, true);
        self.matrix("linear_attn.in_proj_z", values, hidden, true);
        // A few rows that steer the decay of every state: 16 bits cost little and 4 bits would cost much.
        self.matrix("linear_attn.in_proj_b", linear.value_heads, hidden, false);
        self.matrix("linear_attn.in_proj_a", linear.value_heads, hidden, false);
        self.push("linear_attn.conv1d.weight", Shape::ConvTaps { channels, width: linear.conv_kernel });
        self.push("linear_attn.A_log", Shape::NegatedDecay { length: linear.value_heads });
        self.push("linear_attn.dt_bias", Shape::Vector { length: linear.value_heads });
        // The gated norm multiplies by the plain weight in every family.
        self.push("linear_attn.norm.weight", Shape::NormFactor { length: linear.value_dim, one_plus: false });
        self.matrix("linear_attn.out_proj", hidden, values, true);
    }

    fn factor(&mut self, name: &str, length: usize) {
        let one_plus = self.config.family == Family::Qwen35;
        self.push(name, Shape::NormFactor { length, one_plus });
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize, requantisable: bool) {
        self.push(name, Shape::Matrix { rows, columns, requantisable });
    }

    fn push(&mut self, name: &str, shape: Shape) {
        let class = match (self.role, shape) {
            (Role::Draft, _) => BufferClass::WeightsDraft,
            (Role::Target, Shape::Matrix { .. }) => BufferClass::WeightsLinear,
            (Role::Target, _) => BufferClass::WeightsNorm,
        };
        let name = match self.prefix.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.prefix),
        };
        self.modules.push(Module { name, layer: self.layer, role: self.role, class, shape });
    }
}
