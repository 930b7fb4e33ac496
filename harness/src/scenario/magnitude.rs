//! Where a value stands among the values of its setting or build option: which are larger and which are smaller.

use ledger::Bytes;
use runtime::plan::{DraftVocab, WeightStreaming};
use runtime::vocabulary::Vocab;

/// Settings and build options whose values have an order, as scenario files spell them.
const ORDERED: [&str; 8] = [
    "maxInputLen",
    "maxKVCacheCapacity",
    "gdnPrefillMaxSeq",
    "maxVerifyTreeSize",
    "maxBatchSize",
    "draftVocab",
    "vocab",
    "weightStreamingBudget",
];

/// True where values of `knob` can be larger and smaller than others.
pub(crate) fn has_order(knob: &str) -> bool {
    ORDERED.contains(&knob)
}

/// Where `value` stands among the values of `knob`: tokens, rows, bytes or a count. `None` where it has no place in an order.
pub(crate) fn magnitude(knob: &str, value: &str) -> Option<u64> {
    match knob {
        "vocab" => match value.parse().ok()? {
            Vocab::Full => Some(u64::MAX),
            Vocab::Rows(rows) => Some(u64::from(rows.0)),
            Vocab::File(_) => None,
        },
        "draftVocab" => match value.parse().ok()? {
            DraftVocab::Full => Some(u64::MAX),
            DraftVocab::Rows(rows) => Some(u64::from(rows)),
        },
        "weightStreamingBudget" => match value.parse().ok()? {
            WeightStreaming::Unset => Some(u64::MAX),
            WeightStreaming::Off => None,
            WeightStreaming::Min => Some(0),
            WeightStreaming::Budget(Bytes(bytes)) => Some(bytes),
        },
        _ if has_order(knob) => value.parse().ok(),
        _ => None,
    }
}

/// True where `a` and `b` are the same value of `knob`, however they are written: `32k` and `32768` are.
pub(crate) fn is_same(knob: &str, a: &str, b: &str) -> bool {
    a == b || magnitude(knob, a).is_some_and(|own| magnitude(knob, b) == Some(own))
}
