//! AVX-512 VNNI: one row in each 32-bit lane of a register, `vpdpbusd` for four columns at once.
//!
//! A step computes two tiles (32 rows) for up to eight tokens: 16 sums of a group in registers. For every four columns it
//! loads one register of weights a tile and one broadcast word of activations a token, so a load feeds two or eight
//! instructions, and a 4-bit block is taken apart once for eight tokens. The zero points cost nothing in the inner loop:
//! each sum starts at `−z Σ a`, one `vpdpwssd` (see `split_sum`).
//!
//! Work is ordered so that one token block's activations stay in the first-level cache while the piece's tiles, which
//! fit the second level, pass by; from memory a piece comes once. With one token the same step is bound by memory
//! bandwidth, which the prefetches are for. Expected bound: bandwidth up to some 10 tokens, then 2 `vpdpbusd` a cycle.

use std::arch::x86_64::*;

use super::{TILE_ROWS, Tiles, Width, exact};
use crate::backend::cpu::{ColumnsMut, InstructionSet};
use crate::ops::HalfType;
use crate::ops::quantize_activations::QuantizedActivations;
use crate::ops::store::Store;

/// Tokens of a step.
const MOST_TOKENS: usize = 8;

/// Tiles of a step.
const MOST_TILES: usize = 2;

/// How far ahead of its use a block is asked for: some 30 cache lines cover the latency of memory at full bandwidth.
const PREFETCH_BYTES: usize = 4096;

/// The same for scales, of which a group has a line at most.
const SCALE_AHEAD: usize = 512;

/// See [`super::multiply`].
pub(super) fn multiply(
    tiles: &Tiles<'_>,
    activations: &QuantizedActivations<'_>,
    out: &mut ColumnsMut<'_>,
    store: Store,
) {
    assert!(
        InstructionSet::detect() >= InstructionSet::Avx512Vnni,
        "the caller asks for supported instructions only"
    );
    let first_tile = out.columns().start / TILE_ROWS;
    let tile_count = out.columns().len().div_ceil(TILE_ROWS);
    let tokens = activations.tokens();
    // Blocks of nearly equal size: 9 tokens are 5 and 4, because a block of 1 costs almost as much as one of 4.
    let blocks = tokens.div_ceil(MOST_TOKENS);
    for block in 0..blocks {
        let (first, end) = (tokens * block / blocks, tokens * (block + 1) / blocks);
        for offset in (0..tile_count).step_by(MOST_TILES) {
            let step = Step { tiles, activations, tile: first_tile + offset, token: first };
            let step_tiles = MOST_TILES.min(tile_count - offset);
            let mut products = [[[0.0f32; TILE_ROWS]; MOST_TOKENS]; MOST_TILES];
            // SAFETY: the instructions are supported, as checked above; the tiles and tokens of the step exist, because
            // `multiply` in the parent module has checked that `out` has no more rows and tokens than its operands.
            unsafe { step.run(step_tiles, end - first, &mut products) };
            for token in first..end {
                let out = &mut out.row(token)[offset * TILE_ROWS..];
                for (out, products) in out.chunks_mut(TILE_ROWS).zip(&products[..step_tiles]) {
                    store.put(out, &products[token - first]);
                }
            }
        }
    }
}

/// Some consecutive tiles times some consecutive tokens.
struct Step<'a> {
    tiles: &'a Tiles<'a>,
    activations: &'a QuantizedActivations<'a>,
    tile: usize,
    token: usize,
}

type Products = [[[f32; TILE_ROWS]; MOST_TOKENS]; MOST_TILES];

