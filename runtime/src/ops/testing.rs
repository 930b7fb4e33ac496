//! What the operators' tests share: reproducible numbers, guarded buffers, comparisons.

use crate::backend::cpu::{Cpu, InstructionSet, Pool};

/// Numbers from a seed (SplitMix64), uniform in -1..1.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// `count` numbers in `-scale..scale`.
    pub(crate) fn take(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * scale).collect()
    }

    /// `count` numbers in `low..high`.
    pub(crate) fn between(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        (0..count).map(|_| low + (high - low) * 0.5 * (self.next() + 1.0)).collect()
    }
}

/// Every instruction set of this machine with 1, 2 and 3 threads.
pub(crate) fn every_cpu() -> Vec<Cpu> {
    let mut all = Vec::new();
    for isa in InstructionSet::all_supported() {
        for threads in [1, 2, 3] {
            all.push(Cpu { pool: Pool::new(threads).unwrap(), isa });
        }
    }
    all
}

const GUARD: f32 = 1.234e30;
const GUARDS: usize = 32;

/// A buffer between guard values that a kernel must not touch.
pub(crate) struct Guarded(Vec<f32>);

impl Guarded {
    /// Filled with NaN, so that reading it before writing it shows.
    pub(crate) fn nan(length: usize) -> Self {
        Self::of(&vec![f32::NAN; length])
    }

    pub(crate) fn of(values: &[f32]) -> Self {
        let guard = [GUARD; GUARDS];
        Self([&guard, values, &guard].concat())
    }

    pub(crate) fn slice(&mut self) -> &mut [f32] {
        let end = self.0.len() - GUARDS;
        &mut self.0[GUARDS..end]
    }

    /// The content, after a look at the guards.
    pub(crate) fn take(self) -> Vec<f32> {
        let end = self.0.len() - GUARDS;
        let guards = self.0[..GUARDS].iter().chain(&self.0[end..]);
        assert!(guards.into_iter().all(|&guard| guard == GUARD), "a guard value was overwritten");
        self.0[GUARDS..end].to_vec()
    }
}

/// Panics unless all values are within `tolerance` of the expected ones, relative to the largest expected magnitude.
#[track_caller]
pub(crate) fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let scale = expected.iter().fold(1e-30, |largest: f64, x| largest.max(x.abs()));
    for (index, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - e).abs() / scale;
        assert!(
            error <= tolerance,
            "{what}: value {index} is {a}, expected {e}, error {error:.2e} of {scale}"
        );
    }
}

/// `values` in f64.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}
