//! What the operators of this backend need for themselves: one piece of memory, whose content nobody wants any more when the next
//! operator begins.

use ledger::Bytes;

use super::lower::{MOST_PARTS, packed_bytes};
use super::step_store::StepStore;
use crate::config::ModelConfig;
use crate::model::shapes::{attention_shape, delta_shape};
use crate::ops::attention::Shape as AttentionShape;
use crate::ops::gated_delta_rule::Shape as DeltaShape;
use crate::plan::{RuntimeOptions, Stage, Widths};

/// Parts of contexts that are put together at the same time, at most.
const ATTENTION_PARTS: u64 = 512;
/// Parts of a context, at most: what they leave of one token stays below a page.
const MOST_SPLITS: u32 = 60;
/// Query rows that a team of a persistent kernel attends with at most.
const MOST_ROWS: u32 = 8;
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
    (Bytes(largest), what)
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

/// How attention to few tokens is divided: into groups of query rows that share a KV head, and parts of the context of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// Query rows of a group.
    pub(super) rows: u32,
    /// Groups.
    pub(super) across: u32,
    /// Bytes that a part leaves: sums, a largest score and a total for each row.
    bytes: u64,
}

impl Parts {
    /// One token, by a persistent kernel.
    pub(super) fn of_one(shape: &AttentionShape) -> Parts {
        Parts::of(shape, (shape.group() as u32).min(MOST_ROWS))
    }

    /// Some tokens, each by itself.
    pub(super) fn of_few(shape: &AttentionShape) -> Parts {
        Parts::of(shape, if shape.group() <= 2 { 2 } else { 4 })
    }

    fn of(shape: &AttentionShape, rows: u32) -> Parts {
        let across = shape.kv_heads as u32 * (shape.group() as u32).div_ceil(rows);
        Parts { rows, across, bytes: u64::from(rows) * (shape.head_dim as u64 + 2) * 4 }
    }

    /// Parts of the context of each of `tokens` tokens of which `room` bytes hold what they leave: at least one, which leaves nothing.
    pub(super) fn splits(&self, tokens: u32, room: u64) -> u32 {
        let parts = (room / self.bytes).min(ATTENTION_PARTS) as u32;
        (parts / (self.across * tokens)).clamp(1, MOST_SPLITS)
    }

    /// Bytes of what the parts of up to `tokens` tokens leave.
    fn bytes(&self, tokens: usize) -> u64 {
        let parts = u64::from(self.across * MOST_SPLITS).saturating_mul(tokens as u64).min(ATTENTION_PARTS);
        parts * self.bytes
    }
}

/// What attention of up to `tokens` tokens of a sequence needs.
pub(super) fn attention_bytes(shape: &AttentionShape, tokens: usize) -> u64 {
    let of_few = if tokens > 1 { Parts::of_few(shape).bytes(tokens) } else { 0 };
    // Caches that no persistent kernel attends to have no more parts of one token.
    Parts::of_one(shape).bytes(1).max(Parts::of_few(shape).bytes(1)).max(of_few)
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

/// Bytes of the steps of passes of one token, as the persistent kernel reads them.
pub fn steps(config: &ModelConfig) -> Bytes {
    /// Steps of a layer at most, and those before and behind the layers.
    const OF_A_LAYER: usize = 6;
    const AROUND: usize = 16;
    Bytes(StepStore::bytes(OF_A_LAYER * config.layers.len() + AROUND))
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
                for tokens in 1..=tokens as u32 {
                    for parts in [Parts::of_one(&shape), Parts::of_few(&shape)] {
                        let splits = |room| parts.splits(tokens, room);
                        let of_one = parts.rows == Parts::of_one(&shape).rows;
                        if tokens > 1 && of_one && parts.rows != Parts::of_few(&shape).rows {
                            continue;
                        }
                        assert_eq!(splits(planned.0), splits(u64::MAX), "{model}, {tokens} of {verified}");
                    }
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
        assert_eq!(of(Stage::Prefill, 512), Bytes(back));
        let shape = delta_shape(config.linear_attention.as_ref().unwrap());
        assert!(delta_bytes(&shape, 512) < back && packed_bytes(512, 9216) < back);
        // Without parts of products it is the delta rule that needs most.
        assert_eq!(of(Stage::Prefill, 64), Bytes(delta_bytes(&shape, 64)));
        // A token: four KV heads, each with 60 parts of four query heads of 256.
        assert_eq!(of(Stage::Decode, 1), Bytes(4 * 60 * 4 * 258 * 4));
    }
}
