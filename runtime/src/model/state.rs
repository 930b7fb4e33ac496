//! What a sequence carries from token to token: keys and values that grow, recurrent states that do not, and a log of the
//! updates that tokens make which may yet be rejected.

use ledger::{BufferClass, Role, buffer_key};

use super::operators::{LayerCache, LogRows, Operators, Tensor};
use super::shapes::{attention_shape, delta_shape};
use crate::config::{LayerKind, ModelConfig};
use crate::memory::MemoryError;
use crate::ops::attention::{BLOCK_TOKENS, CacheLayer};
use crate::plan::{KvCacheType, keys};

/// The state of one layer.
#[derive(Debug)]
pub enum LayerState<T> {
    /// A full-attention layer, whose keys and values stand in the sequence's cache.
    Attention {
        /// Its place among the layers of its kind.
        place: usize,
    },
    /// The matrices and the convolution's window of a Gated DeltaNet layer.
    Linear {
        /// [value heads, key dim, value dim].
        state: T,
        /// [width - 1, channels], oldest input first; where tokens may be rejected, their inputs follow.
        window: T,
        /// Its place among the layers of its kind.
        place: usize,
    },
}

/// How a sequence is laid out.
#[derive(Debug, Clone, Copy)]
pub struct SequenceShape {
    /// Which of the sequences that are open at the same time it is.
    pub sequence: u32,
    /// Tokens that it can hold.
    pub capacity: usize,
    /// Element type of its keys and values.
    pub kv_cache_type: KvCacheType,
    /// Tokens of a pass that may be rejected; 0 where none ever is.
    pub undecided: usize,
}

/// The state of one sequence.
#[derive(Debug)]
pub struct SequenceState<T> {
    layers: Vec<LayerState<T>>,
    /// Keys and values of all attention layers, where there are any: [blocks, layers, keys and values, block].
    cache: Option<T>,
    attention_layers: usize,
    /// [linear layers, undecided tokens, row of the log].
    log: Option<T>,
    /// Values that a layer takes in the log.
    layer_log: usize,
    length: usize,
    capacity: usize,
    /// Bytes of a block of the cache.
    block_bytes: u64,
}

impl<T: Tensor> SequenceState<T> {
    /// An empty sequence. Recurrent states are committed (and zero), the KV cache follows the sequence.
    pub fn new<O: Operators<Tensor = T>>(
        operators: &O,
        config: &ModelConfig,
        shape: SequenceShape,
    ) -> Result<SequenceState<T>, MemoryError> {
        let SequenceShape { sequence, capacity, kv_cache_type, undecided } = shape;
        let key = |class: BufferClass, layer: usize, name: &str| {
            buffer_key(Role::Target, class, Some(layer as u32), name, sequence)
        };
        let (mut linear_layers, mut attention_layers) = (0, 0);
        let mut layers = Vec::with_capacity(config.layers.len());
        for (layer, kind) in config.layers.iter().enumerate() {
            layers.push(match kind {
                LayerKind::FullAttention => {
                    attention_layers += 1;
                    LayerState::Attention { place: attention_layers - 1 }
                }
                LayerKind::LinearAttention => {
                    linear_layers += 1;
                    LayerState::Linear {
                        state: operators.allocate(&key(BufferClass::RecurrentState, layer, keys::STATE))?,
                        window: operators.allocate(&key(BufferClass::ConvState, layer, keys::WINDOW))?,
                        place: linear_layers - 1,
                    }
                }
            });
        }
        let of_sequence = |class, name| buffer_key(Role::Target, class, None, name, sequence);
        let cache = match attention_layers > 0 {
            true => Some(operators.reserve(&of_sequence(BufferClass::KvCache, keys::BLOCKS))?),
            false => None,
        };
        let log_row = config.linear_attention.as_ref().map_or(0, |linear| delta_shape(linear).log_row());
        let log = match undecided > 0 && linear_layers > 0 {
            true => Some(operators.allocate(&of_sequence(BufferClass::Rollback, keys::LOG))?),
            false => None,
        };
        Ok(SequenceState {
            layers,
            cache,
            attention_layers,
            log,
            layer_log: undecided * log_row,
            length: 0,
            capacity,
            block_bytes: attention_shape(&config.attention)
                .cache_block_bytes(kv_cache_type, attention_layers),
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
        self.cache.as_mut().map_or(Ok(()), |cache| cache.commit(bytes))
    }

    /// Counts the first `tokens` of a pass whose tokens were undecided, and forgets the others.
    pub fn accept<O: Operators<Tensor = T>>(&mut self, operators: &O, config: &ModelConfig, tokens: usize) {
        if let (Some(linear), Some(log)) = (&config.linear_attention, &mut self.log) {
            let shape = delta_shape(linear);
            for layer in &mut self.layers {
                if let LayerState::Linear { state, window, place } = layer {
                    let rows = LogRows { log: &mut *log, first: *place * self.layer_log };
                    operators.commit_delta_rule(&shape, rows, tokens, state);
                    operators.commit_conv1d(linear.conv_channels(), linear.conv_kernel - 1, tokens, window);
                }
            }
        }
        self.length += tokens;
    }

    /// Counts tokens that every layer has now seen.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.length += tokens;
    }

    /// The keys and values of an attention layer.
    pub(super) fn cache(&mut self, index: usize) -> Option<LayerCache<'_, T>> {
        match (&self.layers[index], &mut self.cache) {
            (LayerState::Attention { place }, Some(blocks)) => {
                let layer = CacheLayer { place: *place, layers: self.attention_layers };
                Some(LayerCache { blocks, layer })
            }
            _ => None,
        }
    }

    /// The state of a layer, and the log for the updates of undecided tokens.
    pub(super) fn layer(&mut self, index: usize) -> (&mut LayerState<T>, Option<LogRows<'_, T>>) {
        let layer = &mut self.layers[index];
        let rows = match (&*layer, &mut self.log) {
            (LayerState::Linear { place, .. }, Some(log)) => {
                Some(LogRows { log, first: place * self.layer_log })
            }
            _ => None,
        };
        (layer, rows)
    }
}
