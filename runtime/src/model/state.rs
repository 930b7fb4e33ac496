//! What a sequence carries from token to token: keys and values that grow, recurrent states that do not.

use ledger::BufferClass;

use super::operators::{KvCache, Operators, Tensor};
use crate::config::{LayerKind, ModelConfig};
use crate::memory::{MemoryError, whole_pages};
use crate::ops::attention::BLOCK_TOKENS;
use crate::plan::{KvCacheType, keys};

/// The state of one layer.
#[derive(Debug)]
pub enum LayerState<T> {
    /// Keys and values of a full-attention layer.
    Attention(KvCache<T>),
    /// The matrices and the convolution's window of a Gated DeltaNet layer.
    Linear {
        /// [value heads, key dim, value dim].
        state: T,
        /// [width - 1, channels], oldest input first.
        window: T,
    },
}

/// The state of one sequence.
#[derive(Debug)]
pub struct SequenceState<T> {
    layers: Vec<LayerState<T>>,
    length: usize,
    capacity: usize,
    block_bytes: u64,
}

impl<T: Tensor> SequenceState<T> {
    /// An empty sequence of at most `capacity` tokens. Recurrent states are committed (and zero), the KV cache follows
    /// the sequence.
    pub fn new<O: Operators<Tensor = T>>(
        operators: &O,
        config: &ModelConfig,
        kv_cache_type: KvCacheType,
        capacity: usize,
    ) -> Result<SequenceState<T>, MemoryError> {
        let key = |class: BufferClass, layer: usize, name: &str| format!("target/{class}/{layer}/{name}");
        let layers = config.layers.iter().enumerate().map(|(layer, kind)| {
            Ok(match kind {
                LayerKind::FullAttention => LayerState::Attention(KvCache {
                    keys: operators.reserve(&key(BufferClass::KvCache, layer, keys::KEYS))?,
                    values: operators.reserve(&key(BufferClass::KvCache, layer, keys::VALUES))?,
                }),
                LayerKind::LinearAttention => LayerState::Linear {
                    state: operators.allocate(&key(BufferClass::RecurrentState, layer, keys::STATE))?,
                    window: operators.allocate(&key(BufferClass::ConvState, layer, keys::WINDOW))?,
                },
            })
        });
        let attention = &config.attention;
        let block = (attention.kv_heads * attention.head_dim * BLOCK_TOKENS) as u64 * kv_cache_type.width();
        Ok(SequenceState {
            layers: layers.collect::<Result<_, MemoryError>>()?,
            length: 0,
            capacity,
            block_bytes: whole_pages(block).0,
        })
    }

    /// Tokens held.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Tokens that can still be added.
    pub fn room(&self) -> usize {
        self.capacity - self.length
    }

    /// Commits the KV blocks for `tokens` more tokens.
    pub(super) fn grow(&mut self, tokens: usize) -> Result<(), MemoryError> {
        let bytes = (self.length + tokens).div_ceil(BLOCK_TOKENS) as u64 * self.block_bytes;
        for layer in &mut self.layers {
            if let LayerState::Attention(cache) = layer {
                cache.keys.commit(bytes)?;
                cache.values.commit(bytes)?;
            }
        }
        Ok(())
    }

    /// Counts tokens that every layer has now seen.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.length += tokens;
    }

    pub(super) fn layer(&mut self, index: usize) -> &mut LayerState<T> {
        &mut self.layers[index]
    }
}
