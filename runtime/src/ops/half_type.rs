//! The two 16-bit float formats that checkpoints use for scales.

use half::{bf16, f16};

/// How the 16 bits of a scale are read. Scales stay as the checkpoint stores them, so that no rounding is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HalfType {
    /// IEEE 754 binary16.
    F16,
    /// The upper half of an IEEE 754 binary32.
    Bf16,
}

impl HalfType {
    /// The value of `bits`.
    #[inline(always)]
    pub fn to_f32(self, bits: u16) -> f32 {
        match self {
            Self::F16 => f16::from_bits(bits).to_f32(),
            Self::Bf16 => bf16::from_bits(bits).to_f32(),
        }
    }

    /// The nearest representable value of `value`, ties to even, as bits.
    pub fn from_f32(self, value: f32) -> u16 {
        match self {
            Self::F16 => f16::from_f32(value).to_bits(),
            Self::Bf16 => bf16::from_f32(value).to_bits(),
        }
    }
}

/// The integer nearest to `value`, ties to even, for magnitudes up to 2^22.
///
/// Adding 1.5 · 2^23 leaves no fraction bits, so that the addition itself rounds; unlike a call of `round`, every processor
/// does this to a whole vector.
#[inline(always)]
pub(crate) fn nearest(value: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rounds_ties_to_even() {
        for quarter in -2_000..2_000 {
            let value = quarter as f32 / 4.0;
            assert_eq!(nearest(value), value.round_ties_even() as i32, "{value}");
        }
    }

    #[test]
    fn formats_read_what_they_write() {
        for value in [0.0, 1.0, -0.375, 6.1e-5] {
            assert_eq!(
                HalfType::F16.to_f32(HalfType::F16.from_f32(value)),
                half::f16::from_f32(value).to_f32()
            );
            assert_eq!(
                HalfType::Bf16.to_f32(HalfType::Bf16.from_f32(value)),
                half::bf16::from_f32(value).to_f32()
            );
        }
        assert_eq!(HalfType::F16.to_f32(0x3c00), 1.0);
        assert_eq!(HalfType::Bf16.to_f32(0x3f80), 1.0);
    }
}
