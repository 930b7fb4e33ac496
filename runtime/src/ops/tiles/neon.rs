//! NEON: four rows to a register, `sdot` for four columns at once, the four activations picked from a lane.
//!
//! A register of activations has sixteen columns of a token, a word in each lane, and `sdot` by a lane broadcasts for free:
//! no token's activations are loaded more than once for the rows of a step. A step computes all four registers of a tile for
//! up to four tokens, or the two of half a tile, one half after the other inside each group, for up to eight: sixteen sums
//! at most, so that sums, activations and weights stay in the 32 registers. 4-bit values are signed bytes as they are; 8-bit
//! ones become signed by their top bit, which takes the 128 off. Zero points cost nothing in the inner loop: each sum starts at
//! `−z Σ a`. The results are those of AVX2 and AVX-512 bit for bit.

use std::arch::aarch64::*;
use std::arch::asm;

use super::view::Tile;
use super::{TILE_ROWS, Tiles, Width};
use crate::backend::cpu::{ColumnsMut, InstructionSet};
use crate::ops::HalfType;
use crate::ops::quantize_activations::{QuantizedActivations, joined_sum};
use crate::ops::store::Store;

/// Tokens of a step.
pub(super) const MOST_TOKENS: usize = 8;

/// Rows in a register.
const LANES: usize = 4;

/// Columns in a register of activations.
const CHUNK: usize = 16;

/// See [`super::multiply`].
pub(super) fn multiply(
    tiles: &Tiles<'_>,
    activations: &QuantizedActivations<'_>,
    out: &mut ColumnsMut<'_>,
    store: Store,
) {
    assert!(
        InstructionSet::detect() >= InstructionSet::NeonDotprod,
        "the caller asks for supported instructions only"
    );
    let first_tile = out.columns().start / TILE_ROWS;
    let tile_count = out.columns().len().div_ceil(TILE_ROWS);
    let tokens = activations.tokens();
    // Blocks of nearly equal size, as on AVX-512.
    let blocks = tokens.div_ceil(MOST_TOKENS);
    for block in 0..blocks {
        let (first, end) = (tokens * block / blocks, tokens * (block + 1) / blocks);
        for offset in 0..tile_count {
            let step = Step { tiles, activations, tile: first_tile + offset, token: first };
            let mut products = [[0.0f32; TILE_ROWS]; MOST_TOKENS];
            // SAFETY: the instructions are supported, as checked above; the tile and tokens of the step exist, because
            // `multiply` in the parent module has checked that `out` has no more rows and tokens than its operands.
            unsafe { step.run(end - first, &mut products) };
            for token in first..end {
                store.put(&mut out.row(token)[offset * TILE_ROWS..], &products[token - first]);
            }
        }
    }
}

/// One tile times some consecutive tokens.
struct Step<'a> {
    tiles: &'a Tiles<'a>,
    activations: &'a QuantizedActivations<'a>,
    tile: usize,
    token: usize,
}

/// `[token][row]`.
type Products = [[f32; TILE_ROWS]; MOST_TOKENS];

