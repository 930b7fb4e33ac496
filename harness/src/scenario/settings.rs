//! What a target is started with and what an engine is built with, by the names that people type.

use std::collections::BTreeMap;
use std::str::FromStr;

use ledger::Tokens;
use runtime::backend::cpu::Pool;
use runtime::plan::{self, DeviceChoice, DraftVocab, RuntimeOptions, WeightStreaming};
use runtime::vocabulary::Vocab;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hex_sha256;

/// A value was refused: what its place takes instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub String);

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The word in scenario files and on command lines.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = Expected;

            fn from_str(text: &str) -> Result<$name, Expected> {
                match text {
                    $($text => Ok($name::$variant),)*
                    _ => Err(Expected([$($text),*].join(", "))),
                }
            }
        }
    };
}

choice! {
    /// How keys and values are stored.
    KvCacheType {
        /// Half precision.
        F16 = "f16",
        /// Signed bytes with a scale for each token and KV head.
        Int8 = "int8",
        /// Single precision: for comparisons.
        F32 = "f32",
    }
}

impl KvCacheType {
    /// The runtime's form.
    pub const fn in_runtime(self) -> plan::KvCacheType {
        match self {
            KvCacheType::F16 => plan::KvCacheType::F16,
            KvCacheType::Int8 => plan::KvCacheType::Int8,
            KvCacheType::F32 => plan::KvCacheType::F32,
        }
    }
}

choice! {
    /// Arithmetic on a CPU. A GPU has one path.
    Precision {
        /// Activations in bytes, with a scale for each group.
        Fast = "fast",
        /// f32 from the dequantised weights: for comparisons.
        Exact = "exact",
    }
}

impl Precision {
    /// The runtime's form.
    pub const fn in_runtime(self) -> plan::Precision {
        match self {
            Precision::Fast => plan::Precision::Fast,
            Precision::Exact => plan::Precision::Exact,
        }
    }
}

choice! {
    /// Where a weight's bytes are while a kernel reads them.
    WeightPlacement {
        /// Pages of the engine file, through the page cache.
        Mapped = "mapped",
        /// Copied into memory of the process.
        Resident = "resident",
    }
}

choice! {
    /// How the output head is stored; with tied embeddings it is the embedding table, too.
    LmHead {
        /// Bytes with a scale per group.
        Int8 = "int8",
        /// Nibbles with a scale per group.
        Int4 = "int4",
        /// Half precision.
        F16 = "f16",
    }
}

choice! {
    /// What becomes of projections that the checkpoint holds in 16 bits.
    Linears {
        /// They stay as they are.
        Keep = "keep",
        /// They are quantised to nibbles.
        Int4 = "int4",
        /// They are quantised to bytes.
        Int8 = "int8",
    }
}

/// Worker threads of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Threads {
    /// As many as the machine offers.
    Auto,
    /// Exactly so many.
    Count(u32),
}

/// What a target is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Where the target runs.
    pub device: DeviceChoice,
    /// Longest prompt that is accepted.
    pub max_input_len: Tokens,
    /// Tokens of context that the KV cache can hold, prompt and output together.
    pub max_kv_cache_capacity: Tokens,
    /// Tokens of a prefill chunk.
    pub gdn_prefill_max_seq: Tokens,
    /// Worker threads.
    pub threads: Threads,
    /// How keys and values are stored.
    pub kv_cache_type: KvCacheType,
    /// Where weights are.
    pub weights: WeightPlacement,
    /// Whether the MTP head drafts.
    pub mtp: bool,
    /// Tokens of a verification.
    pub max_verify_tree_size: u32,
    /// Rows of the table that the draft scores.
    pub draft_vocab: DraftVocab,
    /// How much of the weights stays resident.
    pub weight_streaming_budget: WeightStreaming,
    /// Sequences that are decoded together.
    pub max_batch_size: u32,
    /// Arithmetic.
    pub precision: Precision,
}

/// What an engine is built with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BuildOptions {
    /// The output head.
    pub lm_head: LmHead,
    /// Projections that the checkpoint holds in 16 bits.
    pub linears: Linears,
    /// The rows of the table that the engine holds.
    pub vocab: Vocab,
}

impl Default for BuildOptions {
    fn default() -> BuildOptions {
        BuildOptions { lm_head: LmHead::Int8, linears: Linears::Keep, vocab: Vocab::Full }
    }
}

impl BuildOptions {
    /// Everything as the checkpoint stores it: what quality is held against.
    pub fn exact() -> BuildOptions {
        BuildOptions { lm_head: LmHead::F16, linears: Linears::Keep, vocab: Vocab::Full }
    }

