//! What a buffer is for. Every byte of a process falls into exactly one class.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! buffer_classes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a buffer is for. The names are those of the plan, the scenario files and the report.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum BufferClass {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl BufferClass {
            /// Every class, in the order of tables and charts.
            pub const ALL: &'static [BufferClass] = &[$(BufferClass::$name,)*];

            /// The name as it stands in files and on screens.
            pub const fn name(self) -> &'static str {
                match self { $(BufferClass::$name => $text,)* }
            }
        }
    };
}

buffer_classes! {
    /// Projections of attention, Gated DeltaNet and MLP layers.
    WeightsLinear = "weights.linear",
    /// The embedding table, where it is not also the output head.
    WeightsEmbedding = "weights.embedding",
    /// The output head; with tied embeddings, the one table that serves both.
    WeightsLmHead = "weights.lm_head",
    /// The layers of the MTP draft.
    WeightsDraft = "weights.draft",
    /// Norm vectors, convolution taps and decay parameters.
    WeightsNorm = "weights.norm",
    /// Slots through which streamed weights pass.
    StreamRing = "stream_ring",
    /// Keys and values of attention layers: grows with context.
    KvCache = "kv_cache",
    /// The matrices of Gated DeltaNet layers: constant per sequence.
    RecurrentState = "recurrent_state",
    /// The last inputs of causal convolutions: constant per sequence.
    ConvState = "conv_state",
    /// What speculative decoding keeps to undo rejected tokens.
    Rollback = "rollback",
    /// Activations of one prefill chunk.
    PrefillWorkspace = "prefill_workspace",
    /// Activations of one decode step.
    DecodeWorkspace = "decode_workspace",
    /// One row of scores per sampled position.
    Logits = "logits",
    /// Angles of rotary embeddings.
    Rope = "rope",
    /// Vocabulary and merges.
    Tokenizer = "tokenizer",
    /// Code, libraries, stacks and the general heap.
    Program = "program",
    /// What the device driver makes resident on the host.
    Driver = "driver",
    /// What the device driver takes of the device for itself.
    DeviceContext = "device_context",
    /// Measured, but owned by no buffer.
    Unaccounted = "unaccounted",
}

impl BufferClass {
    /// Whether it is a part of the engine's weights, whichever.
    pub const fn is_weights(self) -> bool {
        matches!(
            self,
            BufferClass::WeightsLinear
                | BufferClass::WeightsEmbedding
                | BufferClass::WeightsLmHead
                | BufferClass::WeightsDraft
                | BufferClass::WeightsNorm
        )
    }
}

impl fmt::Display for BufferClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no buffer class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBufferClass(pub String);

impl fmt::Display for UnknownBufferClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown buffer class `{}`; the classes are ", self.0)?;
        for (index, class) in BufferClass::ALL.iter().enumerate() {
            write!(f, "{}{class}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownBufferClass {}

impl FromStr for BufferClass {
    type Err = UnknownBufferClass;

    fn from_str(text: &str) -> Result<BufferClass, UnknownBufferClass> {
        BufferClass::ALL
            .iter()
            .copied()
            .find(|class| class.name() == text)
            .ok_or_else(|| UnknownBufferClass(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_parses_from_its_own_name() {
        for class in BufferClass::ALL {
            assert_eq!(class.name().parse(), Ok(*class));
        }
        assert!("weights".parse::<BufferClass>().is_err());
    }
}
