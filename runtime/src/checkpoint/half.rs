//! 16-bit floats as stored bits, and the element types that a dense tensor may have.

use ::half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// How 16 bits are a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HalfType {
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single.
    Bf16,
}

impl HalfType {
    /// The number that `bits` stand for.
    pub fn to_f32(self, bits: u16) -> f32 {
        match self {
            HalfType::F16 => f16::from_bits(bits).to_f32(),
            HalfType::Bf16 => bf16::from_bits(bits).to_f32(),
        }
    }

    /// The bits of `value`, if this type holds it exactly. Not-a-number has none.
    pub fn exact_bits(self, value: f32) -> Option<u16> {
        let bits = match self {
            HalfType::F16 => f16::from_f32(value).to_bits(),
            HalfType::Bf16 => bf16::from_f32(value).to_bits(),
        };
        (self.to_f32(bits) == value).then_some(bits)
    }
}

/// Element type of a dense tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenseType {
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// IEEE 754 single precision.
    F32,
}

impl DenseType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DenseType::F16 | DenseType::Bf16 => 2,
            DenseType::F32 => 4,
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
