//! Activations in 8 bits, for products with 4-bit and 8-bit weights.
//!
//! Each group of `g` consecutive columns of a token has its own scale, `g` being the group size of the weights that it
//! will meet:
//!
//! ```text
//! m = max |x|            a = round(x · (127 / m))  in −127..127, ties to even
//! α = m / 127            x ≈ α a
//! ```
//!
//! A group with `m < 1e-36` (zeros included) gets `α = 0, a = 0`: its quotient would overflow. A group that contains an
//! infinity or a NaN gets `α = NaN, a = 0`, so that the fault shows in every output it reaches.
//!
//! The error of a value is at most `α / 2`, `m / 254`; spread evenly, its root mean square is `α / √12`. Of normally distributed
//! values in groups of 128, whose `m` is about 2.7 times their deviation, that is 0.6 % of them.
//!
//! | part | shape | type |
//! | --- | --- | --- |
//! | values `a` | `[tokens, columns]` | i8 |
//! | scales `α` | `[tokens, groups]` | f32 |
//! | sums `−Σ a` | `[tokens, groups]` | split into two 16-bit halves, see [`split_sum`] |
//!
//! Memory: [`workspace_bytes`]. All instruction sets give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use ledger::Bytes;

use crate::backend::cpu::{Carver, InstructionSet, Pool};
use crate::ops::matrix_error::{MatrixError, check_length};
use crate::ops::tiles::check_group_size;

/// Groups whose largest magnitude is below this count as zero.
pub(crate) const SMALLEST_MAXIMUM: f32 = 1e-36;

/// Quantised activations, borrowed from a workspace.
#[derive(Debug, Clone, Copy)]
pub struct QuantizedActivations<'a> {
    tokens: usize,
    columns: usize,
    group_size: usize,
    values: &'a [i8],
    scales: &'a [f32],
    sums: &'a [i32],
}

impl<'a> QuantizedActivations<'a> {
    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Values of a token.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Values that share a scale.
    pub fn group_size(&self) -> usize {
        self.group_size
    }

    /// Groups of a token.
    pub fn groups(&self) -> usize {
        self.columns / self.group_size
    }

    /// The 8-bit values of one group.
    #[inline(always)]
    pub fn group_values(&self, token: usize, group: usize) -> &'a [i8] {
        let start = token * self.columns + group * self.group_size;
        &self.values[start..start + self.group_size]
    }

    /// The scale of one group.
    #[inline(always)]
    pub fn group_scale(&self, token: usize, group: usize) -> f32 {
        self.scales[token * self.groups() + group]
    }

    /// The negated sum of one group's values, split.
    #[inline(always)]
    pub fn group_sum(&self, token: usize, group: usize) -> i32 {
        self.sums[token * self.groups() + group]
    }

    /// All values `[tokens, columns]`.
    pub(crate) fn values(&self) -> &'a [i8] {
        self.values
    }

    /// All scales `[tokens, groups]`.
    pub(crate) fn scales(&self) -> &'a [f32] {
        self.scales
    }

    /// All split sums `[tokens, groups]`.
    pub(crate) fn sums(&self) -> &'a [i32] {
        self.sums
    }
}

/// `−sum` as `low + 128 · high`, low half-word and high half-word, `low` in 0..127.
///
/// `vpdpwssd` multiplies both halves in one instruction with `(z, 128 z)`, which starts a group's dot product at
/// `−z Σ a`; the zero points then cost nothing in the inner loop. `|sum| ≤ 127 · 16384`, so both halves fit.
pub fn split_sum(sum: i32) -> i32 {
    let negated = -sum;
    negated & 127 | (negated >> 7) << 16
}

/// The sum that [`split_sum`] split.
pub fn joined_sum(split: i32) -> i32 {
    -((split & 127) + (split >> 16) * 128)
}

/// Workspace for `tokens` x `columns` activations in groups of `group_size`: `tokens · columns` bytes of values and
/// `8 · tokens · columns / group_size` bytes of scales and sums, each part padded to 64 bytes, and 64 bytes for the
/// alignment of the first.
pub const fn workspace_bytes(tokens: usize, columns: usize, group_size: usize) -> Bytes {
    let groups = tokens.saturating_mul(columns.div_ceil(if group_size == 0 { 1 } else { group_size }));
    let values = Carver::bytes::<i8>(tokens.saturating_mul(columns));
    let bytes = values + Carver::bytes::<f32>(groups) + Carver::bytes::<i32>(groups) + Carver::ALIGNMENT;
    Bytes(bytes as u64)
}

/// Quantises `x [tokens, columns]` into `workspace`, several tokens on all workers of `pool`, one token on the caller.
///
/// # Errors
/// If the group size does not divide the columns, or a length is wrong.
pub fn quantize_activations<'w>(
    pool: &Pool,
    isa: InstructionSet,
    x: &[f32],
    tokens: usize,
    group_size: usize,
    workspace: &'w mut [u8],
) -> Result<QuantizedActivations<'w>, MatrixError> {
    let columns = x.len().checked_div(tokens).unwrap_or(group_size);
    check_group_size(columns, group_size)?;
    check_length("activations", x.len(), tokens * columns)?;
    let groups = tokens * (columns / group_size);
    let (available, needed) = (workspace.len(), workspace_bytes(tokens, columns, group_size).0 as usize);
    let mut carver = Carver::new(workspace);
    let (Some(values), Some(scales), Some(sums)) =
        (carver.take::<i8>(x.len()), carver.take::<f32>(groups), carver.take::<i32>(groups))
    else {
        return Err(MatrixError::Length { part: "workspace", actual: available, expected: needed });
    };
    // A token is a few microseconds of work at most, less than a section is worth.
    let grain = 4 * columns / group_size;
    pool.split_slices(
        groups,
        grain,
        (&mut *values, &mut *scales, &mut *sums),
        &|range, values, scales, sums| {
            let x = &x[range.start * group_size..range.end * group_size];
            match isa.supported() {
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512Vnni => avx512::quantize(x, group_size, values, scales, sums),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => avx2::quantize(x, group_size, values, scales, sums),
                #[cfg(target_arch = "aarch64")]
                InstructionSet::NeonDotprod => neon::quantize(x, group_size, values, scales, sums),
                InstructionSet::Portable => portable::quantize(x, group_size, values, scales, sums),
            }
        },
    );
    Ok(QuantizedActivations { tokens, columns, group_size, values, scales, sums })
}

#[cfg(test)]
mod tests;