impl Step<'_> {
    /// Adds to `products [token][row]` for 1 to [`MOST_TOKENS`] tokens.
    ///
    /// # Safety
    /// The processor must support the instructions, and the tile and tokens must exist.
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn run(&self, tokens: usize, products: &mut Products) {
        match self.tiles.shape().width() {
            // SAFETY: passed on.
            Width::Int4 => unsafe { self.run_width::<4>(tokens, products) },
            // SAFETY: passed on.
            Width::Int8 => unsafe { self.run_width::<8>(tokens, products) },
        }
    }

    /// # Safety
    /// As [`Step::run`].
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn run_width<const BITS: usize>(&self, tokens: usize, products: &mut Products) {
        // SAFETY: passed on.
        unsafe {
            match tokens {
                1 => self.dots::<BITS, 4, 1>(products),
                2 => self.dots::<BITS, 4, 2>(products),
                3 => self.dots::<BITS, 4, 3>(products),
                4 => self.dots::<BITS, 4, 4>(products),
                5 => self.dots::<BITS, 2, 5>(products),
                6 => self.dots::<BITS, 2, 6>(products),
                7 => self.dots::<BITS, 2, 7>(products),
                _ => self.dots::<BITS, 2, 8>(products),
            }
        }
    }

    /// # Safety
    /// As [`Step::run`], for exactly `TOKENS` tokens, with `REGISTERS` of the tile's four registers of rows at a time.
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dots<const BITS: usize, const REGISTERS: usize, const TOKENS: usize>(
        &self,
        products: &mut Products,
    ) {
        let shape = self.tiles.shape();
        let (groups, columns, group_size) = (shape.groups(), shape.columns(), shape.group_size());
        let of_tokens = |width: usize| self.token * width..(self.token + TOKENS) * width;
        let values = &self.activations.values()[of_tokens(columns)];
        let activation_scales = &self.activations.scales()[of_tokens(groups)];
        let activation_sums = &self.activations.sums()[of_tokens(groups)];
        let tile = self.tiles.tile(self.tile);
        let group_bytes = shape.group_blocks() * 64;
        for group in 0..groups {
            for first in (0..TILE_ROWS / LANES).step_by(REGISTERS) {
                let mut sums = [[vdupq_n_s32(0); TOKENS]; REGISTERS];
                if BITS == 4 {
                    let zero_points = zero_points::<REGISTERS>(&tile, group, first);
                    for token in 0..TOKENS {
                        let sum = vdupq_n_s32(-joined_sum(activation_sums[token * groups + group]));
                        for register in 0..REGISTERS {
                            sums[register][token] = vmulq_s32(zero_points[register], sum);
                        }
                    }
                }
                let blocks = tile.values[group * group_bytes + first * 16..].as_ptr();
                let words = values[group * group_size..].as_ptr();
                // SAFETY: a group has `group_size` columns of weights, of which the rows from `4 first` on are
                // `16 first` bytes behind the start of each block, and as many activations a token.
                unsafe {
                    add_group::<BITS, REGISTERS, TOKENS>(&mut sums, blocks, (words, columns), group_size);
                }
                let scales = row_scales::<REGISTERS>(self.tiles.scale_type(), &tile.scales[group], first);
                for (token, products) in products.iter_mut().take(TOKENS).enumerate() {
                    let activation_scale = vdupq_n_f32(activation_scales[token * groups + group]);
                    for register in 0..REGISTERS {
                        let scaled = vmulq_f32(vcvtq_f32_s32(sums[register][token]), scales[register]);
                        let products = &mut products[(first + register) * LANES..][..LANES];
                        // SAFETY: the slice has four floats.
                        unsafe {
                            let total = vld1q_f32(products.as_ptr());
                            vst1q_f32(products.as_mut_ptr(), vfmaq_f32(total, scaled, activation_scale));
                        }
                    }
                }
            }
        }
    }
}

/// Adds a group's products to `sums [register][token]`. `words`: the first token's activations, and how far the next token's
/// are.
///
/// # Safety
/// There must be `columns` columns, a multiple of 16, of `16 REGISTERS` bytes in each block of 64 from `blocks` on, and as many
/// activations of each token.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add_group<const BITS: usize, const REGISTERS: usize, const TOKENS: usize>(
    sums: &mut [[int32x4_t; TOKENS]; REGISTERS],
    blocks: *const u8,
    words: (*const i8, usize),
    columns: usize,
) {
    let (words, stride) = words;
    let chunk_bytes = CHUNK * TILE_ROWS * BITS / 8;
    for chunk in 0..columns / CHUNK {
        let mut activations = [vdupq_n_s8(0); TOKENS];
        for (token, activations) in activations.iter_mut().enumerate() {
            // SAFETY: `chunk` is one of the token's.
            *activations = unsafe { vld1q_s8(words.add(token * stride + chunk * CHUNK)) };
        }
        // SAFETY: a chunk is two blocks of 4 bits or four of 8, each with the bytes that are asked for.
        unsafe {
            let blocks = blocks.add(chunk * chunk_bytes);
            if BITS == 4 {
                add_block_int4::<REGISTERS, TOKENS, 0, 1>(sums, blocks, &activations);
                add_block_int4::<REGISTERS, TOKENS, 2, 3>(sums, blocks.add(64), &activations);
            } else {
                add_block_int8::<REGISTERS, TOKENS, 0>(sums, blocks, &activations);
                add_block_int8::<REGISTERS, TOKENS, 1>(sums, blocks.add(64), &activations);
                add_block_int8::<REGISTERS, TOKENS, 2>(sums, blocks.add(128), &activations);
                add_block_int8::<REGISTERS, TOKENS, 3>(sums, blocks.add(192), &activations);
            }
        }
    }
}

