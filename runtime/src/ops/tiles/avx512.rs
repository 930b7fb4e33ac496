//! AVX-512 VNNI: one row in each 32-bit lane of a register, `vpdpbusd` for four columns at once.
//!
//! A step computes two tiles (32 rows) for up to twelve tokens: 24 sums of a group in registers. For every four columns it
//! loads one register of weights a tile and one broadcast word of activations a token, so a load feeds two or twelve
//! instructions, and a 4-bit block is taken apart once for twelve tokens. The zero points cost nothing in the inner loop:
//! each sum starts at `−z Σ a`, one `vpdpwssd` (see `split_sum`). The innermost three instructions are written as such
//! (see `add_word`): left to itself the compiler loads all tokens' words first and then has no registers for the sums.
//!
//! Work is ordered so that one token block's activations stay in the first-level cache while the piece's tiles, which
//! fit the second level, pass by; from memory a piece comes once. With one token the same step is bound by memory
//! bandwidth, which the prefetches are for. Expected bound: bandwidth up to some 10 tokens, then 2 `vpdpbusd` a cycle.

use std::arch::asm;
use std::arch::x86_64::*;

use super::view::Tile;
use super::{TILE_ROWS, Tiles, Width, exact};
use crate::backend::cpu::{ColumnsMut, InstructionSet};
use crate::ops::HalfType;
use crate::ops::quantize_activations::QuantizedActivations;
use crate::ops::store::Store;