impl Step<'_> {
    /// Fills `products [tile][token][row]` for 1 or 2 tiles and 1 to 8 tokens.
    ///
    /// # Safety
    /// The processor must support the instructions, and the tiles and tokens must exist.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn run(&self, tiles: usize, tokens: usize, products: &mut Products) {
        match self.tiles.shape().width() {
            // SAFETY: passed on.
            Width::Int4 => unsafe { self.run_width::<4>(tiles, tokens, products) },
            // SAFETY: passed on.
            Width::Int8 => unsafe { self.run_width::<8>(tiles, tokens, products) },
        }
    }

    /// # Safety
    /// As [`Step::run`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn run_width<const BITS: usize>(&self, tiles: usize, tokens: usize, products: &mut Products) {
        // SAFETY: passed on.
        unsafe {
            match (tiles, tokens) {
                (1, 1) => self.dots::<BITS, 1, 1>(products),
                (1, 2) => self.dots::<BITS, 1, 2>(products),
                (1, 3) => self.dots::<BITS, 1, 3>(products),
                (1, 4) => self.dots::<BITS, 1, 4>(products),
                (1, 5) => self.dots::<BITS, 1, 5>(products),
                (1, 6) => self.dots::<BITS, 1, 6>(products),
                (1, 7) => self.dots::<BITS, 1, 7>(products),
                (1, _) => self.dots::<BITS, 1, 8>(products),
                (_, 1) => self.dots::<BITS, 2, 1>(products),
                (_, 2) => self.dots::<BITS, 2, 2>(products),
                (_, 3) => self.dots::<BITS, 2, 3>(products),
                (_, 4) => self.dots::<BITS, 2, 4>(products),
                (_, 5) => self.dots::<BITS, 2, 5>(products),
                (_, 6) => self.dots::<BITS, 2, 6>(products),
                (_, 7) => self.dots::<BITS, 2, 7>(products),
                (_, _) => self.dots::<BITS, 2, 8>(products),
            }
        }
    }

    /// # Safety
    /// As [`Step::run`], for exactly `TILES` tiles and `TOKENS` tokens.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn dots<const BITS: usize, const TILES: usize, const TOKENS: usize>(
        &self,
        products: &mut Products,
    ) {
        let shape = self.tiles.shape();
        let groups = shape.groups();
        let (columns, group_size) = (shape.columns(), shape.group_size());
        let values = &self.activations.values()[self.token * columns..(self.token + TOKENS) * columns];
        let activation_scales =
            &self.activations.scales()[self.token * groups..(self.token + TOKENS) * groups];
        let activation_sums = &self.activations.sums()[self.token * groups..(self.token + TOKENS) * groups];
        let mut totals = [[_mm512_setzero_ps(); TOKENS]; TILES];
        for group in 0..groups {
            let mut sums = [[_mm512_setzero_si512(); TOKENS]; TILES];
            for (tile, sums) in sums.iter_mut().enumerate() {
                let zero_points =
                    zero_point_pairs::<BITS>(self.tiles.group_zero_points(self.tile + tile, group));
                for (token, sum) in sums.iter_mut().enumerate() {
                    let split = _mm512_set1_epi32(activation_sums[token * groups + group]);
                    *sum = _mm512_dpwssd_epi32(*sum, zero_points, split);
                }
            }
            let blocks: [*const u8; TILES] =
                std::array::from_fn(|tile| self.tiles.group_values(self.tile + tile, group).as_ptr());
            // SAFETY: the group's columns lie inside each token's row.
            let words: [*const u8; TOKENS] = std::array::from_fn(|token| unsafe {
                values.as_ptr().add(token * columns + group * group_size).cast::<u8>()
            });
            let left = shape.tile_bytes() - group * shape.group_blocks() * 64;
            let prefetch = Prefetch { left, skip: (TILES - 1) * shape.tile_bytes() };
            // SAFETY: a group has `group_blocks` blocks of 64 bytes and `group_size` activations a token.
            unsafe {
                add_group::<BITS, TILES, TOKENS>(&mut sums, &blocks, &words, shape.group_blocks(), prefetch)
            };
            let scales_left = (groups - group) * 2 * TILE_ROWS;
            let prefetch = Prefetch { left: scales_left, skip: (TILES - 1) * groups * 2 * TILE_ROWS };
            for tile in 0..TILES {
                let pointer = self.tiles.group_scales(self.tile + tile, group).as_ptr().cast::<i8>();
                _mm_prefetch::<_MM_HINT_T0>(pointer.wrapping_add(prefetch.offset(0, SCALE_AHEAD)));
                let scales =
                    half_scales(self.tiles.scale_type(), self.tiles.group_scales(self.tile + tile, group));
                for token in 0..TOKENS {
                    let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[tile][token]), scales);
                    let activation_scale = _mm512_set1_ps(activation_scales[token * groups + group]);
                    totals[tile][token] = _mm512_fmadd_ps(scaled, activation_scale, totals[tile][token]);
                }
            }
        }
        for (totals, products) in totals.iter().zip(products.iter_mut()) {
            for (total, products) in totals.iter().zip(products.iter_mut()) {
                // SAFETY: the array has 16 floats.
                unsafe { _mm512_storeu_ps(products.as_mut_ptr(), *total) };
            }
        }
    }
}

