//! The packed form that the quantised matrices share, and the kernels that multiply it.
//!
//! A tile is 16 consecutive rows of `W` (the last tile padded with rows of scale 0). Inside a tile the columns come in
//! blocks of 64 bytes, four bytes a row, so that one 64-byte load is one operand of `vpdpbusd` with a row in each
//! 32-bit lane, and each quarter of it one of `sdot`:
//!
//! ```text
//! 8 bits   block = 4 columns from k:  byte[4 r + i] = u[r][k + i]
//! 4 bits   block = 8 columns from k:  byte[4 r + i] = u[r][k + i] | u[r][k + 4 + i] << 4
//! ```
//!
//! With `u` the stored unsigned value, `z` the zero point (one a row and group), `s` the scale, `a` the 8-bit activation
//! and `α` its scale, groups `G` in ascending order:
//!
//! ```text
//! y[t][r] = Σ_G  f32( Σ_{k in G} u[r][k] a[t][k]  −  z[r][G] Σ_{k in G} a[t][k] ) · s[r][G] · α[t][G]
//! ```
//!
//! The inner sums are exact in 32 bits; the outer sum is one fused multiply-add a group, `fma(f32(…) · s, α, y)`. So a
//! result depends on the instruction set only through fusing, and never on which tokens or rows are computed together.
//!
//! | part | shape | bytes per weight, group size g |
//! | --- | --- | --- |
//! | values | `[tile][columns / 8 or / 4]` blocks of 64 bytes | 1/2 or 1 |
//! | scales | `[tile][group][16]` 16-bit floats | 2 / g |
//! | zero points | `[tile][group][8 bytes]`, byte j = row 2j low nibble, row 2j + 1 high; 4 bits only, absent if all 8 | 1 / (2 g) |

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod exact;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod view;

pub use view::PackedBytes;
use view::RUN;
pub(crate) use view::{TileShape, Tiles, Width, check_group_size};

use crate::backend::cpu::{ColumnsMut, InstructionSet};
use crate::ops::quantize_activations::QuantizedActivations;
use crate::ops::store::Store;

/// Rows in a tile.
pub(crate) const TILE_ROWS: usize = 16;

/// Tokens that are multiplied with a tile while it passes by once.
pub(crate) fn tokens_together(isa: InstructionSet) -> usize {
    match isa.supported() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => avx512::MOST_TOKENS,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => avx2::MOST_TOKENS,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonDotprod => neon::MOST_TOKENS,
        InstructionSet::Portable => 1,
    }
}

/// Multiplies the tiles that `out`'s columns are the rows of with all tokens of `activations`. `out` starts at a tile's
/// first row; `activations` have the columns and the group size of `tiles`.
pub(crate) fn multiply(
    isa: InstructionSet,
    tiles: &Tiles<'_>,
    activations: &QuantizedActivations<'_>,
    out: &mut ColumnsMut<'_>,
    store: Store,
) {
    assert_eq!(activations.columns(), tiles.shape().columns(), "columns of activations and weights");
    assert_eq!(activations.group_size(), tiles.shape().group_size(), "groups of activations and weights");
    assert_eq!(activations.tokens(), out.rows(), "tokens of activations and outputs");
    assert!(out.columns().start.is_multiple_of(TILE_ROWS) && out.columns().end <= tiles.shape().rows());
    match isa.supported() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => avx512::multiply(tiles, activations, out, store),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => avx2::multiply(tiles, activations, out, store),
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonDotprod => neon::multiply(tiles, activations, out, store),
        InstructionSet::Portable => portable::multiply(tiles, activations, out, store),
    }
}

/// Multiplies the tiles that `out`'s columns are the rows of with all tokens of `x [tokens, columns]` in f32.
pub(crate) fn multiply_exact(
    isa: InstructionSet,
    tiles: &Tiles<'_>,
    x: &[f32],
    out: &mut ColumnsMut<'_>,
    store: Store,
) {
    assert_eq!(x.len(), out.rows() * tiles.shape().columns(), "activations and outputs have the same tokens");
    assert!(out.columns().start.is_multiple_of(TILE_ROWS) && out.columns().end <= tiles.shape().rows());
    match isa.supported() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => avx512::multiply_exact(tiles, x, out, store),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => avx2::multiply_exact(tiles, x, out, store),
        // The baseline of aarch64 has fused multiply-adds.
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonDotprod => exact::multiply::<true>(tiles, x, out, store),
        InstructionSet::Portable => exact::multiply::<false>(tiles, x, out, store),
    }
}
