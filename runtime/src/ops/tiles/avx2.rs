//! AVX2: eight rows to a register, half a tile, `vpmaddubsw` for two columns at once.
//!
//! A step computes one tile for up to four tokens, the two halves one after the other inside each group, so that a half
//! needs few of the 16 registers. With 4 bits the 16-bit sums of pairs hold 8 words of columns without overflow
//! (8 · 2 · 15 · 127 = 30480) and are widened once for each 32 columns. With 8 bits two products may exceed 16 bits if
//! one factor is unsigned up to 255; so the weights' magnitudes (at most 128) meet activations that carry the weights'
//! signs (2 · 128 · 127 = 32512), and every pair is widened at once. The results are those of AVX-512 bit for bit.

use std::arch::x86_64::*;

use super::{TILE_ROWS, Tiles, Width, exact};
use crate::backend::cpu::{ColumnsMut, InstructionSet};
use crate::ops::HalfType;
use crate::ops::quantize_activations::QuantizedActivations;
use crate::ops::store::Store;

/// Tokens of a step.
pub(super) const MOST_TOKENS: usize = 4;

/// Rows in a register.
const HALF: usize = TILE_ROWS / 2;

/// How far ahead of its use a block is asked for.
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
        InstructionSet::detect() >= InstructionSet::Avx2,
        "the caller asks for supported instructions only"
    );
    let first_tile = out.columns().start / TILE_ROWS;
    let tile_count = out.columns().len().div_ceil(TILE_ROWS);
    let tokens = activations.tokens();
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

type Products = [[f32; TILE_ROWS]; MOST_TOKENS];

impl Step<'_> {
    /// Fills `products [token][row]` for 1 to 4 tokens.
    ///
    /// # Safety
    /// The processor must support the instructions, and the tile and the tokens must exist.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn run(&self, tokens: usize, products: &mut Products) {
        // SAFETY: passed on.
        unsafe {
            match (self.tiles.shape().width(), tokens) {
                (Width::Int4, 1) => self.dots::<4, 1>(products),
                (Width::Int4, 2) => self.dots::<4, 2>(products),
                (Width::Int4, 3) => self.dots::<4, 3>(products),
                (Width::Int4, _) => self.dots::<4, 4>(products),
                (Width::Int8, 1) => self.dots::<8, 1>(products),
                (Width::Int8, 2) => self.dots::<8, 2>(products),
                (Width::Int8, 3) => self.dots::<8, 3>(products),
                (Width::Int8, _) => self.dots::<8, 4>(products),
            }
        }
    }

    /// # Safety
    /// As [`Step::run`], for exactly `TOKENS` tokens.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn dots<const BITS: usize, const TOKENS: usize>(&self, products: &mut Products) {
        let shape = self.tiles.shape();
        let groups = shape.groups();
        let (columns, group_size) = (shape.columns(), shape.group_size());
        let values = &self.activations.values()[self.token * columns..(self.token + TOKENS) * columns];
        let activation_scales =
            &self.activations.scales()[self.token * groups..(self.token + TOKENS) * groups];
        let activation_sums = &self.activations.sums()[self.token * groups..(self.token + TOKENS) * groups];
        let mut totals = [[_mm256_setzero_ps(); TOKENS]; 2];
        for group in 0..groups {
            let blocks = self.tiles.group_values(self.tile, group).as_ptr();
            // A loop and not `array::from_fn`: its closure would carry the instructions, which `from_fn` cannot inline.
            let mut words = [std::ptr::null(); TOKENS];
            for (token, words) in words.iter_mut().enumerate() {
                *words = values[token * columns + group * group_size..].as_ptr().cast::<u8>();
            }
            let scales = self.tiles.group_scales(self.tile, group);
            _mm_prefetch::<_MM_HINT_T0>(scales.as_ptr().cast::<i8>().wrapping_add(SCALE_AHEAD));
            for (half, totals) in totals.iter_mut().enumerate() {
                let mut sums = [_mm256_setzero_si256(); TOKENS];
                let count = shape.group_blocks();
                // SAFETY: a group has `count` blocks of two halves of 32 bytes, and `group_size` activations a token.
                unsafe {
                    if BITS == 4 {
                        let zero_points =
                            zero_point_pairs(self.tiles.group_zero_points(self.tile, group), half);
                        for (token, sum) in sums.iter_mut().enumerate() {
                            let split = _mm256_set1_epi32(activation_sums[token * groups + group]);
                            *sum = _mm256_madd_epi16(zero_points, split);
                        }
                        add_group_int4(&mut sums, blocks.add(half * 32), &words, count);
                    } else {
                        add_group_int8(&mut sums, blocks.add(half * 32), &words, count);
                    }
                }
                let scales = half_scales(self.tiles.scale_type(), scales, half);
                for token in 0..TOKENS {
                    let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[token]), scales);
                    let activation_scale = _mm256_set1_ps(activation_scales[token * groups + group]);
                    totals[token] = _mm256_fmadd_ps(scaled, activation_scale, totals[token]);
                }
            }
        }
        for (half, totals) in totals.iter().enumerate() {
            for (total, products) in totals.iter().zip(products.iter_mut()) {
                // SAFETY: the array has 8 floats for each half.
                unsafe { _mm256_storeu_ps(products[half * HALF..].as_mut_ptr(), *total) };
            }
        }
    }
}

