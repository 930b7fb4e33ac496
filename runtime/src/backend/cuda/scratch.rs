//! What the operators of this backend need for themselves: one piece of memory, whose content nobody wants any more when the next
//! operator begins. In front stand the counters of attention, which are zero between calls and never anybody else's.

use ledger::Bytes;

use super::lower::{MOST_PARTS, packed_bytes};
use crate::config::ModelConfig;
use crate::model::shapes::{attention_shape, delta_shape};
use crate::ops::attention::Shape as AttentionShape;
use crate::ops::gated_delta_rule::Shape as DeltaShape;
use crate::plan::{RuntimeOptions, Stage, Widths};

/// Counters of blocks that work on one query together.
const ATTENTION_COUNTERS: u64 = 4096;
/// What stands in front, in bytes.
pub(super) const COUNTER_BYTES: u64 = ATTENTION_COUNTERS * 4;
/// Parts of contexts that are reduced at the same time, at most.
const ATTENTION_PARTS: u64 = 512;
/// Parts of a context that one block puts together at most.
pub(super) const MOST_SPLITS: u32 = 32;
/// The fewest tokens for which the chunked delta rule is worth its preparation.
pub(super) const CHUNKED: u32 = 16;
/// Tokens of its chunks.
const CHUNK: u64 = 64;

/// Bytes of the scratch memory of a pass of up to `tokens` tokens, and what it is for.
pub fn scratch(
    config: &ModelConfig,
    options: &RuntimeOptions,
    stage: Stage,
    tokens: usize,
) -> (Bytes, &'static str) {
    let of_a_sequence = match stage {
        Stage::Prefill => tokens,
        Stage::Decode => options.sequence_tokens(),
    };
    let attention = attention_bytes(&attention_shape(&config.attention), of_a_sequence);
    let delta = config.linear_attention.as_ref().filter(|_| of_a_sequence >= CHUNKED as usize);
    let delta = delta.map_or(0, |linear| delta_bytes(&delta_shape(linear), of_a_sequence));
    let largest = linear_bytes(config, options.mtp, tokens).max(attention).max(delta);
    let what = "activations in 16 bits and parts of products, partial softmax of parts of the context, or chunks of the delta rule";
    (Bytes(COUNTER_BYTES + largest), what)
}

/// What products need: activations in 16 bits, and behind them parts of what goes back to the residual stream. The MLP's way back
/// reads its activations where its first half has left them; where that does not work out, there are fewer parts.
fn linear_bytes(config: &ModelConfig, drafting: bool, tokens: usize) -> u64 {
    let fc = if drafting { 2 * config.hidden_size } else { 0 };
    let back = Widths::of(config, drafting).input.max(fc);
    let parts =
        if tokens > 64 { u64::from(MOST_PARTS) * (tokens * config.hidden_size * 4) as u64 } else { 0 };
    let packed = |columns: usize| packed_bytes(tokens as u32, columns as u32);
    packed(config.intermediate_size).max(packed(back) + parts)
}

/// Query heads of a group that `attend_few` has in a block, and its blocks across all heads.
pub(super) fn few_rows(shape: &AttentionShape) -> (u32, u32) {
    let group = shape.group() as u32;
    let rows = if group <= 2 { 2 } else { 4 };
    (rows, shape.kv_heads as u32 * group.div_ceil(rows))
}

/// Bytes of a part of a context: sums, a largest score and a total for each of `rows` query heads.
fn part_bytes(shape: &AttentionShape, rows: u32) -> u64 {
    u64::from(rows) * (shape.head_dim as u64 + 2) * 4
}

/// What attention of up to `tokens` tokens of a sequence needs.
pub(super) fn attention_bytes(shape: &AttentionShape, tokens: usize) -> u64 {
    let (rows, across) = few_rows(shape);
    let parts = u64::from(across * MOST_SPLITS).saturating_mul(tokens as u64).min(ATTENTION_PARTS);
    parts * part_bytes(shape, rows)
}

/// Parts of contexts that `room` bytes of scratch memory hold beside the counters.
pub(super) fn attention_parts(shape: &AttentionShape, room: u64) -> u32 {
    let parts = room.saturating_sub(COUNTER_BYTES) / part_bytes(shape, few_rows(shape).0);
    parts.min(ATTENTION_PARTS) as u32
}

/// What the chunked delta rule needs for `tokens` tokens.
pub(super) fn delta_bytes(shape: &DeltaShape, tokens: usize) -> u64 {
    delta_scratch(shape, tokens).iter().map(|(_, bytes)| bytes).sum()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Device;
    use ledger::Tokens;

    /// What is planned never holds attention back: a context is divided as it would be with any amount of memory.
    #[test]
    fn attention_has_room_for_all_the_parts_that_it_may_make() {
        for model in ["Qwen3.5-4B", "Qwen3.5-0.8B", "Qwen3-4B", "Qwen3-0.6B"] {
            let config = ModelConfig::published(model).unwrap();
            let shape = attention_shape(&config.attention);
            let mut options = RuntimeOptions::new(Tokens(4096), 1);
            (options.device, options.mtp) = (Device::Cuda { ordinal: 0 }, true);
            for verified in [1, 2, 4, 8] {
                options.max_verify_tree_size = verified;
                let tokens = options.sequence_tokens();
                let (planned, _) = scratch(&config, &options, Stage::Decode, options.decode_tokens());
                let (_, across) = few_rows(&shape);
                for tokens in 1..=tokens as u32 {
                    let splits = |room| MOST_SPLITS.min(attention_parts(&shape, room) / (across * tokens));
                    assert_eq!(splits(planned.0), splits(u64::MAX), "{model}, {tokens} of {verified}");
                }
            }
        }
    }

    #[test]
    fn operators_share_their_memory() {
        let config = ModelConfig::published("Qwen3.5-4B").unwrap();
        let options =
            RuntimeOptions { device: Device::Cuda { ordinal: 0 }, ..RuntimeOptions::new(Tokens(4096), 1) };
        let of = |stage, tokens| scratch(&config, &options, stage, tokens).0;
        // 4096 outputs of a mixer in 16 bits with their sums, and three parts of the residual stream.
        let back = packed_bytes(512, 4096) + 3 * 512 * 2560 * 4;
        assert_eq!(of(Stage::Prefill, 512), Bytes(COUNTER_BYTES + back));
        let shape = delta_shape(config.linear_attention.as_ref().unwrap());
        assert!(delta_bytes(&shape, 512) < back && packed_bytes(512, 9216) < back);
        // Without parts of products it is the delta rule that needs most.
        assert_eq!(of(Stage::Prefill, 64), Bytes(COUNTER_BYTES + delta_bytes(&shape, 64)));
        // A token: four KV heads, each with 32 parts of four query heads of 256.
        assert_eq!(of(Stage::Decode, 1), Bytes(COUNTER_BYTES + 4 * 32 * 4 * 258 * 4));
    }
}
