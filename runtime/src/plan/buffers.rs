//! Every buffer of a loaded engine, with its size and the formula behind it.

use ledger::plan::Growth;
use ledger::{
    Backing, BufferClass, Bytes, ElementType, Lifetime, MemoryKind, MemoryPlan, PlannedBuffer, Role, Tokens,
};

use super::device::place_on_device;
use super::{Device, KvCacheType, Ring, RuntimeOptions, SegmentPlacement, Streaming, WeightsMode};
use crate::backend::cuda;
use crate::config::{AttentionConfig, LayerKind, LinearAttentionConfig, ModelConfig};
use crate::engine_dir::{OWN_GROUP_SIZE, SegmentRecord, TensorRecord};
use crate::memory::{DEVICE_PAGE, PAGE, whole_pages};
use crate::model::shapes::{attention_shape, delta_shape};
use crate::ops::{attention, linear};

/// The names of buffers that are not weights, as they stand in ledger keys.
pub mod keys {
    /// Keys and values of a sequence, block by block.
    pub const BLOCKS: &str = "blocks";
    /// The matrices of a Gated DeltaNet layer.
    pub const STATE: &str = "state";
    /// The last inputs of a convolution.
    pub const WINDOW: &str = "window";
    /// What fills the last page of a weight segment.
    pub const ALIGNMENT: &str = "alignment";
    /// The updates of tokens that may be rejected.
    pub const LOG: &str = "log";
    /// Hidden states that the draft has not read yet.
    pub const HIDDEN: &str = "hidden";
    /// Rows of scores.
    pub const LOGITS: &str = "rows";
    /// Slots for stripes of streamed weights.
    pub const SLOTS: &str = "slots";
    /// The same in main memory, where a device has slots of its own.
    pub const HOST_SLOTS: &str = "slots on the host";
    /// Slots for rows of a streamed embedding table.
    pub const LOOK_UPS: &str = "look-ups";
    /// Slots through which files are read into a device.
    pub const STAGING: &str = "staging";
    /// Numbers that change from pass to pass, on a device.
    pub const PARAMETERS: &str = "parameters";
    /// Steps of passes of one token, as a device reads them.
    pub const STEPS: &str = "steps";
    /// The compiled tokenizer.
    pub const TOKENIZER: &str = "table";
    /// The ids of a trimmed table's rows.
    pub const VOCAB_MAP: &str = "vocab_map";
}

/// The lengths of the files between text and rows, where an engine has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextTables {
    /// The compiled tokenizer.
    pub tokenizer: Option<Bytes>,
    /// The map of a trimmed vocabulary.
    pub vocab_map: Option<Bytes>,
}

