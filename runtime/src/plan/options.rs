//! The knobs of a loaded engine. They keep the vendor's spelling in every file and on every command line.

use ledger::Tokens;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
pub use crate::ops::linear::Precision;

/// Element type of the KV cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvCacheType {
    /// Half precision.
    #[default]
    F16,
    /// Single precision: for comparisons, at twice the bytes.
    F32,
}

impl KvCacheType {
    /// Bytes of one element.
    pub const fn width(self) -> u64 {
        match self {
            KvCacheType::F16 => 2,
            KvCacheType::F32 => 4,
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

/// Everything that a load decides beside the engine itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeOptions {
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
    /// Worker threads.
    pub threads: usize,
}

impl RuntimeOptions {
    /// Tokens of output that a sequence may add to the longest prompt where `maxKVCacheCapacity` is not given.
    pub const DEFAULT_OUTPUT_ROOM: u32 = 1024;
    /// Tokens of a prefill chunk where nothing else is asked for.
    pub const DEFAULT_PREFILL_CHUNK: u32 = 256;

    /// The defaults for prompts of up to `max_input_len` tokens.
    pub fn new(max_input_len: Tokens, threads: usize) -> RuntimeOptions {
        RuntimeOptions {
            max_input_len,
            max_kv_cache_capacity: Tokens(max_input_len.0.saturating_add(Self::DEFAULT_OUTPUT_ROOM)),
            gdn_prefill_max_seq: Tokens(Self::DEFAULT_PREFILL_CHUNK),
            kv_cache_type: KvCacheType::F16,
            weights: WeightsMode::Mapped,
            precision: Precision::Fast,
            threads,
        }
    }

    /// Tokens that a prefill chunk really holds: never more than the longest prompt.
    pub fn prefill_chunk(&self) -> usize {
        self.gdn_prefill_max_seq.min(self.max_input_len).0 as usize
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
