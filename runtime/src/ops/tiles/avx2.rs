//! Kernel.

use super::{Tiles, exact, portable};
use crate::backend::cpu::{ColumnsMut, InstructionSet};
use crate::ops::linear::Store;
use crate::ops::quantize_activations::QuantizedActivations;

pub(super) fn multiply(t: &Tiles<'_>, a: &QuantizedActivations<'_>, out: &mut ColumnsMut<'_>, store: Store) {
    portable::multiply(t, a, out, store);
}

/// See [`super::multiply_exact`].
pub(super) fn multiply_exact(tiles: &Tiles<'_>, x: &[f32], out: &mut ColumnsMut<'_>, store: Store) {
    assert!(
        InstructionSet::detect() >= InstructionSet::Avx2,
        "the caller asks for supported instructions only"
    );
    // SAFETY: the instructions are supported, as checked above.
    unsafe { exact_with_vectors(tiles, x, out, store) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn exact_with_vectors(tiles: &Tiles<'_>, x: &[f32], out: &mut ColumnsMut<'_>, store: Store) {
    exact::multiply::<true>(tiles, x, out, store);
}
