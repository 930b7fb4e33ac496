//! What the operators of this backend need for themselves.

use ledger::Bytes;

use super::lower::{MOST_PARTS, packed_bytes};
use crate::config::ModelConfig;
use crate::model::shapes::delta_shape;
use crate::ops::gated_delta_rule::Shape as DeltaShape;
use crate::plan::{RuntimeOptions, Widths};

/// Counters of blocks that work on one query together, at the start of the scratch memory of attention; they are zero between
/// calls.
pub(super) const ATTENTION_COUNTERS: u64 = 4096;
/// Parts of contexts that are reduced at the same time.
pub(super) const ATTENTION_PARTS: u32 = 512;
/// Query heads that a part holds.
pub(super) const ROWS_OF_A_PART: u64 = 4;
/// Tokens of a chunk of the delta rule.
const CHUNK: u64 = 64;

/// Bytes of the two scratch buffers of a pass of up to `tokens` tokens, with what they are for.
pub fn scratch(
    config: &ModelConfig,
    options: &RuntimeOptions,
    tokens: usize,
) -> [(&'static str, Bytes, &'static str); 2] {
    let widths = Widths::of(config, options.mtp);
    let fc = if options.mtp { 2 * config.hidden_size } else { 0 };
    let columns = widths.mixed.max(config.intermediate_size).max(config.hidden_size).max(fc);
    // Parts of a product stand behind its activations, which only go back to the residual stream.
    let parts =
        if tokens > 64 { u64::from(MOST_PARTS) * (tokens * config.hidden_size * 4) as u64 } else { 0 };
    let packed = Bytes(packed_bytes(tokens as u32, columns as u32) + parts);
    let of_a_row = config.attention.head_dim as u64 + 2;
    let attention = u64::from(ATTENTION_PARTS) * ROWS_OF_A_PART * of_a_row * 4;
    let delta = config
        .linear_attention
        .as_ref()
        .map_or(0, |linear| delta_scratch(&delta_shape(linear), tokens).iter().map(|(_, bytes)| bytes).sum());
    let partial = Bytes(ATTENTION_COUNTERS * 4 + attention.max(delta));
    [
        ("quantised", packed, "activations in 16 bits with their sums, and parts of products"),
        ("scores", partial, "partial softmax of parts of the context, or chunks of the delta rule"),
    ]
}

/// What the chunked delta rule keeps for `tokens` tokens: queries, keys and values in 16 bits, W, U, M, and the sums of the decays.
/// Each as offset and bytes.
pub(super) fn delta_scratch(shape: &DeltaShape, tokens: usize) -> [(u64, u64); 7] {
    let (tokens, heads) = (tokens as u64, shape.value_heads as u64);
    let (key_dim, value_dim) = (shape.key_dim as u64, shape.value_dim as u64);
    let keys = tokens * shape.key_heads as u64 * key_dim * 2;
    let chunks = tokens.div_ceil(CHUNK) * heads * CHUNK;
    let sizes = [
        keys,
        keys,
        tokens * heads * value_dim * 2,
        chunks * key_dim * 2,
        chunks * value_dim * 2,
        chunks * CHUNK * 2,
        chunks * 4,
    ];
    let mut end = 0;
    sizes.map(|bytes| {
        let start = end;
        end += bytes.next_multiple_of(16);
        (start, bytes.next_multiple_of(16))
    })
}

/// Bytes of the numbers that change from pass to pass, and of what comes back of a search for the largest: positions, ids, parts
/// and places.
pub fn parameters(options: &RuntimeOptions) -> (usize, Bytes) {
    /// A position for each layer's append and attention, for each of the sequences of a pass, with room to spare.
    const POSITIONS: usize = 16 << 10;
    let ids = options.prefill_chunk().max(options.decode_tokens());
    let numbers = (POSITIONS + 2 * ids).next_multiple_of(4);
    let rows = options.decode_tokens().max(1);
    let largest = rows * (super::lower::ARGMAX_PARTS as usize * 8 + 4);
    (numbers, Bytes((numbers * 4 + largest.next_multiple_of(16)) as u64))
}