/// Adds the products of eight columns, whose activations are in the lanes `LOW` and `HIGH`.
///
/// # Safety
/// `block` must have `16 REGISTERS` bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add_block_int4<const REGISTERS: usize, const TOKENS: usize, const LOW: u32, const HIGH: u32>(
    sums: &mut [[int32x4_t; TOKENS]; REGISTERS],
    block: *const u8,
    activations: &[int8x16_t; TOKENS],
) {
    for (register, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the block has 16 bytes for each register.
        let stored = unsafe { vld1q_u8(block.add(register * 16)) };
        let low = vreinterpretq_s8_u8(vandq_u8(stored, vdupq_n_u8(15)));
        let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(stored));
        for (sum, &activations) in sums.iter_mut().zip(activations) {
            *sum = dot::<LOW>(*sum, low, activations);
        }
        for (sum, &activations) in sums.iter_mut().zip(activations) {
            *sum = dot::<HIGH>(*sum, high, activations);
        }
    }
}

/// Adds the products of four columns, whose activations are in lane `LANE`, the 128 that is added to stored weights taken
/// off.
///
/// # Safety
/// `block` must have `16 REGISTERS` bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add_block_int8<const REGISTERS: usize, const TOKENS: usize, const LANE: u32>(
    sums: &mut [[int32x4_t; TOKENS]; REGISTERS],
    block: *const u8,
    activations: &[int8x16_t; TOKENS],
) {
    for (register, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the block has 16 bytes for each register.
        let stored = unsafe { vld1q_u8(block.add(register * 16)) };
        let signed = vreinterpretq_s8_u8(veorq_u8(stored, vdupq_n_u8(128)));
        for (sum, &activations) in sums.iter_mut().zip(activations) {
            *sum = dot::<LANE>(*sum, signed, activations);
        }
    }
}

/// `sum` plus, in each lane, the four products of its weights with the activations in lane `LANE`. `vdotq_laneq_s32` is not
/// stable in the oldest compiler that builds this.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const LANE: u32>(mut sum: int32x4_t, weights: int8x16_t, activations: int8x16_t) -> int32x4_t {
    // SAFETY: touches nothing but its operands, and the function has the instruction.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {activations:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            activations = in(vreg) activations,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The zero points of a group's rows from `4 first` on.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn zero_points<const REGISTERS: usize>(
    tile: &Tile<'_>,
    group: usize,
    first: usize,
) -> [int32x4_t; REGISTERS] {
    let mut registers = [vdupq_n_s32(8); REGISTERS];
    if let Some(stored) = tile.zero_points {
        // SAFETY: a group has 8 bytes.
        let stored = unsafe { vld1_u8(stored[group].as_ptr()) };
        // Row 2j from the low nibble of byte j, row 2j + 1 from the high one.
        let rows = vzip1q_u8(
            vcombine_u8(vand_u8(stored, vdup_n_u8(15)), vdup_n_u8(0)),
            vcombine_u8(vshr_n_u8::<4>(stored), vdup_n_u8(0)),
        );
        let (low, high) = (vmovl_u8(vget_low_u8(rows)), vmovl_high_u8(rows));
        let all = [
            vmovl_u16(vget_low_u16(low)),
            vmovl_high_u16(low),
            vmovl_u16(vget_low_u16(high)),
            vmovl_high_u16(high),
        ];
        for (register, rows) in registers.iter_mut().zip(&all[first..]) {
            *register = vreinterpretq_s32_u32(*rows);
        }
    }
    registers
}

/// The scales of a group's rows from `4 first` on, as f32.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn row_scales<const REGISTERS: usize>(
    scale_type: HalfType,
    bits: &[u16; TILE_ROWS],
    first: usize,
) -> [float32x4_t; REGISTERS] {
    let mut registers = [vdupq_n_f32(0.0); REGISTERS];
    for (register, bits) in registers.iter_mut().zip(bits[first * LANES..].as_chunks::<LANES>().0) {
        // SAFETY: the chunk has four scales.
        let bits = unsafe { vld1_u16(bits.as_ptr()) };
        *register = match scale_type {
            HalfType::F16 => vcvt_f32_f16(vreinterpret_f16_u16(bits)),
            HalfType::Bf16 => vreinterpretq_f32_u32(vshll_n_u16::<16>(bits)),
        };
    }
    registers
}
