//! The MTP head of Qwen3.5: one decoder layer that foretells the token after next.
//!
//! For the token `x` at a position and the target's hidden state `h` one before it, after the target's last norm (what its head
//! reads):
//!
//! ```text
//! y = fc [norm_e(embed(x)) | norm_h(h)]
//! y = layer(y)                           gated attention over a KV cache of its own, then the MLP
//! m = norm(y)                            scores of the token after x = head(m), the target's own table
//! ```
//!
//! A chain of drafts feeds `m` back in place of `h`. The keys and values that it writes on the way are overwritten once the
//! target's hidden states of those positions are there.

use ledger::{BufferClass, Role, buffer_key};

use super::forward::{Pass, Span};
use super::layers::{DraftWeights, Mixer};
use super::operators::{LayerCache, Operators, Projection, Tensor};
use super::shapes::attention_shape;
use super::state::SequenceShape;
use super::workspace::Workspace;
use crate::config::ModelConfig;
use crate::memory::MemoryError;
use crate::ops::Store;
use crate::ops::attention::{BLOCK_TOKENS, CacheLayer};
use crate::plan::keys;

/// What the head carries from token to token.
#[derive(Debug)]
pub struct DraftState<T> {
    /// Apart from the target's, which grows at other times: [blocks, keys and values, block].
    cache: T,
    /// [undecided tokens, hidden size]: hidden states of the target that the head has not read yet.
    pub hidden: T,
    length: usize,
    block_bytes: u64,
}

impl<T: Tensor> DraftState<T> {
    /// The state before the first token.
    pub fn new<O: Operators<Tensor = T>>(
        operators: &O,
        config: &ModelConfig,
        shape: SequenceShape,
    ) -> Result<DraftState<T>, MemoryError> {
        let key = |class, name| buffer_key(Role::Draft, class, None, name, shape.sequence);
        Ok(DraftState {
            cache: operators.reserve(&key(BufferClass::KvCache, keys::BLOCKS))?,
            hidden: operators.allocate(&key(BufferClass::DecodeWorkspace, keys::HIDDEN))?,
            length: 0,
            block_bytes: attention_shape(&config.attention).cache_block_bytes(shape.kv_cache_type, 1),
        })
    }

    /// Positions that the head has read.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Commits keys and values for `tokens` positions in all.
    pub fn grow(&mut self, tokens: usize) -> Result<(), MemoryError> {
        let bytes = tokens.div_ceil(BLOCK_TOKENS) as u64 * self.block_bytes;
        self.cache.commit(bytes)
    }

    /// Forgets the positions from `length` on.
    pub fn rewind(&mut self, length: usize) {
        debug_assert!(length <= self.length);
        self.length = length;
    }
}

/// The tokens of one sequence in a pass of the head.
pub struct DraftPart<'a, T> {
    /// The head's state, whose cache has room for them.
    pub state: &'a mut DraftState<T>,
    /// How many of the pass's tokens are its; the parts follow each other.
    pub tokens: usize,
}

/// Runs the head over `ids`, whose hidden states stand in the rows of `workspace.second`. Afterwards `workspace.input` holds
/// what the head makes of each.
pub fn read<O: Operators>(
    operators: &O,
    config: &ModelConfig,
    table: &O::Weight,
    weights: &DraftWeights<O::Weight>,
    parts: &mut [DraftPart<'_, O::Tensor>],
    workspace: &mut Workspace<O::Tensor>,
    ids: &[u32],
) -> Result<(), MemoryError> {
    let (tokens, width, eps) = (ids.len(), config.hidden_size, config.rms_norm_eps as f32);
    debug_assert_eq!(parts.iter().map(|part| part.tokens).sum::<usize>(), tokens);
    workspace.hold(tokens)?;
    let Workspace { hidden, input, first, second, scratch, .. } = &mut *workspace;
    operators.rms_norm(second, 0..tokens, &weights.hidden_norm, eps, input);
    operators.embed(table, ids, hidden);
    // The hidden states have been read.
    operators.rms_norm(hidden, 0..tokens, &weights.embedding_norm, eps, second);
    operators.concat_rows(second, input, tokens, width, first);
    let fc = Projection { weight: &weights.fc, out: hidden, store: Store::Overwrite };
    operators.linear(first, tokens, &mut [fc], scratch);

    let pass = Pass { operators, config, tokens };
    let mut spans = Vec::with_capacity(parts.len());
    let mut first_row = 0;
    for part in parts.iter() {
        let span = Span { rows: first_row..first_row + part.tokens, position: part.state.length };
        first_row += part.tokens;
        pass.angles(&span, workspace);
        spans.push(span);
    }
    let layer = &weights.layer;
    let Mixer::Attention(mixer) = &layer.mixer else {
        unreachable!("the head's layer is gathered as attention")
    };
    pass.norm(&layer.input_norm, workspace);
    pass.project_queries(mixer, workspace);
    for (part, span) in parts.iter_mut().zip(&spans) {
        let layer = CacheLayer { place: 0, layers: 1 };
        pass.attend(span, &mut LayerCache { blocks: &mut part.state.cache, layer }, workspace);
    }
    pass.mix_attention(mixer, workspace);
    pass.norm(&layer.post_norm, workspace);
    pass.mlp(layer, workspace);
    pass.norm(&weights.norm, workspace);
    parts.iter_mut().for_each(|part| part.state.length += part.tokens);
    Ok(())
}

/// The likeliest row of the head's table behind each of the first `rows` of `workspace.input`.
pub fn propose<O: Operators>(
    operators: &O,
    weights: &DraftWeights<O::Weight>,
    workspace: &mut Workspace<O::Tensor>,
    rows: usize,
    vocabulary: usize,
    scores: &mut O::Tensor,
) -> Vec<u32> {
    let Workspace { input, scratch, .. } = workspace;
    let projection = Projection { weight: &weights.head, out: &mut *scores, store: Store::Overwrite };
    operators.linear(input, rows, &mut [projection], scratch);
    // Whatever is guessed is verified, and the target says what is wrong with its own scores.
    let likeliest = operators.argmax_rows(scores, 0..rows, vocabulary);
    likeliest.into_iter().map(Option::unwrap_or_default).collect()
}
