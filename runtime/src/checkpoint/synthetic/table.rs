//! Rows of the embedding table, and of the output head, whether it is tied or not.

use super::distribution::{fill_uniform, round_to_bf16};
use super::generator::Stream;

/// Standard deviation of the logits: final norm 1 per value, times a table row of this length.
pub(super) const LOGIT_STD: f64 = 2.0;
/// Rows below this are longer. In a vocabulary of byte pairs the frequent tokens come first.
pub(super) const FREQUENT: usize = 32_768;
/// How much longer they are: so much that nine tokens of ten that no successor explains are among them.
pub(super) const FREQUENT_LENGTH: f64 = 1.22;
/// The last channel of every row, in table rows' standard deviations times [`LOGIT_STD`].
pub(super) const CONSTANT: f64 = 4.0 * LOGIT_STD;

/// The table of a seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Base vectors, one for each group of rows.
    bases: Stream,
}

impl Table {
    /// The table of `seed`.
    pub(super) fn new(seed: u64) -> Table {
        Table { bases: Stream::new(seed, "embed_tokens.weight", 0) }
    }

    /// Writes row `row` into `out [hidden]`.
    pub(super) fn fill_row(self, row: usize, out: &mut [f32]) {
        let unit = 1.0 / (out.len() as f64).sqrt();
        let Some((constant, ring)) = out.split_last_mut() else { return };
        let length = LOGIT_STD * if row < FREQUENT { FREQUENT_LENGTH } else { 1.0 };
        let (group, shift) = (row / ring.len().max(1), row % ring.len().max(1));
        fill_uniform(self.bases.row(group), 0.0, (length * unit) as f32, ring);
        ring.rotate_right(shift);
        *constant = round_to_bf16((CONSTANT * unit) as f32);
    }
}
