//! Operators as they are recorded: what the model asked for, with addresses.

use super::memory::Address;
use crate::ops::Heads;
use crate::ops::attention::{KvCacheType, Shape as AttentionShape};
use crate::ops::gated_delta_rule::Shape as DeltaShape;

/// How a matrix is stored; the numbers are those of `ops/linear/kernel.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Format {
    Int4 = 0,
    Int8 = 1,
    F16 = 2,
    Bf16 = 3,
    F32 = 4,
}

impl Format {
    pub(super) fn is_quantised(self) -> bool {
        matches!(self, Format::Int4 | Format::Int8)
    }
}

/// A matrix in the GPU's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MatrixAt {
    pub(super) values: Address,
    /// 0 where there are none.
    pub(super) scales: Address,
    /// 0 where every zero point is 8.
    pub(super) zeros: Address,
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) format: Format,
    /// Columns that share a scale.
    pub(super) group_size: u32,
    pub(super) bf16_scales: bool,
}

/// One output of [`Op::Linear`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProjectionAt {
    pub(super) matrix: MatrixAt,
    pub(super) out: Address,
    /// Outputs of a row of `out`, which may be more than those of the matrix.
    pub(super) stride: u32,
    pub(super) add: bool,
}

/// The most outputs of one [`Op::Linear`].
pub(super) const PROJECTIONS: usize = 4;

/// An operator. Addresses are those of the first row of the call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Op {
    Embed {
        table: MatrixAt,
        ids: Address,
        tokens: u32,
        out: Address,
    },
    RmsNorm {
        x: Address,
        rows: u32,
        weight: Address,
        width: u32,
        eps: f32,
        out: Address,
    },
    NormHeads {
        x: Address,
        heads: Heads,
        weight: Address,
        eps: f32,
    },
    GatedNorm {
        x: Address,
        elements: u32,
        gate: Address,
        weight: Address,
        width: u32,
        eps: f32,
    },
    Linear {
        x: Address,
        tokens: u32,
        columns: u32,
        projections: [Option<ProjectionAt>; PROJECTIONS],
        scratch: Address,
        /// Bytes of `scratch`.
        room: u64,
    },
    RopeAngles {
        first: Address,
        rows: u32,
        rotary: u32,
        theta: f32,
        cos: Address,
        sin: Address,
    },
    Rope {
        x: Address,
        heads: Heads,
        rotary: u32,
        cos: Address,
        sin: Address,
    },
    AppendKv {
        shape: AttentionShape,
        cache: KvCacheType,
        first: Address,
        tokens: u32,
        keys: Address,
        values: Address,
        /// The layer's first block of keys in the cache, and of values.
        key_cache: Address,
        value_cache: Address,
        /// Bytes from one block to the next.
        block_stride: u32,
    },
    Attention {
        shape: AttentionShape,
        cache: KvCacheType,
        first: Address,
        /// Blocks of the cache that the last query looks at, up to the next power of two: passes of about the same length are alike.
        blocks: u32,
        tokens: u32,
        queries: Address,
        heads: Heads,
        /// The layer's first block of keys in the cache, and of values.
        keys: Address,
        values: Address,
        /// Bytes from one block to the next.
        block_stride: u32,
        out: Address,
        scratch: Address,
        /// Bytes of `scratch`.
        room: u64,
    },
    OutputGate {
        x: Address,
        gate: Address,
        heads: Heads,
    },
    Convolve {
        channels: u32,
        tokens: u32,
        undecided: bool,
        taps: Address,
        kernel: u32,
        x: Address,
        window: Address,
    },
    CommitConvolution {
        channels: u32,
        kept: u32,
        tokens: u32,
        window: Address,
    },
    DeltaGates {
        a: Address,
        b: Address,
        negated_decay: Address,
        dt_bias: Address,
        heads: u32,
        tokens: u32,
    },
    Delta {
        shape: DeltaShape,
        tokens: u32,
        qkv: Address,
        decay: Address,
        beta: Address,
        state: Address,
        /// 0: the state moves on.
        log: Address,
        out: Address,
        /// What the chunked form may use.
        scratch: Address,
    },
    CommitDelta {
        shape: DeltaShape,
        tokens: u32,
        log: Address,
        state: Address,
    },
    SwiGlu {
        elements: u64,
        gate: Address,
        up: Address,
    },
    CopyRows {
        from: Address,
        to: Address,
        count: u64,
    },
    GatherRows {
        x: Address,
        rows: Address,
        count: u32,
        width: u32,
    },
    ConcatRows {
        left: Address,
        right: Address,
        out: Address,
        rows: u32,
        width: u32,
    },
    ReadAll {
        from: Address,
        bytes: u64,
        out: Address,
    },
    Argmax {
        x: Address,
        rows: u32,
        width: u32,
        parts: Address,
        places: Address,
    },
}
