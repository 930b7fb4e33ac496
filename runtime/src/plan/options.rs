//! The knobs of a loaded engine. They keep the vendor's spelling in every file and on every command line.

use std::fmt;
use std::str::FromStr;

use ledger::{Bytes, Role, Tokens};
use serde::{Deserialize, Serialize};

use super::Device;
use crate::config::ModelConfig;
use crate::engine_dir::SegmentRecord;
pub use crate::ops::attention::KvCacheType;
use crate::ops::gated_delta_rule;
pub use crate::ops::linear::Precision;

/// How many bytes of weights stay resident; the rest is read from storage for each pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightStreaming {
    /// Nothing is streamed: [`WeightsMode`] alone decides.
    #[default]
    Unset,
    /// The streaming loader, with every weight resident.
    Off,
    /// As little as can be: what cannot be streamed, and the ring.
    Min,
    /// Weights and ring together take this much.
    Budget(Bytes),
}

impl fmt::Display for WeightStreaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeightStreaming::Unset => f.write_str("unset"),
            WeightStreaming::Off => f.write_str("off"),
            WeightStreaming::Min => f.write_str("min"),
            // Whole bytes where a decimal would round: what is printed is what is parsed.
            WeightStreaming::Budget(Bytes(bytes)) => match (bytes % (1 << 30), bytes % (1 << 20)) {
                (0, _) if *bytes > 0 => write!(f, "{}GiB", bytes >> 30),
                (_, 0) if *bytes > 0 => write!(f, "{}MiB", bytes >> 20),
                _ => write!(f, "{bytes}B"),
            },
        }
    }
}

impl FromStr for WeightStreaming {
    type Err = String;

    fn from_str(text: &str) -> Result<WeightStreaming, String> {
        match text {
            "unset" => Ok(WeightStreaming::Unset),
            "off" => Ok(WeightStreaming::Off),
            "min" => Ok(WeightStreaming::Min),
            size => match size.parse() {
                Ok(bytes) => Ok(WeightStreaming::Budget(bytes)),
                Err(_) => Err("unset, off, min, or a size with its unit, for example 1GiB".to_owned()),
            },
        }
    }
}

/// How many rows of the table, from the first, the draft scores. Ids of a byte-pair encoding are in merge order and a trimmed
/// vocabulary keeps it, so the first rows are the most frequent ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DraftVocab {
    /// Every row.
    Full,
    /// So many.
    Rows(u32),
}

impl Default for DraftVocab {
    fn default() -> DraftVocab {
        DraftVocab::Rows(32 << 10)
    }
}

impl DraftVocab {
    /// Rows that the draft scores of a table of `vocabulary` rows.
    pub fn rows(self, vocabulary: usize) -> usize {
        match self {
            DraftVocab::Full => vocabulary,
            DraftVocab::Rows(rows) => vocabulary.min(rows as usize),
        }
    }
}

impl fmt::Display for DraftVocab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DraftVocab::Full => f.write_str("full"),
            DraftVocab::Rows(rows) if rows % 1024 == 0 => write!(f, "{}k", rows / 1024),
            DraftVocab::Rows(rows) => write!(f, "{rows}"),
        }
    }
}

impl FromStr for DraftVocab {
    type Err = String;

    fn from_str(text: &str) -> Result<DraftVocab, String> {
        if text == "full" {
            return Ok(DraftVocab::Full);
        }
        let (digits, unit) = text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1024));
        let rows = digits.parse::<u32>().ok().and_then(|rows| rows.checked_mul(unit));
        match rows {
            Some(rows) if rows > 0 => Ok(DraftVocab::Rows(rows)),
            _ => Err("full, or a number of rows, for example 32k".to_owned()),
        }
    }
}

/// Where the weights' bytes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsMode {
    /// In pages of the engine file, mapped: shared with the page cache and with other processes.
    #[default]
    Mapped,
    /// In memory of the process; the page cache is dropped behind the read.
    Resident,
}

/// The ring through which streamed weights pass, and what passes through it. No knob of a scenario: the defaults suit every
/// storage that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingShape {
    /// The most that one stripe takes. Requests of this size reach the full rate of a disk.
    pub stripe: Bytes,
    /// Stripes that the ring holds: those being read, the one in use, and what is read ahead of it.
    pub slots: usize,
    /// Threads that read.
    pub readers: usize,
    /// Plain matrices that are smaller stay resident.
    pub smallest_dense: Bytes,
}

impl Default for RingShape {
    fn default() -> RingShape {
        RingShape { stripe: Bytes::mib(2), slots: 16, readers: 3, smallest_dense: Bytes::mib(1) }
    }
}