/// The plan of an engine with `segments` and the files `tables`, loaded with `options`.
pub fn plan(
    config: &ModelConfig,
    segments: &[SegmentRecord],
    tables: TextTables,
    options: &RuntimeOptions,
) -> MemoryPlan {
    let options = &options.for_engine(segments);
    let mut buffers = Vec::new();
    let streaming = Streaming::choose(segments, options);
    for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| is_loaded(segment, options)) {
        match streaming.as_ref().and_then(|streaming| streaming.segment(index)) {
            Some(placement) => placed_weights(segment, placement, &mut buffers),
            None => weights(segment, weights_mode(options), &mut buffers),
        }
    }
    let ring = streaming.as_ref().and_then(Streaming::ring);
    match ring {
        Some(ring) if ring.on_device > 0 => device_ring(ring, &mut buffers),
        Some(ring) => host_ring(ring, keys::SLOTS, &mut buffers),
        None => {}
    }
    for sequence in 0..options.max_batch_size {
        let start = buffers.len();
        of_sequence(config, options, &mut buffers);
        buffers[start..].iter_mut().for_each(|buffer| buffer.sequence = sequence);
    }
    let chunk = options.prefill_chunk();
    let group_size = smallest_group(segments);
    workspace(config, options, group_size, Stage::Prefill, chunk, &mut buffers);
    workspace(config, options, group_size, Stage::Decode, options.decode_tokens(), &mut buffers);
    logits(config, options, &mut buffers);
    if options.device != Device::Cpu {
        parameters(options, &mut buffers);
        steps(config, &mut buffers);
        buffers.iter_mut().for_each(place_on_device);
        staging(&mut buffers);
        if let Some(ring) = ring {
            host_ring(ring, keys::HOST_SLOTS, &mut buffers);
        }
    }
    let tables = [
        (keys::TOKENIZER, tables.tokenizer, "vocabulary, merges and added tokens, as compiled"),
        (keys::VOCAB_MAP, tables.vocab_map, "a header, and an id of 4 B for each row"),
    ];
    for (name, bytes, formula) in tables {
        let Some(bytes) = bytes else { continue };
        buffers.push(PlannedBuffer {
            bytes: whole_pages(bytes.0),
            backing: Backing::MappedFile,
            ..anonymous(
                BufferClass::Tokenizer,
                Lifetime::Resident,
                name,
                ElementType::U8,
                vec![bytes.0],
                formula.into(),
            )
        });
    }
    MemoryPlan { buffers }
}

/// Whether a load with `options` makes the weights of `segment` reachable.
pub fn is_loaded(segment: &SegmentRecord, options: &RuntimeOptions) -> bool {
    segment.role == Role::Target || options.mtp
}

/// Where weights are that are not streamed. A device has no page cache.
fn weights_mode(options: &RuntimeOptions) -> WeightsMode {
    match options.device {
        Device::Cpu => options.weights,
        Device::Cuda { .. } => WeightsMode::Resident,
    }
}

/// What one sequence holds.
fn of_sequence(config: &ModelConfig, options: &RuntimeOptions, buffers: &mut Vec<PlannedBuffer>) {
    let mut attention_layers = 0;
    for (layer, kind) in config.layers.iter().enumerate() {
        match (kind, &config.linear_attention) {
            (LayerKind::LinearAttention, Some(linear)) => recurrent(layer as u32, linear, options, buffers),
            _ => attention_layers += 1,
        }
    }
    if attention_layers > 0 {
        kv_cache(Role::Target, attention_layers, &config.attention, options, buffers);
    }
    if !options.mtp {
        return;
    }
    let undecided = options.undecided_tokens() as u64;
    let linear_layers =
        config.layers.iter().filter(|kind| **kind == LayerKind::LinearAttention).count() as u64;
    if let (Some(linear), 1..) = (&config.linear_attention, linear_layers) {
        let row = delta_shape(linear).log_row() as u64;
        buffers.push(anonymous(
            BufferClass::Rollback,
            Lifetime::PerSequence,
            keys::LOG,
            ElementType::F32,
            vec![linear_layers, undecided, row],
            format!(
                "{linear_layers} layers · {undecided} tokens · ({} keys + {} corrections + {} decays) · 4 B",
                linear.key_heads * linear.key_dim,
                linear.value_heads * linear.value_dim,
                linear.value_heads
            ),
        ));
    }
    kv_cache(Role::Draft, 1, &config.attention, options, buffers);
    let hidden = config.hidden_size as u64;
    buffers.push(PlannedBuffer {
        role: Role::Draft,
        ..anonymous(
            BufferClass::DecodeWorkspace,
            Lifetime::PerSequence,
            keys::HIDDEN,
            ElementType::F32,
            vec![undecided, hidden],
            format!("{undecided} tokens · {hidden} · 4 B: what the draft reads next"),
        )
    });
}

