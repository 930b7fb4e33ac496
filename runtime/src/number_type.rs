//! How the numbers of weights are stored: two 16-bit floats, and the element types of a dense matrix.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// How 16 bits are a number. Scales stay as the checkpoint stores them, so that no rounding is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

    /// The bits of `value`, if this type holds it exactly. Not-a-number has none.
    pub fn exact_bits(self, value: f32) -> Option<u16> {
        let bits = self.from_f32(value);
        (self.to_f32(bits) == value).then_some(bits)
    }
}

/// Element type of a dense tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenseType {
    /// IEEE 754 binary16.
    F16,
    /// The upper half of an IEEE 754 binary32.
    Bf16,
    /// IEEE 754 binary32.
    F32,
}

impl DenseType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }
}

impl From<DenseType> for ledger::ElementType {
    fn from(element: DenseType) -> ledger::ElementType {
        match element {
            DenseType::F16 => ledger::ElementType::F16,
            DenseType::Bf16 => ledger::ElementType::Bf16,
            DenseType::F32 => ledger::ElementType::F32,
        }
    }
}

impl From<HalfType> for DenseType {
    fn from(half: HalfType) -> DenseType {
        match half {
            HalfType::F16 => DenseType::F16,
            HalfType::Bf16 => DenseType::Bf16,
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