    /// The names, as scenario files spell them.
    pub const NAMES: [&'static str; 3] = ["lmHead", "linears", "vocab"];

    /// Sets the option `name` from its text. `None` where there is no such option.
    pub fn set(&mut self, name: &str, text: &str) -> Option<Result<(), Expected>> {
        Some(match name {
            "lmHead" => text.parse().map(|value| self.lm_head = value),
            "linears" => text.parse().map(|value| self.linears = value),
            "vocab" => text.parse().map(|value| self.vocab = value).map_err(Expected),
            _ => return None,
        })
    }

    /// Every option by name.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        [
            ("lmHead", self.lm_head.name().to_owned()),
            ("linears", self.linears.name().to_owned()),
            ("vocab", self.vocab.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// SHA-256 of the file of ids that an option names: it stands for what is in it. Empty where there is no file to read.
    pub fn contents(&self) -> String {
        match &self.vocab {
            Vocab::File(path) => std::fs::read(path).map_or_else(|_| String::new(), |ids| hex_sha256(&ids)),
            Vocab::Full | Vocab::Rows(_) => String::new(),
        }
    }
}

/// Settings while they are put together: the capacity of the KV cache may still follow from the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsDraft {
    device: DeviceChoice,
    max_input_len: Tokens,
    max_kv_cache_capacity: Option<Tokens>,
    gdn_prefill_max_seq: Tokens,
    threads: Threads,
    kv_cache_type: KvCacheType,
    weights: WeightPlacement,
    mtp: bool,
    max_verify_tree_size: u32,
    draft_vocab: DraftVocab,
    weight_streaming_budget: WeightStreaming,
    max_batch_size: u32,
    precision: Precision,
}

impl Default for SettingsDraft {
    fn default() -> SettingsDraft {
        SettingsDraft {
            // The same bytes on every machine, whatever is in it.
            device: DeviceChoice::Cpu,
            max_input_len: Tokens(4096),
            max_kv_cache_capacity: None,
            gdn_prefill_max_seq: Tokens(256),
            threads: Threads::Auto,
            kv_cache_type: KvCacheType::F16,
            weights: WeightPlacement::Mapped,
            mtp: false,
            max_verify_tree_size: RuntimeOptions::DEFAULT_VERIFY_TREE,
            draft_vocab: DraftVocab::default(),
            weight_streaming_budget: WeightStreaming::Unset,
            max_batch_size: 1,
            precision: Precision::Fast,
        }
    }
}

impl Threads {
    /// How many: the processors of this machine, or as many as were asked for.
    pub fn resolve(self) -> usize {
        match self {
            Threads::Auto => Pool::default_threads(),
            Threads::Count(count) => count as usize,
        }
    }
}

impl FromStr for Threads {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Threads, Expected> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Threads::Auto),
            (_, Ok(count @ 1..=1024)) => Ok(Threads::Count(count)),
            _ => Err(Expected("auto, or a number from 1 to 1024".to_owned())),
        }
    }
}

/// A plain count of tokens: no unit, because it is not a size.
fn tokens(text: &str) -> Result<Tokens, Expected> {
    match text.parse() {
        Ok(count @ 1..=1_048_576) => Ok(Tokens(count)),
        _ => Err(Expected("a number of tokens from 1 to 1048576, without a unit".to_owned())),
    }
}

