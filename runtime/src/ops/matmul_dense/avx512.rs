//! Sixteen columns to a register; four rows times up to four tokens at a time.
//!
//! The sixteen sums stay in registers, so that each load of weights or activations feeds four multiply-adds. Rows are in the
//! inner loop: a piece's rows fit the second-level cache and its four tokens the first. Expected bound: bandwidth for
//! few tokens, then two multiply-adds a cycle.

use std::arch::x86_64::*;

use super::{DenseMatrix, DenseType};
use crate::backend::cpu::{ColumnsMut, InstructionSet};
use crate::ops::store::Store;

/// Columns in a register.
const LANES: usize = 16;

/// Rows of a step.
const MOST_ROWS: usize = 4;

/// Tokens of a step.
const MOST_TOKENS: usize = 4;

/// How far ahead of its use a row's data is asked for.
const PREFETCH_BYTES: usize = 1024;

const F16: u8 = 0;
const BF16: u8 = 1;
const F32: u8 = 2;

/// See [`super::multiply`].
pub(super) fn multiply(matrix: &DenseMatrix<'_>, x: &[f32], out: &mut ColumnsMut<'_>, store: Store) {
    assert!(
        InstructionSet::detect() >= InstructionSet::Avx512Vnni,
        "the caller asks for supported instructions only"
    );
    let (tokens, rows, columns) = (out.rows(), out.columns(), matrix.columns());
    for first_token in (0..tokens).step_by(MOST_TOKENS) {
        let step_tokens = MOST_TOKENS.min(tokens - first_token);
        let x = &x[first_token * columns..(first_token + step_tokens) * columns];
        let mut row = rows.start;
        while row < rows.end {
            let step_rows = if rows.end - row >= MOST_ROWS { MOST_ROWS } else { 1 };
            let mut products = [[0.0; MOST_ROWS]; MOST_TOKENS];
            // SAFETY: the instructions are supported, as checked above.
            unsafe { step(matrix, x, row, step_rows, step_tokens, &mut products) };
            for (token, products) in products.iter().take(step_tokens).enumerate() {
                let offset = row - rows.start;
                let out = &mut out.row(first_token + token)[offset..offset + step_rows];
                store.put(out, products);
            }
            row += step_rows;
        }
    }
}

type Products = [[f32; MOST_ROWS]; MOST_TOKENS];

/// Fills `products [token][row]` for 4 rows or 1 from `row` on, and all `tokens` of `x`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn step(
    matrix: &DenseMatrix<'_>,
    x: &[f32],
    row: usize,
    rows: usize,
    tokens: usize,
    products: &mut Products,
) {
    match matrix.element() {
        DenseType::F16 => step_of::<F16>(matrix, x, row, rows, tokens, products),
        DenseType::Bf16 => step_of::<BF16>(matrix, x, row, rows, tokens, products),
        DenseType::F32 => step_of::<F32>(matrix, x, row, rows, tokens, products),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn step_of<const ELEMENT: u8>(
    matrix: &DenseMatrix<'_>,
    x: &[f32],
    row: usize,
    rows: usize,
    tokens: usize,
    products: &mut Products,
) {
    match (rows, tokens) {
        (1, 1) => dots::<ELEMENT, 1, 1>(matrix, x, row, products),
        (1, 2) => dots::<ELEMENT, 1, 2>(matrix, x, row, products),
        (1, 3) => dots::<ELEMENT, 1, 3>(matrix, x, row, products),
        (1, _) => dots::<ELEMENT, 1, 4>(matrix, x, row, products),
        (_, 1) => dots::<ELEMENT, 4, 1>(matrix, x, row, products),
        (_, 2) => dots::<ELEMENT, 4, 2>(matrix, x, row, products),
        (_, 3) => dots::<ELEMENT, 4, 3>(matrix, x, row, products),
        (_, _) => dots::<ELEMENT, 4, 4>(matrix, x, row, products),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn dots<const ELEMENT: u8, const ROWS: usize, const TOKENS: usize>(
    matrix: &DenseMatrix<'_>,
    x: &[f32],
    row: usize,
    products: &mut Products,
) {
    let columns = matrix.columns();
    let size = matrix.element().size();
    // Loops and not `array::from_fn`: its closures would carry the instructions, which `from_fn` cannot inline.
    let mut weights = [std::ptr::null(); ROWS];
    for (index, weights) in weights.iter_mut().enumerate() {
        *weights = matrix.row(row + index).as_ptr();
    }
    let x = x[..TOKENS * columns].as_ptr();
    let mut sums = [[_mm512_setzero_ps(); ROWS]; TOKENS];
    for first in (0..columns).step_by(LANES) {
        let mask = if columns - first >= LANES { u16::MAX } else { (1 << (columns - first)) - 1 };
        let mut lanes = [_mm512_setzero_ps(); ROWS];
        for (lanes, weights) in lanes.iter_mut().zip(weights) {
            let pointer = weights.wrapping_add(first * size);
            _mm_prefetch::<_MM_HINT_T0>(pointer.wrapping_add(PREFETCH_BYTES).cast());
            // SAFETY: the mask selects columns below `columns`, which every row has.
            *lanes = unsafe { load::<ELEMENT>(pointer, mask) };
        }
        for (token, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the mask selects columns below `columns`, which each of the `TOKENS` tokens has.
            let x = unsafe { _mm512_maskz_loadu_ps(mask, x.add(token * columns + first)) };
            for (sum, lanes) in sums.iter_mut().zip(lanes) {
                *sum = _mm512_fmadd_ps(lanes, x, *sum);
            }
        }
    }
    for (sums, products) in sums.iter().zip(products) {
        for (sum, product) in sums.iter().zip(products) {
            *product = _mm512_reduce_add_ps(*sum);
        }
    }
}

/// Sixteen elements as f32, zero where the mask is.
///
/// # Safety
/// The elements that the mask selects must be readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load<const ELEMENT: u8>(pointer: *const u8, mask: u16) -> __m512 {
    // SAFETY: masked loads touch selected elements only.
    unsafe {
        match ELEMENT {
            F16 => _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, pointer.cast())),
            BF16 => {
                let bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, pointer.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
            }
            _ => _mm512_maskz_loadu_ps(mask, pointer.cast()),
        }
    }
}
