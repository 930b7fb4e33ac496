//! What a device offers to a model: memory by plan key, and one method for each operator.
//!
//! A model is written once against this trait and knows no device. Tensors are whole planned buffers; how many of their
//! elements count follows from the token count and the shapes that each call states. Activations are f32, row-major,
//! one row a token.

use std::ops::Range;

use crate::memory::MemoryError;
use crate::ops::attention::{CacheLayer, Shape as AttentionShape};
use crate::ops::gated_delta_rule::Shape as DeltaShape;
use crate::ops::{Heads, Store};

/// A planned buffer on the device.
pub trait Tensor {
    /// Puts memory behind the first `bytes`. Never shrinks.
    fn commit(&mut self, bytes: u64) -> Result<(), MemoryError>;
}

/// One output of [`Operators::linear`].
pub struct Projection<'a, W, T> {
    /// The matrix [outputs, inputs].
    pub weight: &'a W,
    /// [tokens, outputs].
    pub out: &'a mut T,
    /// Whether the product replaces what stands in `out` or is added to it.
    pub store: Store,
}

/// The keys and values of one attention layer of one sequence, in blocks of
/// [`crate::ops::attention::BLOCK_TOKENS`] tokens.
#[derive(Debug)]
pub struct LayerCache<'a, T> {
    /// [blocks, layers, keys and values, kv heads, block tokens, head dim], of all layers of the sequence.
    pub blocks: &'a mut T,
    /// The layer among them.
    pub layer: CacheLayer,
}

/// What becomes of the tokens of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// They count: states move on with them.
    All,
    /// Some may be rejected: states stay, and what would move them on is kept beside them until it is known.
    Undecided,
}

/// The rows of a log of updates that belong to one layer.
#[derive(Debug)]
pub struct LogRows<'a, T> {
    /// [layers, tokens, row], see [`DeltaShape::log_row`].
    pub log: &'a mut T,
    /// The layer's first element.
    pub first: usize,
}

/// A device with its operators. Each method's mathematics stands in the module of the same name under [`crate::ops`].
pub trait Operators {
    /// A planned buffer.
    type Tensor: Tensor;
    /// A weight of the loaded engine.
    type Weight;

    /// Address space for the planned buffer `key`.
    fn reserve(&self, key: &str) -> Result<Self::Tensor, MemoryError>;
    /// The planned buffer `key`, committed whole.
    fn allocate(&self, key: &str) -> Result<Self::Tensor, MemoryError>;

    /// Says which weights will be multiplied with from now on, in order; a device that reads weights while it computes reads them
    /// ahead. Replaces what was said before. A wrong guess costs time and nothing else.
    fn upcoming(&self, _weights: &mut dyn Iterator<Item = &Self::Weight>) {}