/// Scores: of the target for every token of a step, of the draft for every sequence.
fn logits(config: &ModelConfig, options: &RuntimeOptions, buffers: &mut Vec<PlannedBuffer>) {
    let mut push = |role, rows: usize, width: usize, each: u64| {
        let (rows, width) = (rows as u64, width as u64);
        let sequence = Growth { tokens: Tokens(each as u32), bytes: Bytes(each * width * 4) };
        buffers.push(PlannedBuffer {
            role,
            growth: (options.max_batch_size > 1).then_some(sequence),
            ..anonymous(
                BufferClass::Logits,
                Lifetime::PerStep,
                keys::LOGITS,
                ElementType::F32,
                vec![rows, width],
                format!("{rows} rows · {width} vocabulary · 4 B"),
            )
        });
    };
    let batch = options.max_batch_size as usize;
    push(Role::Target, options.decode_tokens(), config.vocab_size, options.sequence_tokens() as u64);
    if options.mtp {
        push(Role::Draft, batch, options.draft_vocab.rows(config.vocab_size), 1);
    }
}

/// Which of the two workspaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Activations of a prompt chunk.
    Prefill,
    /// Activations of a decode step.
    Decode,
}

impl Stage {
    /// The class of the stage's workspace.
    pub const fn class(self) -> BufferClass {
        match self {
            Stage::Prefill => BufferClass::PrefillWorkspace,
            Stage::Decode => BufferClass::DecodeWorkspace,
        }
    }

    /// The stage's name, as it stands in keys.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Prefill => "prefill",
            Stage::Decode => "decode",
        }
    }

    const fn lifetime(self) -> Lifetime {
        match self {
            Stage::Prefill => Lifetime::PerPrefillChunk,
            Stage::Decode => Lifetime::PerStep,
        }
    }
}

fn weights(segment: &SegmentRecord, mode: WeightsMode, buffers: &mut Vec<PlannedBuffer>) {
    let backing = match mode {
        WeightsMode::Mapped => Backing::MappedFile,
        WeightsMode::Resident => Backing::Anonymous,
    };
    for tensor in &segment.tensors {
        let formula = tensor.format.formula(tensor.rows, tensor.columns);
        buffers.push(weight(segment, tensor, tensor.bytes, backing, formula));
    }
    alignment(segment, segment.alignment, backing, buffers);
}

/// The part of a segment that stays in memory of the process, tensor by tensor. A tensor that is streamed whole is listed with
/// nothing.
fn placed_weights(segment: &SegmentRecord, placement: &SegmentPlacement, buffers: &mut Vec<PlannedBuffer>) {
    for (tensor, placed) in segment.tensors.iter().zip(&placement.tensors) {
        let mut formula = tensor.format.formula(tensor.rows, tensor.columns);
        if placed.streamed > Bytes::ZERO {
            formula.push_str(&format!(", of which {} are streamed", placed.streamed));
        }
        buffers.push(weight(segment, tensor, placed.pinned, Backing::Anonymous, formula));
    }
    alignment(segment, placement.alignment, Backing::Anonymous, buffers);
}

fn weight(
    segment: &SegmentRecord,
    tensor: &TensorRecord,
    bytes: Bytes,
    backing: Backing,
    formula: String,
) -> PlannedBuffer {
    PlannedBuffer {
        role: segment.role,
        sequence: 0,
        class: tensor.class,
        layer: segment.layer,
        name: tensor.name.clone(),
        element: tensor.format.element(),
        shape: vec![tensor.rows as u64, tensor.columns as u64],
        bytes,
        lifetime: Lifetime::Resident,
        backing,
        memory: MemoryKind::Host,
        page: Bytes(PAGE),
        growth: None,
        formula,
    }
}

/// What fills a segment's last page.
fn alignment(segment: &SegmentRecord, bytes: Bytes, backing: Backing, buffers: &mut Vec<PlannedBuffer>) {
    if let (Some(last), true) = (segment.tensors.last(), bytes > Bytes::ZERO) {
        buffers.push(PlannedBuffer {
            role: segment.role,
            layer: segment.layer,
            backing,
            bytes,
            ..anonymous(
                last.class,
                Lifetime::Resident,
                &format!("{} {}", segment.name, keys::ALIGNMENT),
                ElementType::U8,
                vec![bytes.0],
                "up to the next page".into(),
            )
        });
    }
}