/// Everything that a load decides beside the engine itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeOptions {
    /// Where the engine runs.
    #[serde(default)]
    pub device: Device,
    /// Tokens of the longest prompt that is accepted. Sizes nothing.
    pub max_input_len: Tokens,
    /// Tokens of the longest sequence, prompt and output. Address space only: pages follow the sequence.
    #[serde(rename = "maxKVCacheCapacity")]
    pub max_kv_cache_capacity: Tokens,
    /// Tokens that one prefill chunk holds: what the workspace is sized by.
    pub gdn_prefill_max_seq: Tokens,
    /// Element type of the KV cache.
    pub kv_cache_type: KvCacheType,
    /// Where the weights' bytes are.
    pub weights: WeightsMode,
    /// Which arithmetic the projections use.
    pub precision: Precision,
    /// Worker threads; they count on the CPU only.
    pub threads: usize,
    /// Whether the MTP head drafts tokens, where the engine has one.
    pub mtp: bool,
    /// Tokens that one verification looks at: the last token and its drafts, from 2 to 8.
    pub max_verify_tree_size: u32,
    /// Rows of the table that the draft scores.
    pub draft_vocab: DraftVocab,
    /// How much of the weights stays resident.
    pub weight_streaming_budget: WeightStreaming,
    /// What streamed weights pass through.
    #[serde(skip)]
    pub ring: RingShape,
    /// Sequences that are decoded together, from 1 to 8. Each takes its memory when it opens.
    pub max_batch_size: u32,
}

impl RuntimeOptions {
    /// Tokens of output that a sequence may add to the longest prompt where `maxKVCacheCapacity` is not given.
    pub const DEFAULT_OUTPUT_ROOM: u32 = 1024;
    /// Tokens of a prefill chunk where nothing else is asked for.
    pub const DEFAULT_PREFILL_CHUNK: u32 = 256;

    /// Tokens of a verification where nothing else is asked for: three drafts.
    pub const DEFAULT_VERIFY_TREE: u32 = 4;
    /// The most tokens of a verification.
    pub const MAX_VERIFY_TREE: u32 = 8;
    /// The most sequences that are decoded together.
    pub const MAX_BATCH: u32 = 8;

    /// The defaults for prompts of up to `max_input_len` tokens.
    pub fn new(max_input_len: Tokens, threads: usize) -> RuntimeOptions {
        RuntimeOptions {
            device: Device::Cpu,
            max_input_len,
            max_kv_cache_capacity: Tokens(max_input_len.0.saturating_add(Self::DEFAULT_OUTPUT_ROOM)),
            gdn_prefill_max_seq: Tokens(Self::DEFAULT_PREFILL_CHUNK),
            kv_cache_type: KvCacheType::F16,
            weights: WeightsMode::Mapped,
            precision: Precision::Fast,
            threads,
            mtp: false,
            max_verify_tree_size: Self::DEFAULT_VERIFY_TREE,
            draft_vocab: DraftVocab::default(),
            weight_streaming_budget: WeightStreaming::Unset,
            ring: RingShape::default(),
            max_batch_size: 1,
        }
    }

    /// Tokens that a prefill chunk really holds: never more than the longest prompt.
    pub fn prefill_chunk(&self) -> usize {
        self.gdn_prefill_max_seq.min(self.max_input_len).0 as usize
    }

    /// These options as an engine with `segments` can use them: without a draft where it has none.
    pub fn for_engine(&self, segments: &[SegmentRecord]) -> RuntimeOptions {
        let drafts = segments.iter().any(|segment| segment.role == Role::Draft);
        RuntimeOptions { mtp: self.mtp && drafts, ..self.clone() }
    }

    /// Drafts of a round: what a verification looks at beside the last token, none without the MTP head.
    pub fn drafts(&self) -> usize {
        if self.mtp { self.max_verify_tree_size as usize - 1 } else { 0 }
    }

    /// Tokens of one sequence in a decode pass: the last one and its drafts.
    pub fn sequence_tokens(&self) -> usize {
        self.drafts() + 1
    }

    /// Tokens of one sequence that a pass may look at and then reject; 0 without the MTP head.
    pub fn undecided_tokens(&self) -> usize {
        if self.mtp { self.sequence_tokens() } else { 0 }
    }

    /// Tokens that one decode pass holds at most: those of a verification, for every sequence of the batch.
    pub fn decode_tokens(&self) -> usize {
        self.sequence_tokens() * self.max_batch_size as usize
    }