/// A count within `range`.
fn count(text: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, Expected> {
    let expected = || Expected(format!("a number from {} to {}", range.start(), range.end()));
    text.parse().ok().filter(|count| range.contains(count)).ok_or_else(expected)
}

/// `true` or `false`.
fn switch(text: &str) -> Result<bool, Expected> {
    text.parse().map_err(|_| Expected("true or false".to_owned()))
}

impl SettingsDraft {
    /// The names, as scenario files spell them.
    pub const NAMES: [&'static str; 13] = [
        "maxInputLen",
        "maxKVCacheCapacity",
        "gdnPrefillMaxSeq",
        "threads",
        "kvCacheType",
        "weights",
        "mtp",
        "maxVerifyTreeSize",
        "draftVocab",
        "weightStreamingBudget",
        "maxBatchSize",
        "device",
        "precision",
    ];

    /// Sets the setting `name` from its text. `None` where there is no such setting.
    pub fn set(&mut self, name: &str, text: &str) -> Option<Result<(), Expected>> {
        Some(match name {
            "device" => text.parse().map(|value| self.device = value).map_err(Expected),
            "maxInputLen" => tokens(text).map(|value| self.max_input_len = value),
            "maxKVCacheCapacity" => tokens(text).map(|value| self.max_kv_cache_capacity = Some(value)),
            "gdnPrefillMaxSeq" => tokens(text).map(|value| self.gdn_prefill_max_seq = value),
            "threads" => text.parse().map(|value| self.threads = value),
            "kvCacheType" => text.parse().map(|value| self.kv_cache_type = value),
            "weights" => text.parse().map(|value| self.weights = value),
            "precision" => text.parse().map(|value| self.precision = value),
            "mtp" => switch(text).map(|value| self.mtp = value),
            "maxVerifyTreeSize" => count(text, 2..=RuntimeOptions::MAX_VERIFY_TREE)
                .map(|value| self.max_verify_tree_size = value),
            "draftVocab" => text.parse().map(|value| self.draft_vocab = value).map_err(Expected),
            "weightStreamingBudget" => {
                text.parse().map(|value| self.weight_streaming_budget = value).map_err(Expected)
            }
            "maxBatchSize" => {
                count(text, 1..=RuntimeOptions::MAX_BATCH).map(|value| self.max_batch_size = value)
            }
            _ => return None,
        })
    }

    /// The longest prompt that the target will accept.
    pub fn max_input_len(&self) -> Tokens {
        self.max_input_len
    }

    /// Whole settings. Where no capacity was named, it is what `maxInputLen` and `output` tokens need, rounded up to 64.
    pub fn resolve(self, output: Tokens) -> Settings {
        let needed = (self.max_input_len.0.saturating_add(output.0)).next_multiple_of(64);
        Settings {
            device: self.device,
            max_input_len: self.max_input_len,
            max_kv_cache_capacity: self.max_kv_cache_capacity.unwrap_or(Tokens(needed)),
            gdn_prefill_max_seq: self.gdn_prefill_max_seq,
            threads: self.threads,
            kv_cache_type: self.kv_cache_type,
            weights: self.weights,
            mtp: self.mtp,
            max_verify_tree_size: self.max_verify_tree_size,
            draft_vocab: self.draft_vocab,
            weight_streaming_budget: self.weight_streaming_budget,
            max_batch_size: self.max_batch_size,
            precision: self.precision,
        }
    }
}

impl Settings {
    /// Every setting by name.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let threads = match self.threads {
            Threads::Auto => "auto".to_owned(),
            Threads::Count(count) => count.to_string(),
        };
        [
            ("device", self.device.to_string()),
            ("maxInputLen", self.max_input_len.0.to_string()),
            ("maxKVCacheCapacity", self.max_kv_cache_capacity.0.to_string()),
            ("gdnPrefillMaxSeq", self.gdn_prefill_max_seq.0.to_string()),
            ("threads", threads),
            ("kvCacheType", self.kv_cache_type.name().to_owned()),
            ("weights", self.weights.name().to_owned()),
            ("mtp", self.mtp.to_string()),
            ("maxVerifyTreeSize", self.max_verify_tree_size.to_string()),
            ("draftVocab", self.draft_vocab.to_string()),
            ("weightStreamingBudget", self.weight_streaming_budget.to_string()),
            ("maxBatchSize", self.max_batch_size.to_string()),
            ("precision", self.precision.name().to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_set_and_comes_back() {
        let mut draft = SettingsDraft::default();
        let values = [
            "1024", "2048", "128", "2", "f16", "resident", "true", "3", "16k", "1GiB", "2", "cuda:1", "exact",
        ];
        for (name, value) in SettingsDraft::NAMES.iter().zip(values) {
            assert_eq!(draft.set(name, value), Some(Ok(())), "{name}");
        }
        let map = draft.resolve(Tokens(1)).to_map();
        for (name, value) in SettingsDraft::NAMES.iter().zip(values) {
            assert_eq!(map[*name], value, "{name}");
        }
        for element in ["f16", "int8", "f32"] {
            assert_eq!(draft.set("kvCacheType", element), Some(Ok(())), "{element}");
            assert_eq!(draft.resolve(Tokens(1)).to_map()["kvCacheType"], element);
        }
        assert!(draft.set("kvCacheType", "int4").is_some_and(|result| result.is_err()));
        assert_eq!(draft.set("maxInputLength", "1"), None);
        assert!(draft.set("maxInputLen", "1 MiB").is_some_and(|result| result.is_err()));
        let mut build = BuildOptions::default();
        assert_eq!(build.set("lmHead", "int4"), Some(Ok(())));
        assert_eq!(build.to_map()["lmHead"], "int4");
        for vocab in ["full", "64k", "1000", "maps/vocab_map.safetensors", "./ids"] {
            assert_eq!(build.set("vocab", vocab), Some(Ok(())), "{vocab}");
            assert_eq!(build.to_map()["vocab"], vocab);
        }
    }

    #[test]
    fn capacity_follows_from_prompt_and_output_unless_it_is_named() {
        assert_eq!(SettingsDraft::default().resolve(Tokens(33)).max_kv_cache_capacity, Tokens(4160));
        let mut draft = SettingsDraft::default();
        draft.set("maxKVCacheCapacity", "100").expect("known").expect("valid");
        assert_eq!(draft.resolve(Tokens(33)).max_kv_cache_capacity, Tokens(100));
    }
}