/// The slots that readers fill; `slots` is the name of those for stripes.
fn host_ring(ring: &Ring, slots: &str, buffers: &mut Vec<PlannedBuffer>) {
    self::slots(slots, ring.slots, ring.slot, "streamed weights pass through", buffers);
    let what = "rows of the embedding table pass through";
    self::slots(keys::LOOK_UPS, ring.look_ups, ring.look_up, what, buffers);
}

/// The slots that a device multiplies from.
fn device_ring(ring: &Ring, buffers: &mut Vec<PlannedBuffer>) {
    slots(keys::SLOTS, ring.on_device, ring.slot, "streamed weights are multiplied with", buffers);
}

fn slots(name: &str, count: usize, slot: Bytes, what: &str, buffers: &mut Vec<PlannedBuffer>) {
    if count > 0 {
        buffers.push(anonymous(
            BufferClass::StreamRing,
            Lifetime::Resident,
            name,
            ElementType::U8,
            vec![count as u64, slot.0],
            format!("{count} slots · {slot}: {what}"),
        ));
    }
}

/// What a device is told with each pass, and what it finds.
fn parameters(options: &RuntimeOptions, buffers: &mut Vec<PlannedBuffer>) {
    let (numbers, bytes) = cuda::parameters(options);
    buffers.push(anonymous(
        BufferClass::DecodeWorkspace,
        Lifetime::Resident,
        keys::PARAMETERS,
        ElementType::U8,
        vec![bytes.0],
        format!("{numbers} positions and ids · 4 B, and the largest of each row of scores in parts"),
    ));
}

/// What a device does for one token, step by step.
fn steps(config: &ModelConfig, buffers: &mut Vec<PlannedBuffer>) {
    let bytes = cuda::steps(config);
    buffers.push(anonymous(
        BufferClass::DecodeWorkspace,
        Lifetime::Resident,
        keys::STEPS,
        ElementType::U8,
        vec![bytes.0],
        "steps of some passes of one token".to_owned(),
    ));
}

/// The slots through which files are read into a device.
fn staging(buffers: &mut Vec<PlannedBuffer>) {
    const SLOTS: u64 = 4;
    let slot = Bytes(DEVICE_PAGE);
    buffers.push(anonymous(
        BufferClass::StreamRing,
        Lifetime::Resident,
        keys::STAGING,
        ElementType::U8,
        vec![SLOTS, slot.0],
        format!("{SLOTS} slots · {slot}: files are read into the device through them"),
    ));
}

/// The keys and values of `layers` layers of a sequence. Blocks of all layers follow each other, so that a sequence has one last page,
/// whatever the size of pages.
fn kv_cache(
    role: Role,
    layers: usize,
    attention: &AttentionConfig,
    options: &RuntimeOptions,
    buffers: &mut Vec<PlannedBuffer>,
) {
    let block = attention::BLOCK_TOKENS as u64;
    let blocks = u64::from(options.max_kv_cache_capacity.0).div_ceil(block);
    let per_block = attention_shape(attention).cache_block_bytes(options.kv_cache_type, layers);
    let width = options.kv_cache_type.width();
    let (element, scale) = match options.kv_cache_type {
        KvCacheType::F16 => (ElementType::F16, String::new()),
        KvCacheType::F32 => (ElementType::F32, String::new()),
        KvCacheType::Int8 => {
            (ElementType::Int8, format!(" + {} B of scale a head", options.kv_cache_type.scale_width()))
        }
    };
    let (kv_heads, head_dim) = (attention.kv_heads as u64, attention.head_dim as u64);
    let shape = vec![blocks, layers as u64, 2, kv_heads, block, head_dim];
    let formula = format!(
        "{layers} layers · keys and values · {kv_heads} kv heads · {head_dim} head dim · {width} B a token{scale}, \
         committed in blocks of {block} tokens"
    );
    buffers.push(PlannedBuffer {
        role,
        bytes: whole_pages(blocks * per_block),
        growth: Some(Growth { tokens: Tokens(block as u32), bytes: Bytes(per_block) }),
        ..anonymous(BufferClass::KvCache, Lifetime::PerSequence, keys::BLOCKS, element, shape, formula)
    });
}