    /// Checks the options against each other and against the model.
    pub fn check(&self, config: &ModelConfig) -> Result<(), OptionsError> {
        let positions = u32::try_from(config.max_position_embeddings).unwrap_or(u32::MAX);
        for (knob, value) in [
            ("maxInputLen", self.max_input_len.0),
            ("maxKVCacheCapacity", self.max_kv_cache_capacity.0),
            ("gdnPrefillMaxSeq", self.gdn_prefill_max_seq.0),
            ("threads", u32::try_from(self.threads).unwrap_or(u32::MAX)),
        ] {
            if value == 0 {
                return Err(OptionsError::Zero { knob });
            }
        }
        for (knob, value, range) in [
            ("maxVerifyTreeSize", self.max_verify_tree_size, 2..=Self::MAX_VERIFY_TREE),
            ("maxBatchSize", self.max_batch_size, 1..=Self::MAX_BATCH),
        ] {
            if !range.contains(&value) {
                let (least, most) = (*range.start(), *range.end());
                return Err(OptionsError::OutOfRange { knob, value, least, most });
            }
        }
        let key_dim = config.linear_attention.as_ref().map_or(0, |linear| linear.key_dim);
        if self.mtp && key_dim > gated_delta_rule::MOST_VERIFIED_KEYS {
            return Err(OptionsError::KeysTooLong { key_dim, most: gated_delta_rule::MOST_VERIFIED_KEYS });
        }
        if self.max_kv_cache_capacity.0 > positions {
            return Err(OptionsError::BeyondPositions { capacity: self.max_kv_cache_capacity, positions });
        }
        if self.gdn_prefill_max_seq.0 > positions {
            return Err(OptionsError::ChunkBeyondPositions { chunk: self.gdn_prefill_max_seq, positions });
        }
        if self.max_input_len > self.max_kv_cache_capacity {
            return Err(OptionsError::PromptOverCapacity {
                max_input_len: self.max_input_len,
                capacity: self.max_kv_cache_capacity,
            });
        }
        if self.threads > MAX_THREADS {
            return Err(OptionsError::TooManyThreads { threads: self.threads });
        }
        Ok(())
    }
}

/// More workers than this are a typing mistake on any board that this runs on.
const MAX_THREADS: usize = 1024;

/// Why options cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A knob that counts something is zero.
    #[error("{knob} is 0; it must be at least 1")]
    Zero {
        /// The knob.
        knob: &'static str,
    },
    /// A knob outside its range.
    #[error("{knob} is {value}; it takes {least} to {most}")]
    OutOfRange {
        /// The knob.
        knob: &'static str,
        /// What was asked for.
        value: u32,
        /// Its smallest value.
        least: u32,
        /// Its largest value.
        most: u32,
    },
    /// Keys that a verification has no room for.
    #[error(
        "mtp is true, but keys of {key_dim} values are longer than the {most} that a verification takes; set mtp: false"
    )]
    KeysTooLong {
        /// Values in a key of the model's Gated DeltaNet layers.
        key_dim: usize,
        /// The most that a verification takes.
        most: usize,
    },
    /// More tokens than the model has positions for.
    #[error(
        "maxKVCacheCapacity is {} tokens, but the model knows {positions} positions; lower maxKVCacheCapacity or maxInputLen",
        capacity.0
    )]
    BeyondPositions {
        /// What was asked for.
        capacity: Tokens,
        /// What the model was made for.
        positions: u32,
    },
    /// A prefill chunk that no prompt fills; its workspace alone could take the machine.
    #[error("gdnPrefillMaxSeq is {} tokens, but the model knows {positions} positions; lower gdnPrefillMaxSeq", chunk.0)]
    ChunkBeyondPositions {
        /// What was asked for.
        chunk: Tokens,
        /// What the model was made for.
        positions: u32,
    },
    /// The longest prompt would not fit the longest sequence.
    #[error(
        "maxInputLen ({}) is larger than maxKVCacheCapacity ({}); raise the latter or lower the former",
        max_input_len.0, capacity.0
    )]
    PromptOverCapacity {
        /// Tokens of the longest prompt.
        max_input_len: Tokens,
        /// Tokens of the longest sequence.
        capacity: Tokens,
    },
    /// A budget that not even the weights that must stay fit.
    #[error(
        "weightStreamingBudget {budget} is below the floor of {floor}: {kept} of norms and small matrices are never streamed, and the ring takes {ring}; raise it, or say `min`"
    )]
    BudgetBelowFloor {
        /// What was asked for.
        budget: WeightStreaming,
        /// The least that works.
        floor: Bytes,
        /// What is never streamed.
        kept: Bytes,
        /// What streamed weights pass through.
        ring: Bytes,
    },
    /// More threads than any machine here has.
    #[error("threads is {threads}; leave it out to use the processors of this machine")]
    TooManyThreads {
        /// What was asked for.
        threads: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_knobs_are_parsed_as_they_are_printed() {
        for text in ["unset", "off", "min", "1GiB", "1536MiB", "5B", "0B"] {
            assert_eq!(text.parse::<WeightStreaming>().unwrap().to_string(), text);
        }
        for text in ["full", "32k", "100"] {
            assert_eq!(text.parse::<DraftVocab>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1 GB", "all", "-1GiB"] {
            assert!(text.parse::<WeightStreaming>().is_err(), "{text}");
        }
        for text in ["", "0", "k", "1.5k", "5000000k"] {
            assert!(text.parse::<DraftVocab>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_chunk_that_no_prompt_fills_is_refused() {
        let config = ModelConfig::published("Qwen3-0.6B").unwrap();
        let positions = u32::try_from(config.max_position_embeddings).unwrap();
        let mut options = RuntimeOptions::new(Tokens(64), 1);
        options.gdn_prefill_max_seq = Tokens(positions);
        assert_eq!(options.check(&config), Ok(()));
        options.gdn_prefill_max_seq = Tokens(u32::MAX);
        let refused = OptionsError::ChunkBeyondPositions { chunk: Tokens(u32::MAX), positions };
        assert_eq!(options.check(&config), Err(refused));
    }
}
