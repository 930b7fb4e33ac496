//! The exact product: f32 activations and dequantised weights, in 16 lanes.
//!
//! A panel of 16 rows x 128 columns is dequantised once for 16 tokens and stays in the first-level cache. Lane
//! `column % 16` sums its columns in ascending order, the lanes are added in a fixed tree. The code is plain; the files
//! of the instruction sets compile it again with wider vectors and fused multiply-adds.

use super::{RUN, TILE_ROWS, Tiles};
use crate::backend::cpu::ColumnsMut;
use crate::ops::matmul_dense::{LANES, sum};
use crate::ops::store::Store;

/// Columns in a panel.
const PANEL: usize = 4 * RUN;

/// Tokens that a panel is used for.
const TOKENS: usize = 16;

/// See [`super::multiply_exact`]. `FUSED`: whether the processor has fused multiply-adds.
#[inline(always)]
pub(super) fn multiply<const FUSED: bool>(
    tiles: &Tiles<'_>,
    x: &[f32],
    out: &mut ColumnsMut<'_>,
    store: Store,
) {
    let columns = tiles.shape().columns();
    let first_tile = out.columns().start / TILE_ROWS;
    let width = out.columns().len();
    for offset in (0..width).step_by(TILE_ROWS) {
        let tile = first_tile + offset / TILE_ROWS;
        for first_token in (0..out.rows()).step_by(TOKENS) {
            let tokens = TOKENS.min(out.rows() - first_token);
            let x = &x[first_token * columns..(first_token + tokens) * columns];
            let mut sums = [[[0.0f32; LANES]; TILE_ROWS]; TOKENS];
            let mut panel = [[0.0f32; PANEL]; TILE_ROWS];
            for first_column in (0..columns).step_by(PANEL) {
                let length = PANEL.min(columns - first_column);
                dequantise(tiles, tile, first_column, length, &mut panel);
                for (x, sums) in x.chunks_exact(columns).zip(&mut sums) {
                    let x = x[first_column..first_column + length].as_chunks::<LANES>().0;
                    for (weights, lanes) in panel.iter().zip(sums) {
                        add_products::<FUSED>(&weights[..length], x, lanes);
                    }
                }
            }
            for (token, sums) in sums.iter().take(tokens).enumerate() {
                let out = &mut out.row(first_token + token)[offset..];
                store.put(out, &sums.map(sum));
            }
        }
    }
}

#[inline(always)]
fn add_products<const FUSED: bool>(weights: &[f32], x: &[[f32; LANES]], lanes: &mut [f32; LANES]) {
    let mut total = *lanes;
    for (weights, x) in weights.as_chunks::<LANES>().0.iter().zip(x) {
        for lane in 0..LANES {
            total[lane] = if FUSED {
                weights[lane].mul_add(x[lane], total[lane])
            } else {
                total[lane] + weights[lane] * x[lane]
            };
        }
    }
    *lanes = total;
}

/// Columns `first_column..first_column + length` of a tile as floats; both are multiples of [`RUN`].
#[inline(always)]
fn dequantise(
    tiles: &Tiles<'_>,
    tile: usize,
    first_column: usize,
    length: usize,
    panel: &mut [[f32; PANEL]; TILE_ROWS],
) {
    for (row, weights) in panel.iter_mut().enumerate() {
        for (run, weights) in weights[..length].as_chunks_mut::<RUN>().0.iter_mut().enumerate() {
            tiles.dequantise_run(tile, row, first_column / RUN + run, weights);
        }
    }
}