fn recurrent(
    layer: u32,
    linear: &LinearAttentionConfig,
    options: &RuntimeOptions,
    buffers: &mut Vec<PlannedBuffer>,
) {
    let (heads, key, value) = (linear.value_heads as u64, linear.key_dim as u64, linear.value_dim as u64);
    buffers.push(PlannedBuffer {
        layer: Some(layer),
        ..anonymous(
            BufferClass::RecurrentState,
            Lifetime::PerSequence,
            keys::STATE,
            ElementType::F32,
            vec![heads, key, value],
            format!("{heads} value heads · {key}·{value} · 4 B, whatever the length"),
        )
    });
    let (kept, channels) = (linear.conv_kernel as u64 - 1, linear.conv_channels() as u64);
    let undecided = options.undecided_tokens() as u64;
    let formula = match undecided {
        0 => format!("last {kept} inputs · {channels} channels · 4 B"),
        _ => format!("(last {kept} inputs + {undecided} undecided) · {channels} channels · 4 B"),
    };
    buffers.push(PlannedBuffer {
        layer: Some(layer),
        ..anonymous(
            BufferClass::ConvState,
            Lifetime::PerSequence,
            keys::WINDOW,
            ElementType::F32,
            vec![kept + undecided, channels],
            formula,
        )
    });
}

/// A target buffer of its own pages, sized by its shape.
fn anonymous(
    class: BufferClass,
    lifetime: Lifetime,
    name: &str,
    element: ElementType,
    shape: Vec<u64>,
    formula: String,
) -> PlannedBuffer {
    let width = match element {
        ElementType::F32 => 4,
        ElementType::F16 | ElementType::Bf16 => 2,
        ElementType::Int8 | ElementType::Int4 | ElementType::U8 => 1,
    };
    PlannedBuffer {
        role: Role::Target,
        sequence: 0,
        class,
        layer: None,
        name: name.to_owned(),
        element,
        bytes: whole_pages(shape.iter().product::<u64>() * width),
        shape,
        lifetime,
        backing: Backing::Anonymous,
        memory: MemoryKind::Host,
        page: Bytes(PAGE),
        growth: None,
        formula,
    }
}

/// Widths, in elements a token, of the activations that a forward pass holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widths {
    /// The residual stream.
    pub hidden: usize,
    /// What a projection reads: the normed input of a block, or what a mixer hands to its output projection.
    pub input: usize,
    /// What the first projection of a block writes: qkv, q with its gate, or the MLP's gate.
    pub first: usize,
    /// What the second writes: z, keys, or the MLP's up.
    pub second: usize,
    /// Values of an attention layer.
    pub values: usize,
    /// Decay, and beta, of a Gated DeltaNet layer.
    pub gates: usize,
    /// Cosines, and sines, of a position.
    pub angles: usize,
}

