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
    /// What the next projection reads: a block's normed input, or what a mixer has made of it.
    pub input: T,
    /// qkv, queries with gates, or the MLP's gate.
    pub first: T,
    /// z, new keys, or the MLP's up.
    pub second: T,
    /// New values.
    pub values: T,
    /// Decay and beta of Gated DeltaNet layers, where the model has any.
    pub gates: Option<(T, T)>,
    /// Cosines of the positions.
    pub cos: T,
    /// Sines of the positions.
    pub sin: T,
    /// What operators need for themselves, one at a time.
    pub scratch: T,
}

impl<T: Tensor> Workspace<T> {
    /// Address space for the planned workspace of `stage`, which holds up to `capacity` tokens, of a draft, too, where there is
    /// one. What operators need for themselves is committed at once, activations by [`Workspace::hold`].
    pub fn reserve<O: Operators<Tensor = T>>(
        operators: &O,
        config: &ModelConfig,
        stage: Stage,
        capacity: usize,
        drafting: bool,
    ) -> Result<Workspace<T>, MemoryError> {
        let key = |name: &str| format!("target/{}/{name}", stage.class());
        let own = |name: &str| operators.reserve(&key(name));
        let angles = |name: &str| operators.reserve(&format!("target/rope/{} {name}", stage.name()));
        let widths = Widths::of(config, drafting);
        let linear = widths.gates > 0;
        Ok(Workspace {
            widths,
            capacity,
            hidden: own("hidden")?,
            input: own("input")?,
            first: own("first")?,
            second: own("second")?,
            values: own("values")?,
            gates: if linear { Some((own("decay")?, own("beta")?)) } else { None },
            cos: angles("cos")?,
            sin: angles("sin")?,
            scratch: operators.allocate(&key("scratch"))?,
        })
    }

    /// Commits what `tokens` tokens need; what an earlier chunk needed stays until the workspace goes.
    pub fn hold(&mut self, tokens: usize) -> Result<(), MemoryError> {
        debug_assert!(tokens <= self.capacity);
        let bytes = |width: usize| (tokens * width * size_of::<f32>()) as u64;
        let Widths { hidden, input, first, second, values, gates, angles } = self.widths;
        self.hidden.commit(bytes(hidden))?;
        self.input.commit(bytes(input))?;
        self.first.commit(bytes(first))?;
        self.second.commit(bytes(second))?;
        self.values.commit(bytes(values))?;
        if let Some((decay, beta)) = &mut self.gates {
            decay.commit(bytes(gates))?;
            beta.commit(bytes(gates))?;
        }
        self.cos.commit(bytes(angles))?;
        self.sin.commit(bytes(angles))
    }
}