    /// Rows `ids` of the table [vocabulary, hidden] into `out` [ids, hidden].
    fn embed(&self, table: &Self::Weight, ids: &[u32], out: &mut Self::Tensor);
    /// `rows` of `x`, normed, into the first rows of `out`.
    fn rms_norm(
        &self,
        x: &Self::Tensor,
        rows: Range<usize>,
        weight: &Self::Weight,
        eps: f32,
        out: &mut Self::Tensor,
    );
    /// Every head of `x` normed in place.
    fn rms_norm_heads(&self, x: &mut Self::Tensor, heads: Heads, weight: &Self::Weight, eps: f32);
    /// Rows of `x` [tokens·heads, width] normed and multiplied by silu(gate), in place.
    fn rms_norm_gated(
        &self,
        x: &mut Self::Tensor,
        elements: usize,
        gate: &Self::Tensor,
        weight: &Self::Weight,
        eps: f32,
    );
    /// `x` [tokens, inputs] times each projection's matrix.
    fn linear(
        &self,
        x: &Self::Tensor,
        tokens: usize,
        projections: &mut [Projection<'_, Self::Weight, Self::Tensor>],
        scratch: &mut Self::Tensor,
    );
    /// Cosines and sines of the rotary angles of positions from `first`, into `rows`.
    fn rope_angles(
        &self,
        first: usize,
        rows: Range<usize>,
        rotary_dims: usize,
        theta: f64,
        cos: &mut Self::Tensor,
        sin: &mut Self::Tensor,
    );
    /// Rotates the first `rotary_dims` of every head in place.
    fn rope(
        &self,
        x: &mut Self::Tensor,
        heads: Heads,
        rotary_dims: usize,
        cos: &Self::Tensor,
        sin: &Self::Tensor,
    );
    /// Writes `rows` of new keys and values [tokens, kv heads, head dim] at positions from `first`.
    fn append_kv(
        &self,
        shape: &AttentionShape,
        first: usize,
        rows: Range<usize>,
        keys: &Self::Tensor,
        values: &Self::Tensor,
        cache: &mut LayerCache<'_, Self::Tensor>,
    );
    /// Causal attention of `rows` of the queries, from position `first`, into `out` [tokens, query heads, head dim].
    #[expect(clippy::too_many_arguments, reason = "an attention has this many operands")]
    fn attention(
        &self,
        shape: &AttentionShape,
        first: usize,
        rows: Range<usize>,
        queries: &Self::Tensor,
        heads: Heads,
        cache: &LayerCache<'_, Self::Tensor>,
        out: &mut Self::Tensor,
        scratch: &mut Self::Tensor,
    );
    /// `x` [tokens, heads, width] times sigmoid of the gate, whose first element stands at `gate_offset`.
    fn output_gate(&self, x: &mut Self::Tensor, gate: &Self::Tensor, gate_offset: usize, gate_heads: Heads);
    /// Depthwise causal convolution and SiLU over `rows` of `x` [tokens, channels] in place. `window` carries the last
    /// inputs; where tokens may be rejected, their inputs follow in it.
    fn causal_conv1d(
        &self,
        channels: usize,
        rows: Range<usize>,
        keep: Keep,
        taps: &Self::Weight,
        x: &mut Self::Tensor,
        window: &mut Self::Tensor,
    );
    /// Moves a window of `kept` rows on by `tokens` of the inputs behind them.
    fn commit_conv1d(&self, channels: usize, kept: usize, tokens: usize, window: &mut Self::Tensor);
    /// `a` becomes the log decay g and `b` the write strength beta, both [tokens, value heads].
    fn delta_gates(
        &self,
        tokens: usize,
        a: &mut Self::Tensor,
        b: &mut Self::Tensor,
        negated_decay: &Self::Weight,
        dt_bias: &Self::Weight,
    );
    /// The gated delta rule over `rows` from `state`; `out` is [tokens, value heads, value dim]. Without a log the state
    /// moves on; with one it stays, and the updates go to the log.
    #[expect(clippy::too_many_arguments, reason = "the recurrence has this many operands")]
    fn gated_delta_rule(
        &self,
        shape: &DeltaShape,
        rows: Range<usize>,
        qkv: &Self::Tensor,
        decay: &Self::Tensor,
        beta: &Self::Tensor,
        state: &mut Self::Tensor,
        log: Option<LogRows<'_, Self::Tensor>>,
        out: &mut Self::Tensor,
        scratch: &mut Self::Tensor,
    );
    /// Moves `state` on by the first `tokens` of the log.
    fn commit_delta_rule(
        &self,
        shape: &DeltaShape,
        log: LogRows<'_, Self::Tensor>,
        tokens: usize,
        state: &mut Self::Tensor,
    );
    /// The first `elements` of `gate` become silu(gate)·up.
    fn swiglu(&self, elements: usize, gate: &mut Self::Tensor, up: &Self::Tensor);
    /// `rows` of `from`, `width` elements each, to the rows of `to` from `at` on.
    fn copy_rows(
        &self,
        from: &Self::Tensor,
        rows: Range<usize>,
        width: usize,
        to: &mut Self::Tensor,
        at: usize,
    );
    /// `rows` of `x`, in ascending order, become its first ones.
    fn gather_rows(&self, x: &mut Self::Tensor, rows: &[usize], width: usize);
    /// Rows of `left` and `right`, `width` elements each, side by side: `out` is [tokens, 2·width].
    fn concat_rows(
        &self,
        left: &Self::Tensor,
        right: &Self::Tensor,
        tokens: usize,
        width: usize,
        out: &mut Self::Tensor,
    );
    /// The place of the largest of each of `rows` of `x` [rows, width], the first of several, for the host; `None` for a row that is
    /// no choice, as [`crate::ops::largest`] has it.
    fn argmax_rows(&self, x: &Self::Tensor, rows: Range<usize>, width: usize) -> Vec<Option<u32>>;
    /// Some `elements` of a tensor, for the host.
    fn read<'a>(&self, tensor: &'a Self::Tensor, elements: Range<usize>) -> std::borrow::Cow<'a, [f32]>;
}