/// Where a tile's stream of blocks goes on: in the tile itself, or, from its end, in the next step.
#[derive(Clone, Copy)]
struct Prefetch {
    /// Bytes from the group's start to the tile's end.
    left: usize,
    /// Bytes of the step's other tiles, which have streams of their own.
    skip: usize,
}

impl Prefetch {
    /// Offset from the group's start of the block to ask for when the block at `offset` is used.
    #[inline(always)]
    fn offset(self, offset: usize, distance: usize) -> usize {
        let ahead = offset + distance;
        if ahead < self.left { ahead } else { ahead + self.skip }
    }
}

/// Adds a group's products to `sums`.
///
/// # Safety
/// Every pointer of `blocks` must have `count` blocks of 64 bytes, every pointer of `words` the activations of as many
/// columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add_group<const BITS: usize, const TILES: usize, const TOKENS: usize>(
    sums: &mut [[__m512i; TOKENS]; TILES],
    blocks: &[*const u8; TILES],
    words: &[*const u8; TOKENS],
    count: usize,
    prefetch: Prefetch,
) {
    let nibble = _mm512_set1_epi8(15);
    for block in 0..count {
        let ahead = prefetch.offset(block * 64, PREFETCH_BYTES);
        let mut weights = [[_mm512_setzero_si512(); 2]; TILES];
        for (weights, pointer) in weights.iter_mut().zip(blocks) {
            // SAFETY: `block < count`.
            let stored = unsafe { _mm512_loadu_si512(pointer.add(block * 64).cast()) };
            _mm_prefetch::<_MM_HINT_T0>(pointer.wrapping_add(ahead).cast());
            *weights = if BITS == 4 {
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(stored), nibble);
                [_mm512_and_si512(stored, nibble), high]
            } else {
                [stored, stored]
            };
        }
        // Weights are kept [tile][half] on purpose: [half][tile] measured 5 % slower for eight tokens and 4 bits.
        #[expect(clippy::needless_range_loop)]
        for half in 0..8 / BITS {
            for token in 0..TOKENS {
                let offset = (block * (8 / BITS) + half) * 4;
                // SAFETY: a block has `8 / BITS` words of activations, and `block < count`.
                let word = unsafe { words[token].add(offset).cast::<i32>().read_unaligned() };
                let word = _mm512_set1_epi32(word);
                for tile in 0..TILES {
                    sums[tile][token] = _mm512_dpbusd_epi32(sums[tile][token], weights[tile][half], word);
                }
            }
        }
    }
}

/// `(z, 128 z)` in the half-words of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn zero_point_pairs<const BITS: usize>(stored: Option<&[u8; TILE_ROWS / 2]>) -> __m512i {
    let middle = 1 << (BITS - 1);
    let Some(&stored) = stored else {
        return _mm512_set1_epi32(middle | middle << 23);
    };
    // One byte a 64-bit lane, then its high nibble into the upper 32 bits: row 2j and row 2j + 1.
    let bytes = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128(i64::from_le_bytes(stored)));
    let rows = _mm512_or_si512(bytes, _mm512_slli_epi64::<28>(bytes));
    let rows = _mm512_and_si512(rows, _mm512_set1_epi32(15));
    _mm512_or_si512(rows, _mm512_slli_epi32::<23>(rows))
}

/// Sixteen scales as f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn half_scales(scale_type: HalfType, bits: &[u16; TILE_ROWS]) -> __m512 {
    // SAFETY: the array has 32 bytes.
    let bits = unsafe { _mm256_loadu_si256(bits.as_ptr().cast()) };
    match scale_type {
        HalfType::F16 => _mm512_cvtph_ps(bits),
        HalfType::Bf16 => _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits))),
    }
}

/// See [`super::multiply_exact`].
pub(super) fn multiply_exact(tiles: &Tiles<'_>, x: &[f32], out: &mut ColumnsMut<'_>, store: Store) {
    assert!(
        InstructionSet::detect() >= InstructionSet::Avx512Vnni,
        "the caller asks for supported instructions only"
    );
    // SAFETY: the instructions are supported, as checked above.
    unsafe { exact_with_vectors(tiles, x, out, store) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn exact_with_vectors(tiles: &Tiles<'_>, x: &[f32], out: &mut ColumnsMut<'_>, store: Store) {
    exact::multiply::<true>(tiles, x, out, store);
}
