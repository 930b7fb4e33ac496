//! The activations of one chunk: allocated by plan key when a stage begins, returned when it ends.

use super::operators::Operators;
use crate::config::ModelConfig;
use crate::memory::MemoryError;
use crate::plan::{Stage, Widths};

/// Activations of up to `tokens` tokens. See [`Widths`] for what shares a buffer.
#[derive(Debug)]
pub struct Workspace<T> {
    /// Tokens that it holds.
    pub tokens: usize,
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

impl<T> Workspace<T> {
    /// The planned workspace of `stage`.
    pub fn allocate<O: Operators<Tensor = T>>(
        operators: &O,
        config: &ModelConfig,
        stage: Stage,
        tokens: usize,
    ) -> Result<Workspace<T>, MemoryError> {
        let own = |name: &str| operators.allocate(&format!("target/{}/{name}", stage.class()));
        let angles = |name: &str| operators.allocate(&format!("target/rope/{} {name}", stage.name()));
        let linear = Widths::of(config).gates > 0;
        Ok(Workspace {
            tokens,
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
            quantised: own("quantised")?,
            scores: own("scores")?,
        })
    }
}
