//! What the operators of this backend need for themselves.

use ledger::Bytes;

use crate::config::ModelConfig;
use crate::plan::{RuntimeOptions, Widths};

/// Bytes of the two scratch buffers of a pass of up to `tokens` tokens, with what they are for.
pub fn scratch(
    config: &ModelConfig,
    options: &RuntimeOptions,
    tokens: usize,
) -> [(&'static str, Bytes, &'static str); 2] {
    let widths = Widths::of(config, options.mtp);
    let fc = if options.mtp { 2 * config.hidden_size } else { 0 };
    let columns = widths.mixed.max(config.intermediate_size).max(config.hidden_size).max(fc);
    [
        ("quantised", Bytes((tokens * columns * 2) as u64), "activations in 16 bits"),
        ("scores", Bytes(1 << 20), "partial softmax of each part of the context"),
    ]
}
