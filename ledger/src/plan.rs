//! The memory plan: every buffer that a configuration needs, with its size and the formula behind it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BufferClass, Bytes, Phase, Tokens};

/// Whose buffer it is, where a target and a draft live side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The model whose tokens count.
    Target,
    /// The MTP head that proposes tokens.
    Draft,
}

/// How one element of a buffer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// Signed bytes with a scale per group.
    Int8,
    /// Nibbles with a scale per group, and a zero point where the checkpoint has one.
    Int4,
    /// Plain bytes: tables, text, alignment.
    U8,
}

/// How long a buffer's bytes are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// From load to unload.
    Resident,
    /// While a sequence lives; `bytes_per_step` says how it grows.
    PerSequence,
    /// While a prompt chunk is in hand: as much as its tokens need.
    PerPrefillChunk,
    /// While a token is being decoded.
    PerStep,
}

/// Whose memory a buffer takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryKind {
    /// The machine's main memory.
    #[default]
    Host,
    /// The memory of an accelerator.
    Device,
}

impl MemoryKind {
    /// True for main memory.
    pub fn is_host(&self) -> bool {
        *self == MemoryKind::Host
    }
}

/// What stands behind a buffer's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// Memory of the process alone.
    Anonymous,
    /// Pages of a file, shared with the page cache.
    MappedFile,
}

/// Size of a page on the machines that this runs on: what memory is committed in.
pub const PAGE: u64 = 4096;

/// How a buffer is committed that follows its tokens: in steps of `tokens`, each of `bytes`, in whole pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// Tokens that one step of the growth holds: of context, of a prompt chunk, or of one sequence in a decode step.
    pub tokens: Tokens,
    /// Bytes that one step of the growth commits.
    pub bytes: Bytes,
}

impl Growth {
    /// Bytes committed, in pages of `page`, when `context` tokens are held.
    pub fn committed(&self, context: Tokens, page: Bytes) -> Bytes {
        Bytes(u64::from(context.0.div_ceil(self.tokens.0)) * self.bytes.0).round_up(page.0)
    }
}

/// One buffer of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedBuffer {
    /// Target or draft.
    pub role: Role,
    /// What the buffer is for.
    pub class: BufferClass,
    /// The decoder layer it belongs to, where it belongs to one.
    pub layer: Option<u32>,
    /// Which of the sequences that are open at the same time it belongs to, from 0; 0 for what belongs to none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sequence: u32,
    /// The tensor's name in the checkpoint for weights, else a name that is unique within its class and layer.
    pub name: String,
    /// How its elements are stored.
    pub element: ElementType,
    /// Logical shape, outermost dimension first.
    pub shape: Vec<u64>,
    /// Bytes when fully committed.
    pub bytes: Bytes,
    /// How long they are held.
    pub lifetime: Lifetime,
    /// What stands behind them.
    pub backing: Backing,
    /// Whose memory they take.
    #[serde(default, skip_serializing_if = "MemoryKind::is_host")]
    pub memory: MemoryKind,
    /// What is committed is a multiple of this, a power of two.
    #[serde(default = "usual_page", skip_serializing_if = "is_usual_page")]
    pub page: Bytes,
    /// Set for a buffer that is committed as its sequence or its prompt chunk grows, or with each sequence of a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
    /// The size in words, with the symbols of the model's configuration.
    pub formula: String,
}

impl PlannedBuffer {
    /// Bytes held in `phase` when one sequence of `context` tokens is open (none is open before prefill).
    pub fn bytes_in(&self, phase: Phase, context: Tokens) -> Bytes {
        self.bytes_with(phase, context, 1)
    }