impl Widths {
    /// The widths for a model: the largest need of any of its layers, and of its draft if it is used.
    pub fn of(config: &ModelConfig, drafting: bool) -> Widths {
        let attention = &config.attention;
        let queries = attention.query_heads * attention.head_dim;
        let projected = if attention.output_gate { 2 * queries } else { queries };
        let (channels, values, gates) = match &config.linear_attention {
            Some(linear) => {
                (linear.conv_channels(), linear.value_heads * linear.value_dim, linear.value_heads)
            }
            None => (0, 0, 0),
        };
        // The draft puts embedding and hidden state side by side, and keeps each by itself before.
        let hidden = if drafting { config.hidden_size } else { 0 };
        let kv = attention.kv_heads * attention.head_dim;
        Widths {
            hidden: config.hidden_size,
            input: values.max(queries).max(config.hidden_size),
            first: channels.max(projected).max(config.intermediate_size).max(2 * hidden),
            second: values.max(config.intermediate_size).max(hidden).max(kv),
            values: kv,
            gates,
            angles: attention.rotary_dims / 2,
        }
    }
}

fn workspace(
    config: &ModelConfig,
    options: &RuntimeOptions,
    group_size: usize,
    stage: Stage,
    tokens: usize,
    buffers: &mut Vec<PlannedBuffer>,
) {
    let widths = Widths::of(config, options.mtp);
    let of_one_sequence = options.sequence_tokens() as u64;
    let mut push = |class: BufferClass, name: &str, width: usize, what: &str| {
        if width > 0 {
            let shape = vec![tokens as u64, width as u64];
            let formula = format!("up to {tokens} tokens · {width} · 4 B: {what}");
            let growth = match stage {
                Stage::Prefill => Some(Growth { tokens: Tokens(1), bytes: Bytes(width as u64 * 4) }),
                Stage::Decode if options.max_batch_size > 1 => Some(Growth {
                    tokens: Tokens(of_one_sequence as u32),
                    bytes: Bytes(of_one_sequence * width as u64 * 4),
                }),
                Stage::Decode => None,
            };
            buffers.push(PlannedBuffer {
                growth,
                ..anonymous(class, stage.lifetime(), name, ElementType::F32, shape, formula)
            });
        }
    };
    let class = stage.class();
    push(class, "hidden", widths.hidden, "the residual stream");
    push(class, "input", widths.input, "a block's normed input, or what its mixer has made of it");
    push(class, "first", widths.first, "qkv, queries with gates, or the MLP's gate");
    push(class, "second", widths.second, "z, new keys, or the MLP's up");
    push(class, "values", widths.values, "new values");
    push(class, "decay", widths.gates, "decay of each value head");
    push(class, "beta", widths.gates, "write strength of each value head");
    push(
        BufferClass::Rope,
        &format!("{} cos", stage.name()),
        widths.angles,
        "cosines of the chunk's positions",
    );
    push(
        BufferClass::Rope,
        &format!("{} sin", stage.name()),
        widths.angles,
        "sines of the chunk's positions",
    );
    let (bytes, what) = scratch(config, options, group_size, stage, tokens);
    let formula = format!("{tokens} tokens: {what}");
    buffers.push(anonymous(class, stage.lifetime(), "scratch", ElementType::U8, vec![bytes.0], formula));
}

/// The smallest group of any quantised matrix: the one that gives activations the most scales.
fn smallest_group(segments: &[SegmentRecord]) -> usize {
    segments
        .iter()
        .flat_map(|segment| &segment.tensors)
        .filter_map(|tensor| tensor.format.group_size())
        .min()
        .unwrap_or(OWN_GROUP_SIZE)
}

/// What operators need for themselves, one at a time, and what it is for.
fn scratch(
    config: &ModelConfig,
    options: &RuntimeOptions,
    group_size: usize,
    stage: Stage,
    tokens: usize,
) -> (Bytes, &'static str) {
    if options.device != Device::Cpu {
        return cuda::scratch(config, options, stage, tokens);
    }
    let fc = if options.mtp { 2 * config.hidden_size } else { 0 };
    let columns = Widths::of(config, options.mtp).input.max(config.intermediate_size).max(fc);
    let quantised = linear::workspace_bytes(tokens, columns, group_size);
    let scores = attention_shape(&config.attention).workspace(options.threads);
    (quantised.max(scores), "activations in 8 bits with their scales, or the partial softmax of each thread")
}
