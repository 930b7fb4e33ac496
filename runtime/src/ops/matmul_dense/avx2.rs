//! Eight columns to a register; four rows times up to two tokens at a time, eight sums in registers.

use std::arch::x86_64::*;

use super::{DenseMatrix, DenseType};
use crate::backend::cpu::{ColumnsMut, InstructionSet};
use crate::ops::store::Store;

/// Columns in a register.
const LANES: usize = 8;

/// Rows of a step.
const MOST_ROWS: usize = 4;

/// Tokens of a step.
const MOST_TOKENS: usize = 2;

const F16: u8 = 0;
const BF16: u8 = 1;
const F32: u8 = 2;

/// See [`super::multiply`].
pub(super) fn multiply(matrix: &DenseMatrix<'_>, x: &[f32], out: &mut ColumnsMut<'_>, store: Store) {
    assert!(
        InstructionSet::detect() >= InstructionSet::Avx2,
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
#[target_feature(enable = "avx2,fma,f16c")]
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

#[target_feature(enable = "avx2,fma,f16c")]
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
        (1, _) => dots::<ELEMENT, 1, 2>(matrix, x, row, products),
        (_, 1) => dots::<ELEMENT, 4, 1>(matrix, x, row, products),
        (_, _) => dots::<ELEMENT, 4, 2>(matrix, x, row, products),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dots<const ELEMENT: u8, const ROWS: usize, const TOKENS: usize>(
    matrix: &DenseMatrix<'_>,
    x: &[f32],
    row: usize,
    products: &mut Products,
) {
    let columns = matrix.columns();
    let size = matrix.element().size();
    // Loops and not `array::from_fn`: its closures would carry the instructions, which `from_fn` cannot inline.
    let mut weights: [&[u8]; ROWS] = [&[]; ROWS];
    for (index, weights) in weights.iter_mut().enumerate() {
        *weights = matrix.row(row + index);
    }
    let x = &x[..TOKENS * columns];
    let mut sums = [[_mm256_setzero_ps(); ROWS]; TOKENS];
    let whole = columns / LANES * LANES;
    for first in (0..whole).step_by(LANES) {
        let mut lanes = [_mm256_setzero_ps(); ROWS];
        for (lanes, weights) in lanes.iter_mut().zip(weights) {
            // SAFETY: `first + 8 <= columns`, which every row has.
            *lanes = unsafe { load::<ELEMENT>(weights.as_ptr().add(first * size)) };
        }
        for (token, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `first + 8 <= columns`, which each of the `TOKENS` tokens has.
            let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(token * columns + first)) };
            for (sum, lanes) in sums.iter_mut().zip(lanes) {
                *sum = _mm256_fmadd_ps(lanes, x, *sum);
            }
        }
    }
    if whole < columns {
        for (row, weights) in weights.iter().enumerate() {
            // The rest is widened with zeros, which add nothing.
            let mut bytes = [0u8; LANES * 4];
            bytes[..(columns - whole) * size].copy_from_slice(&weights[whole * size..]);
            for (token, sums) in sums.iter_mut().enumerate() {
                let mut rest = [0.0f32; LANES];
                rest[..columns - whole].copy_from_slice(&x[token * columns + whole..(token + 1) * columns]);
                // SAFETY: both arrays hold eight elements of the largest type.
                let (lanes, x) = unsafe { (load::<ELEMENT>(bytes.as_ptr()), _mm256_loadu_ps(rest.as_ptr())) };
                sums[row] = _mm256_fmadd_ps(lanes, x, sums[row]);
            }
        }
    }
    for (sums, products) in sums.iter().zip(products) {
        for (sum, product) in sums.iter().zip(products) {
            *product = total(*sum);
        }
    }
}

/// Eight elements as f32.
///
/// # Safety
/// Eight elements must be readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load<const ELEMENT: u8>(pointer: *const u8) -> __m256 {
    // SAFETY: passed on.
    unsafe {
        match ELEMENT {
            F16 => _mm256_cvtph_ps(_mm_loadu_si128(pointer.cast())),
            BF16 => {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(pointer.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
            }
            _ => _mm256_loadu_ps(pointer.cast()),
        }
    }
}

/// The lanes in a tree: halves added until one is left.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn total(sum: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}