    /// Bytes held in `phase` when `open` sequences of `context` tokens each are open and decode together.
    pub fn bytes_with(&self, phase: Phase, context: Tokens, open: u32) -> Bytes {
        let sequence_open = matches!(phase, Phase::Prefill | Phase::Decode);
        let held = match self.lifetime {
            Lifetime::Resident => !matches!(phase, Phase::Idle | Phase::Unload),
            Lifetime::PerSequence => sequence_open && self.sequence < open,
            Lifetime::PerPrefillChunk => phase == Phase::Prefill,
            Lifetime::PerStep => sequence_open,
        };
        match (held, &self.growth) {
            (false, _) => Bytes::ZERO,
            // What a step holds follows the sequences of the step.
            (true, Some(growth)) if self.lifetime == Lifetime::PerStep => {
                growth.committed(Tokens(growth.tokens.0.saturating_mul(open)), self.page).min(self.bytes)
            }
            (true, Some(growth)) => growth.committed(context, self.page).min(self.bytes),
            (true, None) => self.bytes,
        }
    }

    /// The key under which the ledger keeps this buffer: unique within a plan.
    pub fn key(&self) -> String {
        buffer_key(self.role, self.class, self.layer, &self.name, self.sequence)
    }
}

/// The key of a buffer, see [`PlannedBuffer::key`].
pub fn buffer_key(role: Role, class: BufferClass, layer: Option<u32>, name: &str, sequence: u32) -> String {
    let role = match role {
        Role::Target => "target",
        Role::Draft => "draft",
    };
    let sequence = match sequence {
        0 => String::new(),
        further => format!("#{further}"),
    };
    match layer {
        Some(layer) => format!("{role}/{class}/{layer}/{name}{sequence}"),
        None => format!("{role}/{class}/{name}{sequence}"),
    }
}

fn is_zero(sequence: &u32) -> bool {
    *sequence == 0
}

fn usual_page() -> Bytes {
    Bytes(PAGE)
}

fn is_usual_page(page: &Bytes) -> bool {
    *page == usual_page()
}

/// Every buffer that a model with its options needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// The buffers, weights first, in layer order.
    pub buffers: Vec<PlannedBuffer>,
}

impl MemoryPlan {
    /// Bytes held in `phase` with `context` tokens open, over all buffers.
    pub fn total_in(&self, phase: Phase, context: Tokens) -> Bytes {
        self.buffers.iter().map(|buffer| buffer.bytes_in(phase, context)).sum()
    }

    /// The most that is held in any phase with `context` tokens open.
    pub fn peak(&self, context: Tokens) -> Bytes {
        Phase::ALL.iter().map(|phase| self.total_in(*phase, context)).max().unwrap_or_default()
    }

    /// Bytes held in `phase` with `context` tokens open, by class; classes that hold nothing are left out.
    pub fn by_class(&self, phase: Phase, context: Tokens) -> BTreeMap<BufferClass, Bytes> {
        self.by_class_with(phase, context, 1)
    }

    /// The same with `open` sequences of `context` tokens each.
    pub fn by_class_with(&self, phase: Phase, context: Tokens, open: u32) -> BTreeMap<BufferClass, Bytes> {
        let mut totals = BTreeMap::new();
        for buffer in &self.buffers {
            let bytes = buffer.bytes_with(phase, context, open);
            if bytes > Bytes::ZERO {
                *totals.entry(buffer.class).or_insert(Bytes::ZERO) += bytes;
            }
        }
        totals
    }

    /// Bytes held in `phase` with `context` tokens open, by memory; memory that holds nothing is left out.
    pub fn by_memory(&self, phase: Phase, context: Tokens) -> BTreeMap<MemoryKind, Bytes> {
        self.by_memory_with(phase, context, 1)
    }

    /// The same with `open` sequences of `context` tokens each.
    pub fn by_memory_with(&self, phase: Phase, context: Tokens, open: u32) -> BTreeMap<MemoryKind, Bytes> {
        let mut totals = BTreeMap::new();
        for buffer in &self.buffers {
            let bytes = buffer.bytes_with(phase, context, open);
            if bytes > Bytes::ZERO {
                *totals.entry(buffer.memory).or_insert(Bytes::ZERO) += bytes;
            }
        }
        totals
    }

    /// The buffers in `memory` alone, for every question that a plan answers.
    pub fn in_memory(&self, memory: MemoryKind) -> MemoryPlan {
        let buffers = self.buffers.iter().filter(|buffer| buffer.memory == memory);
        MemoryPlan { buffers: buffers.cloned().collect() }
    }
}