/// Tokens of a step.
pub(super) const MOST_TOKENS: usize = 12;

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
            let mut products: Products = Default::default();
            // SAFETY: the instructions are supported, as checked above; the tiles and tokens of the step exist, because
            // `multiply` in the parent module has checked that `out` has no more rows and tokens than its operands.
            unsafe { step.run(step_tiles, end - first, &mut products) };
            for token in first..end {
                let out = &mut out.row(token)[offset * TILE_ROWS..];
                for (out, products) in out.chunks_mut(TILE_ROWS).zip(&products[..step_tiles]) {
                    store.put(out, &products[token - first].0);
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

/// `[tile][token]`.
type Products = [[Totals; MOST_TOKENS]; MOST_TILES];

impl Step<'_> {
    /// Adds to `products [tile][token][row]` for 1 or 2 tiles and 1 to [`MOST_TOKENS`] tokens.
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
            match tiles {
                1 => self.run_tiles::<BITS, 1>(tokens, products),
                _ => self.run_tiles::<BITS, 2>(tokens, products),
            }
        }
    }

    /// # Safety
    /// As [`Step::run`], for exactly `TILES` tiles.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn run_tiles<const BITS: usize, const TILES: usize>(
        &self,
        tokens: usize,
        products: &mut Products,
    ) {
        // SAFETY: passed on.
        unsafe {
            match tokens {
                1 => self.dots::<BITS, TILES, 1>(products),
                2 => self.dots::<BITS, TILES, 2>(products),
                3 => self.dots::<BITS, TILES, 3>(products),
                4 => self.dots::<BITS, TILES, 4>(products),
                5 => self.dots::<BITS, TILES, 5>(products),
                6 => self.dots::<BITS, TILES, 6>(products),
                7 => self.dots::<BITS, TILES, 7>(products),
                8 => self.dots::<BITS, TILES, 8>(products),
                9 => self.dots::<BITS, TILES, 9>(products),
                10 => self.dots::<BITS, TILES, 10>(products),
                11 => self.dots::<BITS, TILES, 11>(products),
                _ => self.dots::<BITS, TILES, 12>(products),
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
        let (groups, columns, group_size) = (shape.groups(), shape.columns(), shape.group_size());
        let of_tokens = |width: usize| self.token * width..(self.token + TOKENS) * width;
        let values = &self.activations.values()[of_tokens(columns)];
        let scales = &self.activations.scales()[of_tokens(groups)];
        let sums_of = &self.activations.sums()[of_tokens(groups)];
        let tiles: [Tile<'_>; TILES] = std::array::from_fn(|tile| self.tiles.tile(self.tile + tile));
        let group_bytes = shape.group_blocks() * 64;
        for group in 0..groups {
            let mut sums = [[_mm512_setzero_si512(); TOKENS]; TILES];
            for (tile, sums) in tiles.iter().zip(&mut sums) {
                let zero_points = zero_point_pairs::<BITS>(tile.zero_points.map(|all| &all[group]));
                for (token, sum) in sums.iter_mut().enumerate() {
                    let split = _mm512_set1_epi32(sums_of[token * groups + group]);
                    *sum = _mm512_dpwssd_epi32(*sum, zero_points, split);
                }
            }
            let blocks = tiles.map(|tile| tile.values[group * group_bytes..].as_ptr());
            let words = values[group * group_size..].as_ptr().cast::<u8>();
            let left = shape.tile_bytes() - group * group_bytes;
            let prefetch = Prefetch { left, skip: (TILES - 1) * shape.tile_bytes() };
            // SAFETY: a group has `group_blocks` blocks of 64 bytes and `group_size` activations a token.
            unsafe {
                add_group::<BITS, TILES, TOKENS>(
                    &mut sums,
                    &blocks,
                    (words, columns),
                    shape.group_blocks(),
                    prefetch,
                );
            }
            let scales_left = (groups - group) * 2 * TILE_ROWS;
            let prefetch = Prefetch { left: scales_left, skip: (TILES - 1) * groups * 2 * TILE_ROWS };
            for ((tile, sums), products) in tiles.iter().zip(&sums).zip(products.iter_mut()) {
                let pointer = tile.scales[group].as_ptr().cast::<i8>();
                _mm_prefetch::<_MM_HINT_T0>(pointer.wrapping_add(prefetch.offset(0, SCALE_AHEAD)));
                let weight_scales = half_scales(self.tiles.scale_type(), &tile.scales[group]);
                for (token, (sum, product)) in sums.iter().zip(products.iter_mut()).enumerate() {
                    let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(*sum), weight_scales);
                    let scale = _mm512_set1_ps(scales[token * groups + group]);
                    product.add(scaled, scale);
                }
            }
        }
    }
}

/// Sixteen totals of a step, in memory: there are no registers for them beside the sums of a group. A spilled register may
/// cross a cache line wherever the stack happens to begin; these never do.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Totals([f32; TILE_ROWS]);

impl Totals {
    /// `self += a · b`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(&mut self, a: __m512, b: __m512) {
        // SAFETY: the array has 16 floats.
        unsafe {
            let total = _mm512_fmadd_ps(a, b, _mm512_loadu_ps(self.0.as_ptr()));
            _mm512_storeu_ps(self.0.as_mut_ptr(), total);
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

/// Adds a group's products to `sums`. `words`: the first token's activations, and how far the next token's are.
///
/// # Safety
/// Every pointer of `blocks` must have `count` blocks of 64 bytes, and each of the tokens the activations of as many columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add_group<const BITS: usize, const TILES: usize, const TOKENS: usize>(
    sums: &mut [[__m512i; TOKENS]; TILES],
    blocks: &[*const u8; TILES],
    words: (*const u8, usize),
    count: usize,
    prefetch: Prefetch,
) {
    let nibble = _mm512_set1_epi8(15);
    let (words, stride) = words;
    for block in 0..count {
        let ahead = prefetch.offset(block * 64, PREFETCH_BYTES);
        let mut weights = [_mm512_setzero_si512(); TILES];
        for (weights, pointer) in weights.iter_mut().zip(blocks) {
            // SAFETY: `block < count`.
            *weights = unsafe { _mm512_loadu_si512(pointer.add(block * 64).cast()) };
            _mm_prefetch::<_MM_HINT_T0>(pointer.wrapping_add(ahead).cast());
        }
        for half in 0..8 / BITS {
            let part: [__m512i; TILES] = std::array::from_fn(|tile| match (BITS, half) {
                (4, 0) => _mm512_and_si512(weights[tile], nibble),
                (4, _) => _mm512_and_si512(_mm512_srli_epi16::<4>(weights[tile]), nibble),
                _ => weights[tile],
            });
            for token in 0..TOKENS {
                // SAFETY: a block has `8 / BITS` words of activations, and `block < count`.
                unsafe {
                    let word = words.add(token * stride + (block * (8 / BITS) + half) * 4);
                    add_word(sums, &part, token, word);
                }
            }
        }
    }
}

/// Adds the products of four columns of every tile with one token's word.
///
/// # Safety
/// `word` must have 4 bytes, and there must be one tile or two.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add_word<const TILES: usize, const TOKENS: usize>(
    sums: &mut [[__m512i; TOKENS]; TILES],
    weights: &[__m512i; TILES],
    token: usize,
    word: *const u8,
) {
    if TILES == 2 {
        let (mut first, mut second) = (sums[0][token], sums[TILES - 1][token]);
        // Not `_` in the operand: the register of an output without a type has the wrong name.
        let _all: __m512i;
        // SAFETY: reads the 4 bytes at `word` and touches nothing but its operands.
        unsafe {
            asm!(
                "vpbroadcastd {all}, dword ptr [{word}]",
                "vpdpbusd {first}, {a}, {all}",
                "vpdpbusd {second}, {b}, {all}",
                all = out(zmm_reg) _all,
                first = inout(zmm_reg) first,
                second = inout(zmm_reg) second,
                a = in(zmm_reg) weights[0],
                b = in(zmm_reg) weights[TILES - 1],
                word = in(reg) word,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        (sums[0][token], sums[TILES - 1][token]) = (first, second);
    } else {
        // SAFETY: `word` has 4 bytes.
        let all = _mm512_set1_epi32(unsafe { word.cast::<i32>().read_unaligned() });
        sums[0][token] = _mm512_dpbusd_epi32(sums[0][token], weights[0], all);
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
