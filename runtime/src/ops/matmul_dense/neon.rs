//! Eight columns to two registers; two rows times up to four tokens at a time, eight sums of two registers.
//!
//! Products are summed in the order of AVX2. Expected bound: bandwidth for few tokens, then two multiply-adds a cycle.

use std::arch::aarch64::*;

use super::{DenseMatrix, DenseType};
use crate::backend::cpu::ColumnsMut;
use crate::ops::store::Store;

/// Columns in a pair of registers.
const LANES: usize = 8;

/// Rows of a step.
const MOST_ROWS: usize = 2;

/// Tokens of a step.
const MOST_TOKENS: usize = 4;

const F16: u8 = 0;
const BF16: u8 = 1;
const F32: u8 = 2;

/// Eight values.
type Pair = [float32x4_t; 2];

/// See [`super::multiply`].
pub(super) fn multiply(matrix: &DenseMatrix<'_>, x: &[f32], out: &mut ColumnsMut<'_>, store: Store) {
    let (tokens, rows, columns) = (out.rows(), out.columns(), matrix.columns());
    for first_token in (0..tokens).step_by(MOST_TOKENS) {
        let step_tokens = MOST_TOKENS.min(tokens - first_token);
        let x = &x[first_token * columns..(first_token + step_tokens) * columns];
        let mut row = rows.start;
        while row < rows.end {
            let step_rows = MOST_ROWS.min(rows.end - row);
            let mut products = [[0.0; MOST_ROWS]; MOST_TOKENS];
            // SAFETY: every aarch64 Linux has NEON.
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

/// Fills `products [token][row]` for 2 rows or 1 from `row` on, and all `tokens` of `x`.
#[target_feature(enable = "neon")]
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

#[target_feature(enable = "neon")]
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
        (_, 1) => dots::<ELEMENT, 2, 1>(matrix, x, row, products),
        (_, 2) => dots::<ELEMENT, 2, 2>(matrix, x, row, products),
        (_, 3) => dots::<ELEMENT, 2, 3>(matrix, x, row, products),
        (_, _) => dots::<ELEMENT, 2, 4>(matrix, x, row, products),
    }
}

#[target_feature(enable = "neon")]
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
    let mut sums = [[[vdupq_n_f32(0.0); 2]; ROWS]; TOKENS];
    let whole = columns / LANES * LANES;
    for first in (0..whole).step_by(LANES) {
        let mut lanes = [[vdupq_n_f32(0.0); 2]; ROWS];
        for (lanes, weights) in lanes.iter_mut().zip(weights) {
            // SAFETY: `first + 8 <= columns`, which every row has.
            *lanes = unsafe { load::<ELEMENT>(weights.as_ptr().add(first * size)) };
        }
        for (token, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `first + 8 <= columns`, which each of the `TOKENS` tokens has.
            let x = unsafe { load::<F32>(x.as_ptr().add(token * columns + first).cast()) };
            for (sum, lanes) in sums.iter_mut().zip(lanes) {
                *sum = add_products(*sum, lanes, x);
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
                let (lanes, x) =
                    unsafe { (load::<ELEMENT>(bytes.as_ptr()), load::<F32>(rest.as_ptr().cast())) };
                sums[row] = add_products(sums[row], lanes, x);
            }
        }
    }
    for (sums, products) in sums.iter().zip(products) {
        for (sum, product) in sums.iter().zip(products) {
            *product = total(*sum);
        }
    }
}

/// `sum + a · b`, lane by lane.
#[inline]
#[target_feature(enable = "neon")]
fn add_products(sum: Pair, a: Pair, b: Pair) -> Pair {
    [vfmaq_f32(sum[0], a[0], b[0]), vfmaq_f32(sum[1], a[1], b[1])]
}

/// Eight elements as f32.
///
/// # Safety
/// Eight elements must be readable.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load<const ELEMENT: u8>(pointer: *const u8) -> Pair {
    // Bytes, because a row may begin at any address.
    // SAFETY: passed on.
    let first = unsafe { vld1q_u8(pointer) };
    match ELEMENT {
        F16 => {
            let bits = vreinterpretq_f16_u8(first);
            [vcvt_f32_f16(vget_low_f16(bits)), vcvt_high_f32_f16(bits)]
        }
        BF16 => {
            let bits = vreinterpretq_u16_u8(first);
            [
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(bits))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(bits)),
            ]
        }
        _ => {
            // SAFETY: eight f32 are 32 bytes.
            let second = unsafe { vld1q_u8(pointer.add(16)) };
            [vreinterpretq_f32_u8(first), vreinterpretq_f32_u8(second)]
        }
    }
}

/// The lanes in a tree: halves added until one is left.
#[inline]
#[target_feature(enable = "neon")]
fn total(sum: Pair) -> f32 {
    let four = vaddq_f32(sum[0], sum[1]);
    let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
}