/// Adds a group's products of half a tile to `sums`.
///
/// # Safety
/// `blocks` must have `count` halves of 32 bytes, 64 bytes apart, `count` a multiple of 4; every pointer of `words` must
/// have the activations of as many columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_group_int4<const TOKENS: usize>(
    sums: &mut [__m256i; TOKENS],
    blocks: *const u8,
    words: &[*const u8; TOKENS],
    count: usize,
) {
    let nibble = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    for run in (0..count).step_by(4) {
        let mut pairs = [_mm256_setzero_si256(); TOKENS];
        for block in run..run + 4 {
            // SAFETY: `block < count`.
            let stored = unsafe { _mm256_loadu_si256(blocks.add(block * 64).cast()) };
            _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add(block * 64 + PREFETCH_BYTES).cast());
            let low = _mm256_and_si256(stored, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(stored), nibble);
            for token in 0..TOKENS {
                // SAFETY: a block has two words of activations, and `block < count`.
                let [first, second] =
                    unsafe { words[token].add(block * 8).cast::<[i32; 2]>().read_unaligned() };
                let first = _mm256_maddubs_epi16(low, _mm256_set1_epi32(first));
                let second = _mm256_maddubs_epi16(high, _mm256_set1_epi32(second));
                pairs[token] = _mm256_add_epi16(pairs[token], _mm256_add_epi16(first, second));
            }
        }
        for token in 0..TOKENS {
            sums[token] = _mm256_add_epi32(sums[token], _mm256_madd_epi16(pairs[token], ones));
        }
    }
}

/// Adds a group's products of half a tile to `sums`, the 128 that is added to stored weights taken off.
///
/// # Safety
/// `blocks` must have `count` halves of 32 bytes, 64 bytes apart; every pointer of `words` must have the activations of
/// as many columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_group_int8<const TOKENS: usize>(
    sums: &mut [__m256i; TOKENS],
    blocks: *const u8,
    words: &[*const u8; TOKENS],
    count: usize,
) {
    let top_bit = _mm256_set1_epi8(i8::MIN);
    let ones = _mm256_set1_epi16(1);
    for block in 0..count {
        // SAFETY: `block < count`.
        let stored = unsafe { _mm256_loadu_si256(blocks.add(block * 64).cast()) };
        _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add(block * 64 + PREFETCH_BYTES).cast());
        let signed = _mm256_xor_si256(stored, top_bit);
        let magnitudes = _mm256_abs_epi8(signed);
        for token in 0..TOKENS {
            // SAFETY: a block has one word of activations, and `block < count`.
            let word = unsafe { words[token].add(block * 4).cast::<i32>().read_unaligned() };
            let word = _mm256_sign_epi8(_mm256_set1_epi32(word), signed);
            let pairs = _mm256_maddubs_epi16(magnitudes, word);
            sums[token] = _mm256_add_epi32(sums[token], _mm256_madd_epi16(pairs, ones));
        }
    }
}

/// `(z, 128 z)` in the half-words of each lane, for rows `8 half` to `8 half + 7`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn zero_point_pairs(stored: Option<&[u8; HALF]>, half: usize) -> __m256i {
    let Some(&stored) = stored else {
        return _mm256_set1_epi32(8 | 8 << 23);
    };
    let four = (u64::from_le_bytes(stored) >> (half * 32)) as i32;
    // One byte a 64-bit lane, then its high nibble into the upper 32 bits: row 2j and row 2j + 1.
    let bytes = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(four));
    let rows = _mm256_or_si256(bytes, _mm256_slli_epi64::<28>(bytes));
    let rows = _mm256_and_si256(rows, _mm256_set1_epi32(15));
    _mm256_or_si256(rows, _mm256_slli_epi32::<23>(rows))
}

/// The eight scales of a half as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn half_scales(scale_type: HalfType, bits: &[u16; TILE_ROWS], half: usize) -> __m256 {
    // SAFETY: the array has 16 bytes for each half.
    let bits = unsafe { _mm_loadu_si128(bits[half * HALF..half * HALF + HALF].as_ptr().cast()) };
    match scale_type {
        HalfType::F16 => _mm256_cvtph_ps(bits),
        HalfType::Bf16 => _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits))),
    }
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
