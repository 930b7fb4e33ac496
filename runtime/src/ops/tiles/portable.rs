//! The product in plain Rust, in the order of the formula: 16 rows at a time, exact 32-bit sums in a group.

use super::{TILE_ROWS, Tiles, Width};
use crate::backend::cpu::ColumnsMut;
use crate::ops::quantize_activations::{QuantizedActivations, joined_sum};
use crate::ops::store::Store;

/// See [`super::multiply`].
pub(super) fn multiply(
    tiles: &Tiles<'_>,
    activations: &QuantizedActivations<'_>,
    out: &mut ColumnsMut<'_>,
    store: Store,
) {
    let first_tile = out.columns().start / TILE_ROWS;
    for token in 0..activations.tokens() {
        for (index, out) in out.row(token).chunks_mut(TILE_ROWS).enumerate() {
            let mut products = [0.0f32; TILE_ROWS];
            for group in 0..tiles.shape().groups() {
                add_group(tiles, activations, first_tile + index, token, group, &mut products);
            }
            store.put(out, &products);
        }
    }
}

fn add_group(
    tiles: &Tiles<'_>,
    activations: &QuantizedActivations<'_>,
    tile: usize,
    token: usize,
    group: usize,
    products: &mut [f32; TILE_ROWS],
) {
    let values = activations.group_values(token, group);
    let sum = joined_sum(activations.group_sum(token, group));
    let activation_scale = activations.group_scale(token, group);
    let scales = tiles.group_scales(tile, group);
    let blocks = tiles.group_values(tile, group);
    let dots = match tiles.shape().width() {
        Width::Int4 => dot_int4(blocks, values),
        Width::Int8 => dot_int8(blocks, values),
    };
    for row in 0..TILE_ROWS {
        let dot = dots[row] - tiles.zero_point(tile, group, row) * sum;
        products[row] += dot as f32 * tiles.scale_type().to_f32(scales[row]) * activation_scale;
    }
}

fn dot_int4(blocks: &[u8], activations: &[i8]) -> [i32; TILE_ROWS] {
    let mut dots = [0i32; TILE_ROWS];
    for (block, activations) in blocks.chunks_exact(64).zip(activations.chunks_exact(8)) {
        for (dot, bytes) in dots.iter_mut().zip(block.chunks_exact(4)) {
            for i in 0..4 {
                *dot += i32::from(bytes[i] & 15) * i32::from(activations[i]);
                *dot += i32::from(bytes[i] >> 4) * i32::from(activations[i + 4]);
            }
        }
    }
    dots
}

fn dot_int8(blocks: &[u8], activations: &[i8]) -> [i32; TILE_ROWS] {
    let mut dots = [0i32; TILE_ROWS];
    for (block, activations) in blocks.chunks_exact(64).zip(activations.chunks_exact(4)) {
        for (dot, bytes) in dots.iter_mut().zip(block.chunks_exact(4)) {
            for i in 0..4 {
                *dot += i32::from(bytes[i]) * i32::from(activations[i]);
            }
        }
    }
    dots
}
