//! The convolution on vectors. Channels are divided between the threads and walked in blocks whose taps and state stay in
//! the first-level cache while time runs; every input is read once and every output written once.

use crate::backend::cpu::{Cpu, Kernel, SharedMut, Vector};
use crate::ops::activation::silu;

/// Channels of a block: 16 KiB of taps and 12 KiB of state for a kernel of 4.
const BLOCK: usize = 1024;
/// Smallest part for a thread.
const GRAIN: usize = 256;

/// `x = silu(conv(x))` in place, and `state` moved on by the tokens of `x`.
///
/// # Panics
/// If `taps` is not whole rows of `channels`, `state` not one row less, or `x` not whole rows.
pub fn forward(cpu: &Cpu, channels: usize, taps: &[f32], x: &mut [f32], state: &mut [f32]) {
    let kernel = kernel_width(channels, taps, x);
    assert!(state.len() == (kernel - 1) * channels, "state must be [{kernel} - 1, {channels}]");
    convolve::<true>(cpu, channels, taps, x, state);
}

/// As [`forward`], to the bit, but the inputs of `x` `[T, channels]` are kept one by one: `window` is
/// `[K - 1 + T, channels]`, the last inputs before this call and room for those of it. [`commit`] then moves it on.
///
/// # Panics
/// As [`forward`], with the window in place of the state.
pub fn verify(cpu: &Cpu, channels: usize, taps: &[f32], x: &mut [f32], window: &mut [f32]) {
    let kept = (kernel_width(channels, taps, x) - 1) * channels;
    assert_eq!(window.len(), kept + x.len(), "window must be [K - 1 + T, {channels}]");
    window[kept..].copy_from_slice(x);
    convolve::<false>(cpu, channels, taps, x, window);
}

/// Moves a window that [`verify`] has filled on by its first `tokens` inputs: they, or the last of them, become the kept
/// rows of `[kept, channels]`.
///
/// # Panics
/// If the window has fewer rows.
pub fn commit(channels: usize, kept: usize, tokens: usize, window: &mut [f32]) {
    window.copy_within(tokens * channels..(tokens + kept) * channels, 0);
}

/// The width of the kernel, after a look at the shapes.
fn kernel_width(channels: usize, taps: &[f32], x: &[f32]) -> usize {
    assert!(channels > 0 && taps.len().is_multiple_of(channels), "taps must be [K, {channels}]");
    assert!(!taps.is_empty(), "a convolution has one tap at least");
    assert!(x.len().is_multiple_of(channels), "x must be [T, {channels}]");
    taps.len() / channels
}

/// All tokens of `x`. Those before them stand in the first rows of `state`, which move on with each token if `SHIFT`; else the
/// inputs of `x` follow in it, and nothing moves.
fn convolve<const SHIFT: bool>(cpu: &Cpu, channels: usize, taps: &[f32], x: &mut [f32], state: &mut [f32]) {
    let (kernel, tokens) = (taps.len() / channels, x.len() / channels);
    let (x, state) = (SharedMut::new(x), SharedMut::new(state));
    cpu.pool.split(channels, GRAIN, &|part| {
        for start in part.clone().step_by(BLOCK) {
            let block = start..(start + BLOCK).min(part.end);
            for token in 0..tokens {
                let before = if SHIFT { 0 } else { token };
                // SAFETY: parts of a split and blocks of a part are disjoint ranges of channels, rows are disjoint, and this
                // is the only view of the block in each row of the state while the iteration lasts.
                let rows = |row: usize| unsafe {
                    let first = (before + row) * channels;
                    state.slice(first + block.start..first + block.end)
                };
                let first = token * channels;
                // SAFETY: as above, for the rows of x.
                let x = unsafe { x.slice(first + block.start..first + block.end) };
                let taps = &taps[block.start..];
                match kernel {
                    4 => {
                        let state = [rows(0), rows(1), rows(2)];
                        cpu.isa.dispatch(FourTaps::<SHIFT> { x, state, taps, channels });
                    }
                    _ => any_taps::<SHIFT>(x, kernel, &rows, taps, channels),
                }
            }
        }
    });
}

/// One token of a block of channels with the kernel width of every published model.
struct FourTaps<'a, const SHIFT: bool> {
    x: &'a mut [f32],
    state: [&'a mut [f32]; 3],
    /// The block's first channel and everything after it.
    taps: &'a [f32],
    channels: usize,
}

impl<const SHIFT: bool> Kernel for FourTaps<'_, SHIFT> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        #[inline(always)]
        fn body<V: Vector, const SHIFT: bool>(
            x: &mut [V::Lanes],
            state: [&mut [V::Lanes]; 3],
            taps: [&[V::Lanes]; 4],
        ) {
            let [s0, s1, s2] = state;
            let [w0, w1, w2, w3] = taps;
            let old = s0.iter_mut().zip(s1).zip(s2);
            let taps = w0.iter().zip(w1).zip(w2).zip(w3);
            for ((x, ((s0, s1), s2)), (((w0, w1), w2), w3)) in x.iter_mut().zip(old).zip(taps) {
                let (a, b, c, u) = (V::load(s0), V::load(s1), V::load(s2), V::load(x));
                let sum = a.mul(V::load(w0));
                let sum = b.mul_add(V::load(w1), sum);
                let sum = c.mul_add(V::load(w2), sum);
                let sum = u.mul_add(V::load(w3), sum);
                silu(sum).store(x);
                if SHIFT {
                    b.store(s0);
                    c.store(s1);
                    u.store(s2);
                }
            }
        }
        let width = self.x.len();
        let taps = [0, 1, 2, 3].map(|j| &self.taps[j * self.channels..][..width]);
        let whole = width / V::LANES * V::LANES;
        let (x, x_rest) = self.x.split_at_mut(whole);
        let [s0, s1, s2] = self.state;
        let ((s0, s0_rest), (s1, s1_rest), (s2, s2_rest)) =
            (s0.split_at_mut(whole), s1.split_at_mut(whole), s2.split_at_mut(whole));
        body::<V, SHIFT>(
            V::chunks_mut(x).0,
            [V::chunks_mut(s0).0, V::chunks_mut(s1).0, V::chunks_mut(s2).0],
            taps.map(|tap| V::chunks(&tap[..whole]).0),
        );
        body::<f32, SHIFT>(
            f32::chunks_mut(x_rest).0,
            [f32::chunks_mut(s0_rest).0, f32::chunks_mut(s1_rest).0, f32::chunks_mut(s2_rest).0],
            taps.map(|tap| f32::chunks(&tap[whole..]).0),
        );
    }
}

/// One token of a block of channels, any kernel width.
fn any_taps<'a, const SHIFT: bool>(
    x: &mut [f32],
    kernel: usize,
    rows: &dyn Fn(usize) -> &'a mut [f32],
    taps: &[f32],
    channels: usize,
) {
    for (channel, x) in x.iter_mut().enumerate() {
        let input = *x;
        let mut sum = 0.0;
        for j in 0..kernel - 1 {
            sum += rows(j)[channel] * taps[j * channels + channel];
        }
        *x = silu(sum + input * taps[(kernel - 1) * channels + channel]);
        if !SHIFT {
            continue;
        }
        for j in 1..kernel - 1 {
            rows(j - 1)[channel] = rows(j)[channel];
        }
        if kernel > 1 {
            rows(kernel - 2)[channel] = input;
        }
    }
}
