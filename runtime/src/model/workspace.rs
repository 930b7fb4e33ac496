//! The activations of one pass: address space when a stage begins, memory for the tokens in hand, nothing when it ends.

use super::operators::{Operators, Tensor};
use crate::config::ModelConfig;
use crate::memory::MemoryError;
use crate::plan::{Stage, Widths};

/// Activations of up to `tokens` tokens. See [`Widths`] for what shares a buffer.
#[derive(Debug)]
pub struct Workspace<T> {
    widths: Widths,
    capacity: usize,
    /// The residual stream.
    pub hidden: T,
    /// A block's normed input.
    pub normed: T,
    /// qkv, queries with gates, or the MLP's gate.
    pub first: T,
    /// z, or the MLP's up.
    pub second: T,
    /// What a mixer gives its output projection.
    pub mixed: T,
    /// New keys.
    pub keys: T,
    /// New values.
    pub values: T,
    /// Decay and beta of Gated DeltaNet layers, where the model has any.
    pub gates: Option<(T, T)>,
    /// Cosines of the positions.
    pub cos: T,
    /// Sines of the positions.
    pub sin: T,
    /// Activations in 8 bits.
    pub quantised: T,
    /// Partial softmax.
    pub scores: T,
}

impl<T: Tensor> Workspace<T> {
    /// Address space for the planned workspace of `stage`, which holds up to `capacity` tokens, of a draft, too, where there is
    /// one. What operators need for
    /// themselves is committed at once, activations by [`Workspace::hold`].
    pub fn reserve<O: Operators<Tensor = T>>(
        operators: &O,
        config: &ModelConfig,
        stage: Stage,
        capacity: usize,
        drafting: bool,
    ) -> Result<Workspace<T>, MemoryError> {
        let key = |name: &str| format!("target/{}/{name}", stage.class());
        let own = |name: &str| operators.reserve(&key(name));
        let scratch = |name: &str| operators.allocate(&key(name));
        let angles = |name: &str| operators.reserve(&format!("target/rope/{} {name}", stage.name()));
        let widths = Widths::of(config, drafting);
        let linear = widths.gates > 0;
        Ok(Workspace {
            widths,
            capacity,
            hidden: own("hidden")?,
            normed: own("normed")?,
            first: own("first")?,
            second: own("second")?,
            mixed: own("mixed")?,
            keys: own("keys")?,
            values: own("values")?,
            gates: if linear { Some((own("decay")?, own("beta")?)) } else { None },
            cos: angles("cos")?,
            sin: angles("sin")?,
            quantised: scratch("quantised")?,
            scores: scratch("scores")?,
        })
    }

    /// Commits what `tokens` tokens need; what an earlier chunk needed stays until the workspace goes.
    pub fn hold(&mut self, tokens: usize) -> Result<(), MemoryError> {
        debug_assert!(tokens <= self.capacity);
        let bytes = |width: usize| (tokens * width * size_of::<f32>()) as u64;
        let Widths { hidden, first, second, mixed, kv, gates, angles } = self.widths;
        self.hidden.commit(bytes(hidden))?;
        self.normed.commit(bytes(hidden))?;
        self.first.commit(bytes(first))?;
        self.second.commit(bytes(second))?;
        self.mixed.commit(bytes(mixed))?;
        self.keys.commit(bytes(kv))?;
        self.values.commit(bytes(kv))?;
        if let Some((decay, beta)) = &mut self.gates {
            decay.commit(bytes(gates))?;
            beta.commit(bytes(gates))?;
        }
        self.cos.commit(bytes(angles))?;
        self.sin.commit(bytes(angles))
    }
}
